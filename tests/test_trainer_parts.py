"""What is assigned to a trainer, its history and callbacks takes effect or is refused."""

import copy
import inspect

import numpy as np
import pytest
from trainer_parts import PythonLoss, PythonSgd, build

import cmlp
from cmlp.training import callbacks


def settled(kind):
    """Names of the public attributes of a class that are no methods."""
    return {
        name for name in dir(kind) if not name.startswith("_") and not callable(getattr(kind, name))
    }


class Wrapped:
    """An optimizer of a user's that uses a built-in one."""

    def __init__(self):
        self.inner = cmlp.SGD(0.05, momentum=0.5)

    def step(self, net):
        self.inner.step(net)


class Half(cmlp.SGD):
    """A built-in optimizer changed by a user."""

    def step(self, net):
        before = net.get_flat()
        super().step(net)
        net.set_flat(0.5 * (before + net.get_flat()))


class Doubled(cmlp.SoftmaxCrossEntropy):
    """A built-in loss changed by a user."""

    def gradient(self, y, t, w):
        dy, loss = super().gradient(y, t, w)
        return 2 * dy, 2 * loss


# What each part may be made, in whatever state the trainer is.
PARTS = {
    "optimizer": [
        lambda: cmlp.Adam(0.01),
        lambda: cmlp.SGD(0.05, momentum=0.9),
        lambda: cmlp.SGD(0.05, momentum=cmlp.MomentumStep(0.1, 0.8, after=1)),
        lambda: PythonSgd(0.05),
        Wrapped,
        lambda: Half(0.1),
    ],
    "loss": [
        lambda: cmlp.SoftmaxCrossEntropy(label_smoothing=0.3),
        lambda: cmlp.SoftmaxCrossEntropy(class_weight={1: 3.0}),
        PythonLoss,
        Doubled,
    ],
    "net": [lambda: build(seed=5), lambda: build(sizes=(2, 9, 4, 3))],
    "seed": [lambda: 77],
    "augment": [lambda: None, lambda: cmlp.Augment((1, 2), rotate=40.0)],
    "n_threads": [lambda: 1, lambda: None],
    "schedule": [lambda: None, lambda: lambda t: 0.03, lambda: cmlp.Warmup(50)],
}
READ_ONLY = {
    "call", "cursor", "epoch", "evaluator", "fitting", "goes_on", "history", "ranks",
    "running", "step_count",
}  # fmt: skip
CASES = [(name, make) for name, makers in PARTS.items() for make in makers]


def test_every_attribute_is_one_or_the_other():
    assert settled(cmlp.Trainer) == {*PARTS, *READ_ONLY}


def go_on(trainer, points):
    """Train by steps and by epochs; all numbers that come of it."""
    x, y = points
    found = [trainer.train_step(x[i : i + 20], y[i : i + 20]) for i in (0, 20, 40, 0)]
    found += trainer.fit(x, y, epochs=2, batch_size=16, shuffle=False)["loss"]
    found += [trainer.train_step(x[:20], y[:20]), trainer.evaluate(x, y)["loss"]]
    return [*found, *trainer.net.get_flat()]


class Before:
    """What a trainer may have done before a part of it is changed."""

    @staticmethod
    def nothing(trainer, points):
        pass

    @staticmethod
    def steps(trainer, points):
        for _ in range(3):
            trainer.train_step(points[0][:20], points[1][:20])

    @staticmethod
    def fit(trainer, points):
        trainer.fit(*points, epochs=2, batch_size=16)

    @staticmethod
    def both(trainer, points):
        Before.fit(trainer, points)
        Before.steps(trainer, points)
        trainer.evaluate(*points)


@pytest.mark.parametrize("before", ["nothing", "steps", "fit", "both"])
@pytest.mark.parametrize(("name", "make"), CASES)
def test_a_new_part_takes_effect(name, make, before, points):
    """As in a fresh trainer of that part and the others as they are, at the same step."""
    trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1), seed=3)
    getattr(Before, before)(trainer, points)
    setattr(trainer, name, make())
    parts = {n: getattr(trainer, n) for n in PARTS}
    parts |= {name: make(), "net": copy.deepcopy(trainer.net)}
    fresh = cmlp.Trainer(**parts)
    if name == "augment":  # which draws by the number of the step
        fresh.running.step_count = trainer.running.step_count
    if name == "schedule":  # which goes on from the trainer's steps
        steps = trainer.step_count
        rates = trainer.schedule and trainer.schedule.values(steps, 1, 0.1)[0]
        assert go_on(trainer, points)[0] == go_on(fresh, points)[0]
        history = trainer.fit(*points, epochs=1, batch_size=None)
        last = trainer.schedule and trainer.schedule.values(trainer.step_count - 1, 1, 0.1)[0]
        assert history["lr"] == [0.1 if rates is None else last]
        return
    assert go_on(trainer, points) == go_on(fresh, points)
    if name == "n_threads" and trainer.n_threads:
        assert trainer.loop_for(16).plan.n_threads == trainer.n_threads


def test_another_net_begins_at_the_beginning(points):
    schedule = cmlp.Halving(0.5)
    trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy(), schedule=schedule, seed=4)
    trainer.fit(*points, epochs=3, batch_size=16)
    trainer.net = build(seed=9)
    assert (trainer.epoch, trainer.step_count, len(trainer.history)) == (0, 0, 0)
    fresh = cmlp.Trainer(build(seed=9), cmlp.SoftmaxCrossEntropy(), schedule=schedule, seed=4)
    for one in (trainer, fresh):
        one.fit(*points, epochs=3, batch_size=16)
    assert np.array_equal(trainer.net.get_flat(), fresh.net.get_flat())
    assert trainer.history["lr"] == fresh.history["lr"]


def test_lbfgs_after_steps(points):
    pytest.importorskip("scipy")
    trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1))
    Before.both(trainer, points)
    fresh = cmlp.Trainer(copy.deepcopy(trainer.net), cmlp.SoftmaxCrossEntropy(), cmlp.LBFGS())
    trainer.optimizer = cmlp.LBFGS()
    for one in (trainer, fresh):
        one.fit(*points, epochs=5)
        with pytest.raises(TypeError, match="LBFGS, which has no single steps"):
            one.train_step(*points)
    assert np.array_equal(trainer.net.get_flat(), fresh.net.get_flat())
    trainer.optimizer = fresh.optimizer = cmlp.SGD(0.1)
    assert go_on(trainer, points) == go_on(fresh, points)


@pytest.mark.parametrize("before", ["nothing", "steps", "fit"])
@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("net", 3, TypeError, "net is 3; expected a Sequential"),
        ("net", cmlp.Sequential(cmlp.Dense(2, 3, activation="step")), ValueError, "no slope"),
        ("net", cmlp.Sequential(cmlp.Dense(2, 1, "sigmoid")), ValueError, "takes logits"),
        ("loss", 3, TypeError, "loss is 3; expected an object with forward, backward"),
        ("loss", cmlp.SquaredError, TypeError, "loss is <class"),
        ("optimizer", 3, TypeError, "optimizer is 3; expected an object with step"),
        ("schedule", 0.1, TypeError, "schedule is 0.1"),
        ("n_threads", 0, ValueError, "n_threads is 0"),
        ("seed", -1, ValueError, "seed is -1"),
        *[(name, None, AttributeError, name) for name in sorted(READ_ONLY)],
        ("optimiser", None, AttributeError, "optimiser"),
    ],
)
def test_refused(name, value, error, words, before, points):
    trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy())
    getattr(Before, before)(trainer, points)
    same = copy.deepcopy(trainer)
    with pytest.raises(error, match=words):
        setattr(trainer, name, value)
    assert go_on(trainer, points) == go_on(same, points)


class Assigns(cmlp.Callback):
    def __init__(self, name, value, at=2):
        self.name, self.value, self.at = name, value, at

    def on_epoch_end(self, trainer, row):
        if row["epoch"] == self.at:
            setattr(trainer, self.name, self.value)


class TestWithinFit:
    def run(self, *callbacks, **parts):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(90, 2)), np.arange(90) % 3
        trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1), **parts)
        trainer.fit(x, y, epochs=4, batch_size=16, callbacks=callbacks)
        return trainer

    @pytest.mark.parametrize(
        ("name", "value"), [("net", build()), ("loss", cmlp.SquaredError()), ("seed", 5)]
    )
    def test_what_the_call_is_made_of_stays(self, name, value):
        with pytest.raises(RuntimeError, match=f"{name} cannot be changed while the net is being"):
            self.run(Assigns(name, value))

    def test_another_optimizer(self):
        trainer = self.run(Assigns("optimizer", cmlp.SGD(0.0)))
        assert trainer.history["lr"] == [0.1, 0.1, 0.0, 0.0]
        assert trainer.history["loss"][2] == pytest.approx(trainer.history["loss"][3])

    def test_lbfgs_is_refused(self):
        with pytest.raises(RuntimeError, match="within a fit"):
            self.run(Assigns("optimizer", cmlp.LBFGS()))

    def test_another_schedule(self):
        trainer = self.run(Assigns("schedule", lambda t: 0.5))
        assert trainer.history["lr"] == [0.1, 0.1, 0.5, 0.5]
        with pytest.raises(ValueError, match="validation is None"):
            self.run(Assigns("schedule", cmlp.Plateau()))

    def test_threads(self):
        whole, changed = self.run(), self.run(Assigns("n_threads", 1))
        assert np.array_equal(whole.net.get_flat(), changed.net.get_flat())


class Adapting:
    """An optimizer that changes its own rate."""

    def __init__(self):
        self.lr = 0.5

    def step(self, net):
        net.set_flat(net.get_flat() - self.lr * net.get_flat_grad())
        self.lr *= 0.5


def test_an_optimizer_may_change_its_own_rate(points):
    trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy(), Adapting())
    trainer.fit(*points, epochs=2, batch_size=30)
    assert trainer.optimizer.lr == 0.5**7


@pytest.mark.parametrize("paced", [False, True])
def test_a_schedule_starts_from_the_rate_that_was_given(paced, points):
    """Also where it sets the rate of a user's optimizer step by step."""

    class Pace(cmlp.Callback):
        every_steps = 1

    trainer = cmlp.Trainer(
        build(), cmlp.SoftmaxCrossEntropy(), PythonSgd(0.5), cmlp.Exponential(0.5)
    )
    rates = trainer.fit(*points, epochs=3, batch_size=None, callbacks=[Pace()] if paced else [])[
        "lr"
    ]
    assert rates == [0.5, 0.25, 0.125]
    assert trainer.optimizer.lr == 0.5


class TestHistory:
    def test_every_attribute_is_read_only(self, points):
        history = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy()).fit(*points, epochs=2)
        assert settled(cmlp.History) == {"columns", "interrupted"}
        for name in ("columns", "interrupted", "unknown"):
            with pytest.raises(AttributeError):
                setattr(history, name, True)

    def test_columns_are_copies(self, points):
        history = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy()).fit(*points, epochs=2)
        history["loss"].append(3.0)
        assert len(history["loss"]) == 2


# What settings of the callbacks may and may not be; every other attribute is read-only.
SETTINGS = {
    "EarlyStopping": {
        "patience": (5, 0),
        "min_delta": (0.5, -1),
        "monitor": ("loss", 3),
        "restore_best": (False, None),
    },
    "Converged": {"tol": (0.1, -1)},
    "ModelCheckpoint": {
        "path": ("b", b"b"),
        "every": ("3 steps", 0),
        "save_best_only": (True, 1),
        "monitor": ("loss", 3),
    },
    "GradientMonitor": {"n": (5, 0)},
    "ProgressBar": {"force": (True, 1), "stream": (None, ...)},
}
KINDS = [
    kind for name in callbacks.__all__
    if (kind := getattr(callbacks, name)) is not callbacks.Callback
]  # fmt: skip


def make(kind):
    return kind("a") if issubclass(kind, cmlp.ModelCheckpoint) else kind()


@pytest.mark.parametrize("kind", KINDS)
class TestCallbacks:
    def test_every_attribute(self, kind):
        settings = SETTINGS[kind.__name__]
        assert set(inspect.signature(kind).parameters) - {"x", "y"} == set(settings)
        one = make(kind)
        for name in settled(kind) - set(settings) | {"unknown"}:
            with pytest.raises(AttributeError):
                setattr(one, name, 1)

    def test_settings(self, kind):
        one = make(kind)
        for name, (good, bad) in SETTINGS[kind.__name__].items():
            setattr(one, name, good)
            assert getattr(one, name) == good
            if bad is ...:
                continue
            with pytest.raises((ValueError, TypeError), match="expected"):
                setattr(one, name, bad)
            assert getattr(one, name) == good
            if name == "every":
                assert (one.every_steps, one.every_seconds) == (3, None)
                one.every = 1

    def test_subclasses_are_free(self, kind):
        one = make(type("Own", (kind,), {}))
        one.anything = 3
        assert one.anything == 3
