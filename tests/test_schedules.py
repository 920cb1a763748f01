import numpy as np
import pytest

import cmlp
from cmlp import schedules
from cmlp.schedules import (
    Cosine,
    Exponential,
    Halving,
    InverseSqrt,
    InverseTime,
    MomentumStep,
    Plateau,
    StepDecay,
    Warmup,
)

T = np.arange(200)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (InverseTime(a=3.0, b=10.0), 3.0 / (10.0 + T)),
        (InverseSqrt(4), 0.5 * np.sqrt(4 / (4 + T))),
        (Exponential(0.9, n_steps=7), 0.5 * 0.9 ** (T / 7)),
        (StepDecay(0.5, n_steps=30), 0.5 * 0.5 ** (T // 30)),
        (Cosine(100, 0.1), 0.1 + 0.4 * (1 + np.cos(np.pi * np.minimum(T, 100) / 100)) / 2),
        (Warmup(20), 0.5 * np.minimum(T + 1, 20) / 20),
        (MomentumStep(0.5, 0.9, after=50), np.where(T < 50, 0.5, 0.9)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_formula(schedule, expected):
    np.testing.assert_allclose(schedule.values(0, 200, 0.5), expected, rtol=1e-14)


def test_warmup_then_another_schedule_from_its_start():
    values = Warmup(10, then=InverseTime(1.0, 2.0)).values(0, 30, 0.5)
    np.testing.assert_allclose(values[:10], 0.05 * np.arange(1, 11))
    np.testing.assert_allclose(values[10:], 1.0 / (2.0 + np.arange(20)))


@pytest.mark.parametrize(
    "schedule",
    [InverseTime(1, 2), Cosine(50), Warmup(9, then=Exponential(0.9)), StepDecay(0.5, 11)],
    ids=repr,
)
def test_pieces_equal_the_whole(schedule):
    whole = schedule.values(0, 100, 0.3)
    pieces = [
        schedule.values(0, 13, 0.3),
        schedule.values(13, 40, 0.3),
        schedule.values(53, 47, 0.3),
    ]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert whole.dtype == np.float64


def test_any_function_of_the_step():
    schedule = schedules.as_schedule(lambda step: 1.0 / (1 + step))
    np.testing.assert_array_equal(schedule.values(3, 4, 99.0), 1.0 / (1 + np.arange(3, 7)))


def test_halving_when_the_loss_hardly_falls():
    schedule = Halving(threshold=0.1)
    rates = []
    for loss in [1.0, 0.5, 0.49, 0.3, 0.29, 0.4]:
        schedule.observe(loss)
        rates.append(schedule.values(0, 1, 1.0)[0])
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.125]


def test_plateau_lets_epochs_pass_and_keeps_a_least_rate():
    schedule = Plateau(threshold=0.0, factor=0.1, patience=1, lr_min=0.05)
    rates = []
    for loss in [1.0, 1.1, 1.2, 1.3, 1.4]:
        schedule.observe(loss)
        rates.append(schedule.values(0, 1, 1.0)[0])
    assert rates == [1.0, 1.0, 0.1, 0.1, 0.05]


def test_state_goes_on():
    a, b = Halving(), Halving()
    for loss in (1.0, 0.999, 0.5):
        a.observe(loss)
    b.set_state(a.state())
    for loss in (0.4999, 0.2):
        a.observe(loss)
        b.observe(loss)
    assert a.state() == b.state()


EXAMPLES = [
    InverseTime(1, 2),
    InverseSqrt(3),
    Exponential(0.5, 2),
    StepDecay(0.5, 3),
    Cosine(9),
    Warmup(4),
    Warmup(4, then=Cosine(8)),
    MomentumStep(),
    Halving(0.02),
    Plateau(patience=4),
]

FALLING = [schedule for schedule in EXAMPLES if hasattr(schedule, "lr_min")]


def test_every_kind_has_an_example():
    assert {type(schedule) for schedule in EXAMPLES} == set(schedules._KINDS.values())


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_config_makes_the_same_schedule(schedule):
    again = schedules.from_config(schedules.to_config(schedule))
    assert repr(again) == repr(schedule)


def long_run(schedule, lr):
    """Rates of late iterations, after thousands of epochs whose loss has not fallen."""
    schedule = schedules.as_schedule(schedule)
    if isinstance(schedule, schedules.EpochSchedule):
        for _ in range(5000):
            schedule.observe(1.0)
    return schedule.values(10**9, 3, lr)


class TestTheLeastRate:
    @pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
    def test_is_never_zero(self, schedule):
        assert (long_run(schedule, 0.1) > 0).all()

    @pytest.mark.parametrize("schedule", FALLING, ids=repr)
    def test_is_a_share_of_the_first_unless_given(self, schedule):
        settings = schedules.to_config(schedule)
        assert long_run(schedule, 0.5) == pytest.approx([0.5e-4] * 3)
        given = schedules.from_config({**settings, "lr_min": 0.01})
        assert long_run(given, 0.5) == pytest.approx([0.01] * 3)
        none = schedules.from_config({**settings, "lr_min": 0.0})
        assert (long_run(none, 0.5) < 1e-300).all()

    def test_training_goes_on(self, points):
        net = cmlp.Sequential(cmlp.Dense(2, 3), dtype="float64", seed=0)
        trainer = cmlp.Trainer(
            net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.5), schedule=Halving(threshold=0.9)
        )
        losses = trainer.fit(*points, epochs=1300)["loss"]
        assert losses[-1] < losses[1200] < losses[100]


def test_functions_have_no_config():
    assert schedules.to_config(schedules.as_schedule(lambda step: 0.1)) is None
    assert schedules.to_config(Warmup(3, then=lambda step: 0.1)) is None


def test_a_trainer_gets_a_copy():
    original = Halving()
    assert schedules.as_schedule(original) is not original


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: InverseTime(0, 1), ValueError, "a is 0"),
        (lambda: InverseTime(1, "2"), TypeError, "b is '2'"),
        (lambda: Exponential(1.5), ValueError, "factor is 1.5"),
        (lambda: Cosine(0), ValueError, "n_steps is 0"),
        (lambda: Cosine(2.5), TypeError, "n_steps is 2.5"),
        (lambda: MomentumStep(0.5, 1.0), ValueError, "end is 1.0"),
        (lambda: Warmup(3, then=Halving()), TypeError, "then is"),
        (lambda: Halving(threshold=float("nan")), ValueError, "threshold is nan"),
        (lambda: Halving(factor=1.0), ValueError, "factor is 1.0"),
        (lambda: schedules.as_schedule(0.1), TypeError, "schedule is 0.1"),
        (lambda: schedules.as_schedule(Cosine), TypeError, "schedule is"),
        (lambda: schedules.from_config({"class": "os"}), ValueError, "schedule class is 'os'"),
    ],
)
def test_errors_name_the_argument(make, error, words):
    with pytest.raises(error, match=words):
        make()
