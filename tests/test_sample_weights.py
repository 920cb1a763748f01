"""Weights of samples and classes, at every door: the loss of a minibatch is sum_n w_n E_n / N.

`fit` divides the weights by their mean over the data, single steps take them as they are.
"""

from __future__ import annotations

import numpy as np
import pytest
from trainer_parts import PythonIdentity, PythonLoss

import cmlp
from cmlp import _core, graph

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

N, RATE = 7, 0.3
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(N, 3))
Y = np.array([0, 1, 2, 0, 1, 1, 2])
CLASS_WEIGHT = {0: 0.5, 1: 3.0, 2: 2.0}
OF_CLASSES = np.array([0.5, 3.0, 2.0])[Y]
W = np.array([1.0, 0.25, 3.0, 2.0, 0.125, 1.5, 4.0])


def make_net(*more, dtype="float64"):
    return cmlp.Sequential(cmlp.Dense(3, 4, "tanh"), *more, cmlp.Dense(4, 3), dtype=dtype, seed=1)


def make_trainer(net, loss=None, optimizer=None):
    return cmlp.Trainer(net, loss or cmlp.SoftmaxCrossEntropy(), optimizer or cmlp.SGD(RATE))


def by_definition(weight, batch):
    """Parameters after an epoch of plain gradient descent, from single steps without weights.

    A step on one row at the rate a w_n / N is the term of that row in the minibatch's step.
    """
    net = make_net()
    for start in range(0, N, batch):
        before, moved = net.get_flat(), 0.0
        rows = range(start, min(start + batch, N))
        for n in rows:
            net.set_flat(before)
            rate = RATE * weight[n] / len(rows)
            if rate:
                make_trainer(net, optimizer=cmlp.SGD(rate)).train_step(X[n : n + 1], Y[n : n + 1])
            moved = moved + net.get_flat() - before
        net.set_flat(before + moved)
    return net.get_flat()


# ---- doors: weights, size of minibatches -> parameters after an epoch ----


def fit(weight, batch, net=None, loss=None):
    trainer = make_trainer(net or make_net(), loss)
    trainer.fit(X, Y, epochs=1, batch_size=batch, shuffle=False, sample_weight=weight)
    return trainer.net.get_flat()


def steps(weight, batch, net=None, loss=None):
    trainer = make_trainer(net or make_net(), loss)
    for start in range(0, N, batch):
        rows = slice(start, start + batch)
        trainer.train_step(X[rows], Y[rows], None if weight is None else weight[rows])
    return trainer.net.get_flat()


def graph_layer():
    h = graph.Placeholder("h", shape=(None, 4))
    return graph.GraphLayer(1.0 * h, h)


def minimized(weight, batch):
    """The loss as a node of a graph: the weights are written there."""
    net = make_net()
    x, t, w = (graph.Placeholder(name) for name in "xtw")
    arrays = net.layers[0].weight, net.layers[0].bias, net.layers[1].weight, net.layers[1].bias
    w1, b1, w2, b2 = variables = [graph.Variable(a) for a in arrays]
    h = graph.tanh(x @ graph.transpose(w1) + b1)
    log_p = graph.log_softmax(h @ graph.transpose(w2) + b2)
    parts = [slice(i, i + batch) for i in range(0, N, batch)]
    feeds = [{x: X[rows], t: np.eye(3)[Y[rows]], w: weight[rows]} for rows in parts]
    graph.minimize(graph.mean(-w * graph.sum(t * log_p, axis=-1)), feeds, graph.SGD(RATE))
    return np.concatenate([v.value.ravel() for v in variables])


def make_plan(batch, trains=True):
    net = make_net()
    layers = [core for layer in net.layers for core in layer.cores]
    state = _core.State(layers, "sgd", momentum=0.0) if trains else None
    return net, _core.Plan(layers, batch, ("softmax_cross_entropy", None), state, 1)


def c_fit(weight, batch):
    net, plan = make_plan(batch)
    plan.fit(X, Y, weight, 1, False, RATE)
    return net.get_flat()


def c_step(weight, batch):
    net, plan = make_plan(batch)
    for start in range(0, N, batch):
        rows = slice(start, start + batch)
        plan.step(X[rows], Y[rows], weight[rows], RATE)
    return net.get_flat()


def c_step_one(weight, batch):
    assert batch == 1
    net, plan = make_plan(1)
    for x, y, w in zip(X, Y, weight, strict=True):
        plan.step_one(x, int(y), RATE, None, w)
    return net.get_flat()


def c_gradient(weight, batch):
    net, plan = make_plan(batch, trains=False)
    for start in range(0, N, batch):
        rows = slice(start, start + batch)
        plan.step(X[rows], Y[rows], weight[rows], RATE)
        net.set_flat(net.get_flat() - RATE * net.get_flat_grad())
    return net.get_flat()


def estimator(batch, **settings):
    pytest.importorskip("sklearn")
    net = cmlp.MLPClassifier(
        4, activation="tanh", solver="sgd", learning_rate_init=RATE, momentum=0.0, alpha=0.0,
        nesterovs_momentum=False, shuffle=False, batch_size=batch, max_iter=1,
        **settings,
    )  # fmt: skip
    net.declare([0, 1, 2], 3)
    net.net_.set_flat(make_net().get_flat())
    return net


def estimator_fit(weight, batch, x=X, **settings):
    return estimator(batch, warm_start=True, **settings).fit(x, Y, weight).net_.get_flat()


def sparse_fit(weight, batch):
    sparse = pytest.importorskip("scipy.sparse")
    return estimator_fit(weight, batch, sparse.csr_matrix(X))


def partial_fit(weight, batch, **settings):
    net = estimator("auto", **settings)
    for start in range(0, N, batch):
        rows = slice(start, start + batch)
        net.partial_fit(X[rows], Y[rows], None if weight is None else weight[rows])
    return net.net_.get_flat()


def learn_one(weight, batch, **settings):
    assert weight is None
    assert batch == 1
    net = estimator("auto", **settings)
    for x, y in zip(X, Y, strict=True):
        net.learn_one(x, y)
    return net.net_.get_flat()


def with_classes(door):
    """The same by weights of classes in the loss, or in the estimator."""
    if door in (fit, steps):
        loss = cmlp.SoftmaxCrossEntropy(class_weight=CLASS_WEIGHT)
        return lambda weight, batch: door(weight, batch, loss=loss)
    return lambda weight, batch: door(weight, batch, class_weight=CLASS_WEIGHT)


# the weights are divided by their mean
WHOLE = {
    "fit": fit,
    "fit, loss in Python": lambda w, b: fit(w, b, loss=PythonLoss()),
    "fit, layer in Python": lambda w, b: fit(w, b, make_net(PythonIdentity())),
    "fit, layer of a graph": lambda w, b: fit(w, b, make_net(graph_layer())),
    "estimator's fit": estimator_fit,
    "estimator's fit, sparse": sparse_fit,
}
# they are taken as they are
SINGLE = {
    "train_step": steps,
    "train_step, loss in Python": lambda w, b: steps(w, b, loss=PythonLoss()),
    "train_step, layer in Python": lambda w, b: steps(w, b, make_net(PythonIdentity())),
    "train_step, layer of a graph": lambda w, b: steps(w, b, make_net(graph_layer())),
    "partial_fit": partial_fit,
    "minimize": minimized,
    "cmlp_fit": c_fit,
    "cmlp_step": c_step,
    "cmlp_gradient": c_gradient,
}
OF_CLASS = {
    "fit": (with_classes(fit), True),
    "train_step": (with_classes(steps), False),
    "estimator's fit": (with_classes(estimator_fit), True),
    "partial_fit": (with_classes(partial_fit), False),
    "learn_one": (with_classes(learn_one), False),
}


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 3, N])  # 3: the last minibatch is a single row
@pytest.mark.parametrize("door", WHOLE | SINGLE)
def test_weights_of_samples(door, batch):
    if door in SINGLE:
        same(SINGLE[door](W, batch), by_definition(W, batch))
        return
    for weight in (W, np.where(np.arange(N) == 2, 0.0, W)):
        same(WHOLE[door](weight, batch), by_definition(weight / weight.mean(), batch))


def test_weights_of_single_rows_in_the_core():
    same(c_step_one(W, 1), by_definition(W, 1))


@pytest.mark.parametrize(
    ("door", "batch"),
    [(door, 1) for door in OF_CLASS] + [(d, 3) for d in OF_CLASS if d != "learn_one"],
)
def test_weights_of_classes(door, batch):
    run, relative = OF_CLASS[door]
    for weight in (None, W) if door != "learn_one" else (None,):
        given = OF_CLASSES if weight is None else OF_CLASSES * weight
        same(run(weight, batch), by_definition(given / given.mean() if relative else given, batch))


def test_balanced_counts_where_all_the_data_are():
    counts = np.bincount(Y)
    weight = (N / (3 * counts))[Y]
    loss = cmlp.SoftmaxCrossEntropy(class_weight="balanced")
    same(fit(None, 1, loss=loss), by_definition(weight, 1))
    same(estimator_fit(None, 1, class_weight="balanced"), by_definition(weight, 1))


@pytest.mark.parametrize(
    "door",
    [
        lambda: steps(None, N, loss=cmlp.SoftmaxCrossEntropy(class_weight="balanced")),
        lambda: partial_fit(None, N, class_weight="balanced"),
        lambda: learn_one(None, 1, class_weight="balanced"),
    ],
    ids=["train_step", "partial_fit", "learn_one"],
)
def test_balanced_is_refused_where_they_are_not(door):
    with pytest.raises(ValueError, match="^class_weight is 'balanced', which needs all the data"):
        door()


@pytest.mark.parametrize("factor", [1e-40, 1e30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ratios_alone_count_in_fit(dtype, factor):
    results = []
    for k in (1.0, factor):
        trainer = make_trainer(make_net(dtype=dtype))
        history = trainer.fit(X, Y, epochs=3, batch_size=2, sample_weight=k * W)
        score = trainer.evaluate(X, Y, k * W)["loss"]
        results.append([*trainer.net.get_flat(), *history["loss"], score])
    np.testing.assert_allclose(*results, rtol=1e-12 if dtype == "float64" else 1e-5)
    assert results[0][-1] > 0.1


def test_a_loss_is_told_as_the_weighted_mean():
    net = make_net()
    y, t = net.predict(X), np.eye(3)[Y]
    each = np.log(np.exp(y).sum(axis=1)) - (y * t).sum(axis=1)
    expected = np.average(each, weights=W)
    trainer = make_trainer(net)
    assert trainer.evaluate(X, Y, W)["loss"] == pytest.approx(expected, rel=1e-12)
    history = trainer.fit(X, Y, epochs=1, batch_size=None, sample_weight=W, validation=(X, Y, W))
    assert history["loss"][0] == pytest.approx(expected, rel=1e-12)
    assert history["validation_loss"][0] < expected
    assert cmlp.SoftmaxCrossEntropy().forward(y, Y, W) == pytest.approx((W * each).mean())


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: cmlp.SGD(RATE, weight_decay=2.0, l1=0.1, decay_over_batch=True),
        lambda: cmlp.LBFGS(weight_decay=2.0, decay_over_batch=True),
        lambda: cmlp.LBFGS(weight_decay=0.1),
    ],
)
def test_a_weight_of_two_is_two_samples(optimizer, python):
    """Decay included, where it is divided by the samples."""
    pytest.importorskip("scipy")
    counts = np.array([1, 3, 1, 2, 2, 1, 1])
    found = []
    for rows, weight in ((np.repeat(np.arange(N), counts), None), (np.arange(N), counts)):
        net = make_net(PythonIdentity()) if python else make_net()
        trainer = make_trainer(net, optimizer=optimizer())
        history = trainer.fit(
            X[rows], Y[rows], epochs=30, batch_size=None, sample_weight=weight, shuffle=False
        )
        found.append(history["loss"][-1])
    assert found[0] == pytest.approx(found[1], rel=1e-6)
