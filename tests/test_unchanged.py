"""Nothing but training changes a net."""

import contextlib
import copy
import pickle

import numpy as np
import pytest
from trainer_parts import PythonTanh

import cmlp
from cmlp import graph

X = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
LABELS = np.arange(12) % 2
ROWS = np.eye(2)[LABELS]
LOSSES = [
    cmlp.SquaredError(),
    cmlp.AbsoluteError(),
    cmlp.Huber(),
    cmlp.Poisson(),
    cmlp.SoftmaxCrossEntropy(),
    cmlp.BinaryCrossEntropy(),
]


def fresh():
    return cmlp.Sequential(
        cmlp.Dense(2, 5, activation="tanh"), cmlp.Dropout(0.5), cmlp.Dense(5, 2), seed=0
    )


def trained():
    net = fresh()
    cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy()).fit(X, LABELS, epochs=2)
    return net


def with_python():
    return cmlp.Sequential(cmlp.Dense(2, 5), PythonTanh(), cmlp.Dense(5, 2), seed=0)


def ends_with_softmax():
    return cmlp.Sequential(cmlp.Dense(2, 5), cmlp.Dense(5, 2, activation="softmax"), seed=0)


NETS = [fresh, trained, with_python, ends_with_softmax]


def trainers(net):
    """One for each loss that goes with the net."""
    for loss in LOSSES:
        with contextlib.suppress(ValueError):
            yield cmlp.Trainer(net, loss)


def make_trainers(net, folder):
    assert len(list(trainers(net))) > 0


def evaluate(net, folder):
    for trainer in trainers(net):
        trainer.evaluate(X, ROWS)
        trainer.gradient_norms(X, ROWS)
        trainer.epoch, trainer.step_count, repr(trainer)


def assign_parts(net, folder):
    for trainer in trainers(net):
        for loss in LOSSES:
            with contextlib.suppress(ValueError):
                trainer.loss = loss
        trainer.optimizer, trainer.schedule = cmlp.Adam(), cmlp.Cosine(9)


def copy_trainers(net, folder):
    for trainer in trainers(net):
        copy.deepcopy(trainer)
        with contextlib.suppress(pickle.PicklingError):
            pickle.dumps(trainer)


def save_checkpoints(net, folder):
    for trainer in trainers(net):
        with contextlib.suppress(ValueError):  # a layer in Python is not registered
            trainer.save_checkpoint(folder / "run.ckpt")


REFUSED = [
    {"x": X[:, :1]},
    {"x": np.full_like(X, np.nan)},
    {"y": ROWS[:5]},
    {"y": np.array(["a", "b"] * 6)[:5]},
    {"sample_weight": -np.ones(12)},
    {"epochs": 0},
    {"batch_size": -1},
    {"shuffle": None},
    {"validation": 3},
    {"validation": (X, ROWS[:5])},
    {"callbacks": [3]},
    {"progress": 1},
    {"resume": "no such file"},
]


def refused_fits(net, folder):
    for trainer in trainers(net):
        words = isinstance(trainer.loss, cmlp.SoftmaxCrossEntropy)
        y = np.array(["a", "b"])[LABELS] if words else ROWS
        for wrong in REFUSED:
            with pytest.raises((ValueError, TypeError, OSError)):
                trainer.fit(**{"x": X, "y": y, **wrong})


def refused_steps(net, folder):
    for trainer in trainers(net):
        for wrong in REFUSED[:5]:
            with pytest.raises((ValueError, TypeError)):
                trainer.train_step(**{"x": X, "y": ROWS, **wrong})


def predict(net, folder):
    net.predict(X)
    net.predict(X[0])
    net.predict(X[:0])
    net.predict(X.astype("f"), out=np.empty((12, 2), "f"))
    net.predict_proba(X)


def forward_and_backward(net, folder):
    net.forward(X)
    net.backward(np.ones((12, 2)))
    net.get_flat(), net.get_flat_grad(), net.split()


def describe(net, folder):
    net.summary(), repr(net), net.n_parameters, net.n_trainable, net.output_activation
    net.probability_link()


def save(net, folder):
    with contextlib.suppress(ValueError):
        net.save(folder / "net.safetensors")


def export(net, folder):
    with contextlib.suppress(ValueError):
        net.to_c(folder / "net.c", task="classifier")
    pytest.importorskip("onnx")
    with contextlib.suppress(ValueError):
        net.to_onnx(folder / "net.onnx", task="classifier")


def convert(net, folder):
    pytest.importorskip("sklearn")
    with contextlib.suppress(ValueError):
        cmlp.to_sklearn(net)


def use_in_another_net(net, folder):
    front = cmlp.Sequential(net, cmlp.ReLU())
    front.predict(X)
    front.n_threads = 1


def copy_it(net, folder):
    other = net.copy()
    other.link, other.metadata["a"] = "exp", 1
    other.trainable = False
    cmlp.Trainer(other, cmlp.SquaredError()).train_step(X, ROWS)
    copy.copy(net).link = "exp"
    other.lerp_(net, 0.5)


def in_a_graph(net, folder):
    x = graph.Placeholder("x")
    y = graph.net(net, x)
    graph.run([y, graph.gradients(y, x)], {x: X})
    graph.to_dot(y, {x: X})


def draw(net, folder):
    pytest.importorskip("matplotlib").use("Agg")
    with contextlib.suppress(ValueError):  # no classifier yet
        cmlp.plots.decision_regions(net, X, LABELS, resolution=5)
    with contextlib.suppress(ValueError):  # no hidden layer that could be drawn
        cmlp.plots.hidden_units(net)


ACTIONS = [
    make_trainers, evaluate, assign_parts, copy_trainers, save_checkpoints, refused_fits,
    refused_steps, predict, forward_and_backward, describe, save, export, convert,
    use_in_another_net, copy_it, in_a_graph, draw,
]  # fmt: skip


def state(net):
    """All that a net is, apart from what layers in Python keep for themselves."""
    kept = {k: v for k, v in net.__getstate__().items() if k != "layers"}
    layers = [layer for layer in net.layers if isinstance(layer, cmlp.Layer)]
    return pickle.dumps((kept, layers))


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_leaves_a_net_as_it_was(action, make, tmp_path):
    net = make()
    before, p = state(net), net.predict_proba(X)
    action(net, tmp_path)
    assert state(net) == before
    assert np.array_equal(net.predict_proba(X), p)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_training_sets_the_link(loss):
    def by_fit(trainer):
        trainer.fit(X, LABELS if "Softmax" in repr(loss) else ROWS, epochs=1)

    def by_train_step(trainer):
        trainer.train_step(X, LABELS if "Softmax" in repr(loss) else ROWS)

    for train in (by_fit, by_train_step):
        for before in (None, "softmax", "sigmoid", "exp"):
            net = fresh()
            net.link = before
            train(cmlp.Trainer(net, loss))
            assert net.link == loss.link


def test_two_trainers_by_turns():
    net = fresh()
    one = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy())
    other = cmlp.Trainer(net, cmlp.BinaryCrossEntropy())
    x, rows = X.astype("f"), ROWS.astype("f")
    for _ in range(4):
        one.train_step(x, LABELS)
        assert net.link == "softmax"
        other.train_step(x, rows)
        assert net.link == "sigmoid"
