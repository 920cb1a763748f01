"""Where a training that diverges goes back to: the same place, however often it was cut."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from core_nets import flat, problem, set_flat, snapshot
from trainer_parts import PythonIdentity

import cmlp
from cmlp import _core

EPOCHS, N, BATCH = 6, 40, 8
PER_EPOCH = N // BATCH
STEPS = EPOCHS * PER_EPOCH
NETS = [(4, ("dense", 8), ("dense", 3)), (90, ("dense", 150), ("dense", 3))]


def rates(bad, size):
    """A rate that throws the parameters far away at one step: the next loss is not finite."""
    lr = np.full(STEPS, 0.01)
    lr[bad] = size
    return lr


# ---- the core ----


def make_plan(net):
    layers, x, t = problem(net, "squared_error", n=N)
    state = _core.State(layers, "sgd", momentum=0.5)
    plan = _core.Plan(layers, BATCH, ("squared_error", None), state, 1, seed=2)
    return layers, state, plan, x, t


def result(layers, state, plan, losses):
    return (*snapshot(layers, state), plan.cursor.epoch, plan.cursor.step_in_epoch, losses)


def uninterrupted(net, lr):
    layers, state, plan, x, t = make_plan(net)
    losses, outcome = plan.fit(x, t, None, EPOCHS, True, lr)
    assert outcome == "diverged"
    assert np.isfinite(flat(layers)).all()
    return result(layers, state, plan, losses.tolist())


def cut(net, lr, rng, rebuilt):
    """The same in calls of random lengths, now and then with a new plan."""
    layers, state, plan, x, t = make_plan(net)
    losses, outcome = [], "paused"
    while outcome != "diverged":
        done, left = state.step_count, EPOCHS - plan.cursor.epoch
        if rng.integers(3):
            found, outcome = plan.fit(
                x, t, None, left, True, lr[done:], max_steps=int(rng.integers(1, 9))
            )
        else:
            epochs = int(rng.integers(1, left + 1))
            found, outcome = plan.fit(x, t, None, epochs, True, lr[done:])
        losses.extend(found.tolist())
        if rebuilt and rng.integers(2) and outcome != "diverged":
            parameters, slots, count = flat(layers), state.get_slots(), state.step_count
            cursor = pickle.loads(pickle.dumps(plan.cursor))
            layers, state, plan, _, _ = make_plan(net)
            set_flat(layers, parameters)
            state.set_slots(slots)
            state.step_count, plan.cursor = count, cursor
    return result(layers, state, plan, losses)


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("size", [1e200, 1e308])
def test_cut_at_random_steps(net, size, rebuilt, rng):
    for bad in (0, PER_EPOCH - 2, PER_EPOCH - 1, PER_EPOCH, 2 * PER_EPOCH - 1, STEPS - 3):
        lr = rates(bad, size)
        expected = uninterrupted(net, lr)
        for _ in range(4):
            assert cut(net, lr, rng, rebuilt) == expected


def test_a_frozen_layer_stays_as_it_is(rng):
    net = NETS[0]
    layers, state, plan, x, t = make_plan(net)
    layers[0].trainable = False
    state = _core.State(layers, "sgd")
    plan = _core.Plan(layers, BATCH, ("squared_error", None), state, 1)
    before = flat(layers)
    plan.fit(x, t, None, 1, True, 0.01, max_steps=2)
    np.testing.assert_array_equal(plan.cursor.good, before)
    assert plan.fit(x, t, None, 1, True, 1e200)[1] == "diverged"
    np.testing.assert_array_equal(flat(layers), before)


def test_good_parameters_of_another_net_are_refused():
    _, _, plan, x, t = make_plan(NETS[0])
    plan.cursor.good = np.zeros(3)
    with pytest.raises(ValueError, match="^good has shape"):
        plan.fit(x, t, None, 1, True, 0.01)
    plan.cursor.good = None
    plan.fit(x, t, None, 1, True, 0.01)


# ---- trainers ----

X = np.random.default_rng(1).normal(size=(N, 3))
Y = X @ [1.0, -2.0, 0.5]


class At(cmlp.Callback):
    """Does something once at a step."""

    def __init__(self, step, do):
        self.every_steps, self.do = step, do

    def on_steps(self, trainer):
        if trainer.step_count == self.every_steps:
            self.do(trainer)


def make_trainer(bad, python, seed=0):
    own = [PythonIdentity()] if python else []
    net = cmlp.Sequential(
        cmlp.Dense(3, 5, "tanh"), *own, cmlp.Dense(5, 1), dtype="float64", seed=seed
    )
    lr = rates(bad, 1e200)
    return cmlp.Trainer(
        net, cmlp.SquaredError(), cmlp.SGD(0.01, momentum=0.5), schedule=lambda step: lr[step]
    )


def diverge(trainer, *callbacks, **more):
    with pytest.raises(cmlp.DivergenceError) as error:
        trainer.fit(X, Y, epochs=EPOCHS, batch_size=BATCH, callbacks=callbacks, **more)
    where = str(error.value).partition("; ")[2]
    return trainer.net.get_flat().tobytes(), trainer.epoch, trainer.step_count, where


# False: all parts are built in; layers of one's own are not in files unless they are registered
WAYS = {False: ["checkpoint", "resume", "pickle", "deepcopy"], True: ["pickle", "deepcopy"]}


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize("bad", [1, PER_EPOCH - 1, 2 * PER_EPOCH - 1, 2 * PER_EPOCH, STEPS - 3])
def test_resumed_at_random_steps(bad, python, tmp_path, rng):
    path = tmp_path / "c.safetensors"
    expected = diverge(make_trainer(bad, python))
    assert expected[3] == f"the weights are those after epoch {bad // PER_EPOCH}"
    for way in WAYS[python]:
        step = int(rng.integers(1, bad + 2))
        copies = []

        def save(trainer, way=way, copies=copies):
            if way == "deepcopy":
                copies.append(copy.deepcopy(trainer))
            elif way == "pickle":
                schedule, trainer.schedule = trainer.schedule, None
                copies.append(pickle.loads(pickle.dumps(trainer)))
                trainer.schedule = copies[0].schedule = schedule
            else:
                trainer.save_checkpoint(path)

        first = make_trainer(bad, python)
        assert diverge(first, At(step, save)) == expected
        if way == "checkpoint":
            parts = {"schedule": first.schedule}
            copies.append(cmlp.Trainer.load_checkpoint(path, **parts))
        more = {"resume": path} if way == "resume" else {}
        again = copies[0] if copies else make_trainer(bad, python, seed=9)
        assert diverge(again, **more) == expected, (way, step)


def test_another_number_of_threads_within_an_epoch():
    def change(trainer):
        trainer.n_threads = 2

    bad = 2 * PER_EPOCH + 2
    expected = diverge(make_trainer(bad, False))
    assert diverge(make_trainer(bad, False), At(2 * PER_EPOCH + 2, change)) == expected


def test_a_new_fit_goes_back_to_its_own_start():
    trainer = make_trainer(STEPS - 1, False)
    trainer.fit(X, Y, epochs=2, batch_size=BATCH)
    assert trainer.cursor.good is None
    trainer.net.set_flat(start := trainer.net.get_flat() + 0.5)
    trainer.schedule = lambda step: 1e200
    diverge(trainer)
    np.testing.assert_array_equal(trainer.net.get_flat(), start)


def test_a_last_update_that_overflows_is_divergence_in_python_too():
    net = cmlp.Sequential(PythonIdentity(), cmlp.Dense(3, 1), dtype="float64", seed=0)
    before = net.get_flat()
    with pytest.raises(cmlp.DivergenceError, match="after epoch 0"):
        cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(1e308)).fit(
            1e3 * X, Y, epochs=1, batch_size=None
        )
    np.testing.assert_array_equal(net.get_flat(), before)


def test_sparse_minibatches_that_overflow_are_divergence():
    pytest.importorskip("sklearn")
    sparse = pytest.importorskip("scipy.sparse")
    found = []
    for x in (X, sparse.csr_matrix(X)):
        net = cmlp.MLPRegressor(
            hidden_layer_sizes=5, solver="sgd", learning_rate_init=1e305, random_state=0
        )
        with pytest.raises(cmlp.DivergenceError):
            net.set_params(batch_size=BATCH, max_iter=3).fit(x, 1e5 * Y)
        found.append(net.coefs_[0])
    np.testing.assert_allclose(found[0], found[1])
