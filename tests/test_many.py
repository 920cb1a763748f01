"""Many nets in one call: each gets the bits that it gets alone."""

import signal

import numpy as np
import pytest
from trainer_parts import ctrl_c_after

import cmlp
from cmlp import _core

ACTIVATIONS = ("tanh", "relu", "sigmoid", "silu")


@pytest.fixture(params=[1, 2, 3, 8])
def n_threads(request):
    _core.limit_threads(False)
    yield request.param
    _core.limit_threads(True)


def random_trainer(rng, seed, n_in, n_out, loss):
    """A net of random shape with random settings."""
    width, act = int(rng.integers(1, 40)), str(rng.choice(ACTIVATIONS))
    layers = [cmlp.Dense(n_in, width, activation=act)]
    if rng.random() < 0.4:
        layers.append(cmlp.Dropout(float(rng.choice([0.1, 0.3]))))
    if rng.random() < 0.4:
        layers += [cmlp.Dense(width, 9), cmlp.PReLU()]
        width = 9
    net = cmlp.Sequential(*layers, cmlp.Dense(width, n_out), seed=seed)
    if rng.random() < 0.2:
        net.layers[0].trainable = False
    lr, decay = float(rng.choice([0.3, 0.03, 0.003])), float(rng.choice([0.0, 1e-3]))
    optimizer = rng.choice([cmlp.SGD, cmlp.Adam, cmlp.AdamW, cmlp.RMSprop, cmlp.Adagrad])
    clip = [None, 0.5][int(rng.integers(2))]
    schedule = [None, cmlp.Cosine(40), cmlp.Exponential(0.99)][int(rng.integers(3))]
    return cmlp.Trainer(
        net, loss, optimizer(lr, weight_decay=decay, clip_norm=clip), schedule, n_threads=1
    )


class Population:
    """Random trainers with random arguments of ``fit``."""

    def __init__(self, seed, n=6, samples=90):
        self.rng = rng = np.random.default_rng(seed)
        self.seed, self.n = seed, n
        self.x = rng.normal(size=(samples, 5)).astype(np.float32)
        self.labels = bool(rng.integers(2))
        self.y = (
            rng.integers(0, 3, samples)
            if self.labels
            else rng.normal(size=(samples, 2)).astype(np.float32)
        )
        self.weight = rng.random(samples).astype(np.float32) if rng.integers(2) else None
        self.rows = [rng.integers(0, samples, int(rng.integers(20, 99))) for _ in range(n)]
        self.held = [np.flatnonzero(rng.random(samples) < 0.3) for _ in range(n)]
        self.epochs = [int(v) for v in rng.integers(1, 8, n)]
        self.batch = [[16, 33, None, 500][int(v)] for v in rng.integers(0, 4, n)]
        self.validate = ["rows", "share", "none"][int(rng.integers(3))]
        self.early = cmlp.EarlyStopping(2, min_delta=0.01) if rng.integers(2) else None
        self.shuffle = bool(rng.integers(2))
        self.bagged = bool(rng.integers(2))

    def trainers(self):
        """The same ones each time."""
        rng = np.random.default_rng(self.seed + 1)
        found = []
        for i in range(self.n):
            loss = cmlp.SquaredError()
            if self.labels:
                smoothing, weight = float(rng.choice([0.0, 0.1])), [None, "balanced"][i % 2]
                loss = cmlp.SoftmaxCrossEntropy(weight, label_smoothing=smoothing)
            found.append(random_trainer(rng, i, 5, 3 if self.labels else 2, loss))
        return found

    def together(self, n_threads):
        trainers = self.trainers()
        cmlp.fit_many(
            trainers, self.x, self.y, self.epochs, self.batch, self.shuffle,
            0.25 if self.validate == "share" else None, self.weight,
            self.rows if self.bagged else None,
            self.held if self.validate == "rows" else None,
            self.early, n_threads=n_threads,
        )  # fmt: skip
        return trainers

    def alone(self):
        trainers = self.trainers()
        for i, trainer in enumerate(trainers):
            rows = self.rows[i] if self.bagged else np.arange(len(self.x))
            weight = None if self.weight is None else self.weight[rows]
            held = self.held[i]
            more = [] if self.weight is None else [self.weight[held]]
            validation = {
                "rows": (self.x[held], self.y[held], *more), "share": 0.25, "none": None,
            }[self.validate]  # fmt: skip
            callbacks = []
            if self.early is not None:
                monitor = "loss" if validation is None else "validation_loss"
                callbacks = [cmlp.EarlyStopping(2, 0.01, monitor)]
            trainer.fit(
                self.x[rows], self.y[rows], self.epochs[i], self.batch[i], self.shuffle,
                validation, weight, callbacks,
            )  # fmt: skip
        return trainers


def assert_same(got, want):
    """Everything that decides how training goes on, and what has been."""
    assert np.array_equal(got.net.get_flat(), want.net.get_flat())
    a, b = got.running.get_slots(), want.running.get_slots()
    assert all(np.array_equal(a[name], b[name]) for name in b)
    assert repr(got.cursor) == repr(want.cursor)
    assert got.running.step_count == want.running.step_count
    for column in ("epoch", "loss", "lr"):
        assert got.history[column] == want.history[column], column
    if "validation_loss" in want.history:
        assert got.history["validation_loss"] == want.history["validation_loss"]


def check_population(seed, n_threads):
    population = Population(seed)
    for got, want in zip(population.together(n_threads), population.alone(), strict=True):
        assert_same(got, want)


@pytest.mark.parametrize("seed", range(6))
def test_same_bits_as_alone(seed, n_threads):
    check_population(seed, n_threads)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 56))
def test_same_bits_as_alone_in_many_populations(seed, n_threads):
    check_population(seed, n_threads)


def xor(n, lr=0.1):
    """Trainers of small nets, and their data."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    trainers = [
        cmlp.Trainer(
            cmlp.Sequential(cmlp.Dense(2, 4, activation="tanh"), cmlp.Dense(4, 1), seed=seed),
            cmlp.SquaredError(),
            cmlp.SGD(lr),
        )
        for seed in range(n)
    ]
    return trainers, x, np.array([0, 1, 1, 0], np.float32)


def test_goes_on_as_fit_does():
    (together, x, y), (alone, *_) = xor(3), xor(3)
    for _ in range(2):
        cmlp.fit_many(together, x, y, epochs=4, batch_size=2)
        for trainer in alone:
            trainer.fit(x, y, epochs=4, batch_size=2)
    for trainer in (*together, *alone):
        trainer.fit(x, y, epochs=2, batch_size=2)
    for got, want in zip(together, alone, strict=True):
        assert_same(got, want)
        assert got.epoch == 10


def test_a_net_that_diverges_leaves_the_others_alone():
    (trainers, x, y), (alone, *_) = xor(3), xor(3)
    trainers[1].optimizer.lr = alone[1].optimizer.lr = 1e30
    runs = cmlp.fit_many(trainers, x, y, epochs=5)
    assert runs.losses[1] == float("inf")
    assert np.isfinite([runs.losses[0], runs.losses[2]]).all()
    assert runs.best in (trainers[0], trainers[2])
    for i, (got, want) in enumerate(zip(trainers, alone, strict=True)):
        if i == 1:
            with pytest.raises(cmlp.DivergenceError):
                want.fit(x, y, epochs=5)
        else:
            want.fit(x, y, epochs=5)
        assert_same(got, want)


def test_rungs_stop_the_worst():
    trainers, x, y = xor(4)
    seen = []

    def worst(runs):
        seen.append([len(history) for history in runs.histories])
        left = [i for i in range(4) if len(runs.histories[i]) == max(seen[-1])]
        return [max(left, key=lambda i: runs.losses[i])]

    runs = cmlp.fit_many(trainers, x, y, epochs=7, rung=2, on_rung=worst)
    assert [sorted(lengths) for lengths in seen] == [[2, 2, 2, 2], [2, 4, 4, 4], [2, 4, 6, 6]]
    assert sorted(len(history) for history in runs.histories) == [2, 4, 6, 7]
    alone, *_ = xor(4)
    for got, want in zip(trainers, alone, strict=True):
        want.fit(x, y, epochs=len(got.history))
        assert_same(got, want)


def test_rungs_with_schedules_and_early_stopping():
    def make():
        trainers, x, y = xor(3)
        for i, trainer in enumerate(trainers):
            trainer.schedule = cmlp.Cosine(30 + i)
        return trainers, x, y

    (together, x, y), (alone, *_) = make(), make()
    early = cmlp.EarlyStopping(3, min_delta=0.05)
    cmlp.fit_many(together, x, y, 20, 1, early_stopping=early, rung=2, on_rung=lambda runs: None)
    for got, want in zip(together, alone, strict=True):
        want.fit(x, y, 20, 1, callbacks=[cmlp.EarlyStopping(3, 0.05)])
        assert_same(got, want)


def test_ctrl_c_leaves_nets_between_two_steps():
    trainers, x, y = xor(3)
    timer = ctrl_c_after(0.2)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            cmlp.fit_many(trainers, x, y, epochs=10**7)
    finally:
        timer.cancel()
        signal.siginterrupt(signal.SIGINT, True)
    assert all(trainer.history.interrupted for trainer in trainers)
    assert 0 < trainers[0].step_count < 10**7
    trainers[0].fit(x, y, epochs=1)


def test_progress(capsys):
    trainers, x, y = xor(3)
    cmlp.fit_many(trainers, x, y, epochs=200_000, progress=True)
    assert "/3 nets  best" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"trainers": []}, ValueError, "trainers is empty"),
        ({"trainers": [3]}, TypeError, r"trainers\[0\] is 3"),
        ({"epochs": [1]}, ValueError, "epochs has 1 values; expected 2"),
        ({"epochs": 0}, ValueError, "epochs is 0"),
        ({"rows": [[0]]}, ValueError, "rows has 1 arrays; expected 2"),
        ({"rows": [[0], [4]]}, ValueError, r"rows\[1\] has 4 to 4; expected 0 to 3"),
        ({"rows": [[0], [0.5]]}, ValueError, r"rows\[1\] has shape \(1,\) and dtype float64"),
        ({"validation_rows": [[0], [1]], "validation": 0.5}, ValueError, "are both given"),
        ({"rung": 2}, ValueError, "rung and on_rung go together"),
        ({"early_stopping": 3}, TypeError, "early_stopping is 3"),
        (
            {"early_stopping": cmlp.EarlyStopping(monitor="validation_loss")},
            ValueError,
            "the monitor 'validation_loss'; expected 'loss'",
        ),
        ({"x": np.zeros((4, 3))}, ValueError, "x has shape"),
    ],
)
def test_errors(arguments, error, words):
    trainers, x, y = xor(2)
    before = [trainer.net.get_flat() for trainer in trainers]
    with pytest.raises(error, match=words):
        cmlp.fit_many(**{"trainers": trainers, "x": x, "y": y, **arguments})
    for trainer, values in zip(trainers, before, strict=True):
        assert np.array_equal(trainer.net.get_flat(), values)
        assert trainer.epoch == 0


@pytest.mark.parametrize("what", ["optimizer", "schedule", "augment", "same net", "held"])
def test_trainers_that_are_refused(what):
    trainers, x, y = xor(2)
    if what == "optimizer":
        trainers[1].optimizer = cmlp.LBFGS()
    elif what == "schedule":
        trainers[1].schedule = cmlp.Plateau()
    elif what == "augment":
        trainers[1].augment = cmlp.Augment((1, 2, 2), crop=(1, 2))
    elif what == "same net":
        trainers[1].net = trainers[0].net
    else:
        with trainers[1].hold(), pytest.raises(RuntimeError, match="being trained"):
            cmlp.fit_many(trainers, x, y)
        return
    with pytest.raises(ValueError, match=r"trainers\[1\] has|same net twice"):
        cmlp.fit_many(trainers, x, y)
