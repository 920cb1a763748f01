"""The same bits for any number of threads or rows; many threads at once; signals and forks."""

import _thread
import os
import signal
import threading

import numpy as np
import pytest
from core_nets import (
    ISAS,
    PAIRS,
    any_number_of_threads,
    build,
    flat,
    problem,
    snapshot,
    using,
)
from formulas import targets_for

from cmlp import _core

THREADS = (1, 2, 3, 4, 8)
LOSS = ("softmax_cross_entropy", None)
HIDDEN = [
    "relu",
    "tanh",
    "gelu",
    "silu",
    "sigmoid",
    "elu",
    "softplus",
    "leaky_relu",
    "softsign",
    "scaled_tanh",
]
OPTIMIZERS = [
    ("sgd", {"momentum": 0.9, "weight_decay": 1e-3}),
    ("sgd", {"momentum": 0.9, "nesterov": 1.0, "l1": 1e-4}),
    ("sgd", {"clip_norm": 0.1}),
    ("adam", {}),
    ("adamw", {"weight_decay": 0.01, "clip_norm": 0.5}),
    ("rmsprop", {"momentum": 0.3}),
    ("adagrad", {"clip_value": 0.05}),
    ("adadelta", {"eps": 1e-6}),
]


@pytest.fixture
def unlimited():
    with any_number_of_threads():
        yield


class Random:
    """A net, data and settings drawn at random, large enough to be shared out among threads."""

    def __init__(self, seed):
        rng = self.rng = np.random.default_rng(seed)
        # The plain loops, which come last, are slow: they get fewer and smaller nets.
        plain = seed % 8 == 7
        # Of wide layers with few rows threads share the columns, of others the rows.
        wide = seed % 3 == 1 and not plain
        self.isa = ISAS[-1] if plain else ISAS[seed % max(len(ISAS) - 1, 1)]
        self.dtype = str(rng.choice(["float32", "float64"]))
        activation, self.loss = PAIRS[rng.integers(len(PAIRS))]
        specs = []
        for _ in range(rng.integers(1, 4)):
            specs.append(
                (
                    "dense",
                    int(rng.integers(*((150, 400) if wide else (10, 110)))),
                    str(rng.choice(HIDDEN)),
                )
            )
            extra = rng.integers(6)
            if extra < 3:
                specs.append([("dropout", 0.3), ("prelu", 0.2), ("rrelu", (0.1, 0.3))][extra])
        self.specs = [*specs, ("dense", int(rng.integers(1, 40)), activation)]
        self.n_in = int(rng.integers(1, 100))
        self.batch = int(rng.choice([9, 40, 70] if plain or wide else [40, 128, 200, 530]))
        self.n = self.batch + int(rng.integers(1, self.batch))
        self.optimizer, self.options = OPTIMIZERS[rng.integers(len(OPTIMIZERS))]
        self.x = rng.normal(size=(self.n, self.n_in)).astype(self.dtype)
        n_out = self.specs[-1][1]
        self.y = targets_for(self.loss, rng, self.n, n_out, self.dtype)
        if self.loss == "softmax_cross_entropy" and rng.integers(2):
            self.y = rng.integers(0, n_out, self.n)
        self.w = rng.random(self.n).astype(self.dtype) if rng.integers(2) else None
        self.seed = int(rng.integers(2**62))

    def build(self):
        with using(self.isa):
            return build(self.n_in, *self.specs, dtype=self.dtype)

    def train(self, n_threads, x=None):
        """Bits of everything that a training leaves, and the threads it was given."""
        layers = self.build()
        state = _core.State(layers, self.optimizer, **self.options)
        plan = _core.Plan(layers, self.batch, (self.loss, None), state, n_threads, self.seed)
        x = self.x if x is None else x
        losses, outcome = plan.fit(x, self.y, self.w, 2, True, 1e-3)
        assert outcome == "done"
        straight, outcome = plan.fit(x, self.y, self.w, 1, False, 1e-3)
        assert outcome == "done"
        found = [
            straight.tobytes(),
            losses.tobytes(),
            *snapshot(layers, state),
            plan.predict(x).tobytes(),
        ]
        passes = _core.Plan(layers, self.batch, None, None, n_threads, self.seed)
        y = passes.forward(x[: self.batch], training=True)
        found += [y.tobytes(), passes.backward(y).tobytes()]
        found += [layer.get_grad(name).tobytes() for layer in layers for name in layer.shapes]
        return found, plan.n_threads


def same_for_any_threads(seed):
    net = Random(seed)
    one, _ = net.train(1)
    given = set()
    for n_threads in THREADS[1:]:
        found, n = net.train(n_threads)
        assert found == one, f"{n_threads} threads, {net.isa}, {net.dtype}, {net.specs}"
        given.add(n)
    return given


def places(a):
    """Copies of an array that start at every place in a cache line."""
    for offset in range(1, 64 // a.itemsize, 3):
        memory = np.empty(a.size + offset, a.dtype)
        moved = memory[offset:].reshape(a.shape)
        moved[...] = a
        yield moved


def test_any_number_of_threads(unlimited):
    given = set()
    for seed in range(32):
        given |= same_for_any_threads(seed)
    if _core.info()["openmp"]:
        assert max(given) > 2, "the nets were too small to be shared out"


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_eight_threads_on_a_large_net(unlimited, case):
    net, results = (300, ("dense", 400, "tanh"), ("dense", 10)), []
    for n_threads in (1, 8):
        layers, x, y = problem(net, n=300, dtype="float32")
        state = _core.State(layers, case[0], **case[1])
        plan = _core.Plan(layers, 256, LOSS, state, n_threads)
        if _core.info()["openmp"]:
            assert plan.n_threads == n_threads
        losses, _ = plan.fit(x, y, None, 2, True, 0.01)
        results.append([losses.tobytes(), *snapshot(layers, state)])
    assert results[0] == results[1]


@pytest.mark.parametrize("depth", [1, 2])
def test_few_rows_through_wide_layers(unlimited, depth):
    """Threads share the columns of these; the rows take more than one turn."""
    wide = [("dense", 2080, "tanh")] * depth
    layers, x, _ = problem((2080, "tanh", *wide, ("dense", 3)), n=490, dtype="float32")
    expected = _core.Plan(layers, 64, n_threads=1).predict(x)
    for n_threads in (2, 3, 8):
        plan = _core.Plan(layers, 64, n_threads=n_threads)
        for n in (1, 2, 17, 490):
            assert plan.predict(x[:n]).tobytes() == expected[:n].tobytes()


def same_at_any_place(seed):
    net = Random(seed)
    expected, _ = net.train(2)
    for x in places(net.x):
        assert net.train(2, x)[0] == expected


def same_for_any_rows(seed):
    net = Random(seed)
    plan = _core.Plan(net.build(), 64, n_threads=2)
    whole, out = plan.predict(net.x), np.empty((1, net.specs[-1][1]), net.dtype)
    for i in range(0, net.n, 7):
        assert plan.predict(net.x[i : i + 1], out).tobytes() == whole[i].tobytes()
        assert plan.predict_one(net.x[i]).tobytes() == whole[i].tobytes()
    for n in (2, 3, 13, 47, 48, 49, 100):
        assert plan.predict(net.x[5 : 5 + n]).tobytes() == whole[5 : 5 + n].tobytes()
    for x in places(net.x):
        assert plan.predict(x).tobytes() == whole.tobytes()
    assert plan.forward(net.x[:40]).tobytes() == whole[:40].tobytes()


@pytest.mark.parametrize("seed", range(200, 208))
def test_any_place_in_memory(unlimited, seed):
    same_at_any_place(seed)


@pytest.mark.parametrize("seed", range(300, 308))
def test_rows_do_not_know_of_each_other(unlimited, seed):
    same_for_any_rows(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_nets(unlimited, seed):
    same_for_any_threads(seed)
    same_at_any_place(seed)
    same_for_any_rows(seed)


def test_sets_of_instructions_come_close():
    net, found = Random(6), []
    net.dtype = "float64"
    net.x = net.x.astype(float)
    for net.isa in ISAS:
        found.append(_core.Plan(net.build(), 64, n_threads=1).predict(net.x))
    for y in found[1:]:
        np.testing.assert_allclose(y, found[0], rtol=1e-9, atol=1e-12)


def test_threads_are_limited_by_the_processors():
    layers = problem((300, ("dense", 400), ("dense", 10)))[0]
    plan = _core.Plan(layers, 512, ("squared_error", None), _core.State(layers, "sgd"), 64)
    assert 1 <= plan.n_threads <= (os.cpu_count() or 1)
    with any_number_of_threads():
        plan = _core.Plan(layers, 512, ("squared_error", None), _core.State(layers, "sgd"), 5)
    assert plan.n_threads == (5 if _core.info()["openmp"] else 1)


# ---- many at once ----


def test_predict_from_32_threads(unlimited):
    net = Random(400)
    plan = _core.Plan(net.build(), 64, n_threads=2)
    expected, wrong = plan.predict(net.x), []
    start = threading.Barrier(32)

    def work(i):
        start.wait()
        for k in range(10):
            first = (37 * i + 11 * k) % net.n
            y = plan.predict(net.x[first:])
            if y.tobytes() != expected[first:].tobytes():
                wrong.append((i, k))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(32)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def interrupted_fit(plan, x, y, meanwhile):
    """A long fit that another thread stops by Ctrl-C after meanwhile(), which runs while it trains.

    Returns what meanwhile returned.  That it runs at all shows that the lock of Python is free.
    """
    found, over, start = [], threading.Event(), plan.layers[0].get("weight")

    def work():
        while np.array_equal(plan.layers[0].get("weight"), start):
            if over.wait(0.001):
                return
        try:
            found.append(meanwhile())
        finally:
            _thread.interrupt_main()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            plan.fit(x, y, None, 10**7, True, 0.01)
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    return found[0]


def refusal(call):
    """The message with which a call is refused."""
    with pytest.raises(RuntimeError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("method", ["step", "fit", "state"])
def test_a_second_training_of_the_same_layers_is_refused(method):
    layers, x, y = problem((7, ("dense", 20, "tanh"), ("dense", 3)))
    state = _core.State(layers, "sgd")
    plan = _core.Plan(layers, 16, LOSS, state, 1)
    # Another plan and optimizer that share one layer.
    last = build(20, ("dense", 3))
    other_state = _core.State([layers[0], *last], "sgd")
    other = _core.Plan([layers[0], *last], 16, LOSS, other_state, 1)
    call = {
        "step": lambda: other.step(x[:16], y[:16], None, 0.0),
        "fit": lambda: other.fit(x, y, None, 1, True, 0.0),
        "state": lambda: other_state.step(0.0),
    }[method]
    message = interrupted_fit(plan, x, y, lambda: refusal(call))
    assert "being trained" in message
    before = flat(last)
    call()
    assert np.array_equal(flat(last), before)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_interrupted_training_can_be_finished(unlimited, n_threads):
    """Ctrl-C leaves a training between two steps: going on gives the undisturbed one's bits."""
    net = (60, ("dense", 150, "tanh"), ("dropout", 0.2), ("dense", 3))
    layers, x, y = problem(net)
    state = _core.State(layers, "adam")
    plan = _core.Plan(layers, 64, LOSS, state, n_threads, seed=4)
    interrupted_fit(plan, x, y, lambda: None)
    steps = state.step_count
    assert steps == 2 * plan.cursor.epoch + plan.cursor.step_in_epoch
    epochs = plan.cursor.epoch + 2
    losses, outcome = plan.fit(x, y, None, 2, True, 0.01)
    assert (outcome, plan.cursor.epoch, state.step_count) == ("done", epochs, 2 * epochs)

    twin, x, y = problem(net)
    twin_state = _core.State(twin, "adam")
    again = _core.Plan(twin, 64, LOSS, twin_state, n_threads, seed=4)
    expected, _ = again.fit(x, y, None, epochs, True, 0.01)
    assert losses.tobytes() == expected[-2:].tobytes()
    assert snapshot(layers, state) == snapshot(twin, twin_state)


def test_predict_while_another_net_trains():
    layers, x, y = problem((7, ("dense", 20, "tanh"), ("dense", 3)))
    plan = _core.Plan(layers, 16, LOSS, _core.State(layers, "sgd"), 1)
    other = _core.Plan(build(7, ("dense", 3)), 16, n_threads=2)
    expected = other.predict(x).tobytes()
    results = interrupted_fit(plan, x, y, lambda: [other.predict(x).tobytes() for _ in range(50)])
    assert set(results) == {expected}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_children_of_a_fork_train_and_predict(unlimited):
    """The parent has threads that the child has not; the bits are the same."""
    net = Random(500)
    expected, _ = net.train(4)
    for _ in range(3):
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if net.train(4)[0] == expected else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert net.train(4)[0] == expected
