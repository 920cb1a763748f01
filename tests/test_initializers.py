import numpy as np
import pytest

import cmlp
from cmlp.initializers import Constant, He, Normal, Xavier, Zeros, default_weight, draw

SHAPE = (400, 300)


@pytest.mark.parametrize(
    ("init", "std"),
    [
        (Normal(), 0.01),
        (Normal(0.5), 0.5),
        (Xavier(), 1 / np.sqrt(300)),
        (Xavier("uniform"), 1 / np.sqrt(300)),
        (Xavier("normal", fan="average"), np.sqrt(2 / 700)),
        (Xavier("uniform", fan="average"), np.sqrt(2 / 700)),
        (He(), np.sqrt(2 / 300)),
        (He("uniform"), np.sqrt(2 / 300)),
    ],
    ids=repr,
)
def test_moments(init, std, rng):
    w = init(SHAPE, rng)
    n = w.size
    assert w.shape == SHAPE
    assert abs(w.mean()) < 5 * std / np.sqrt(n)
    assert abs(w.std() / std - 1) < 5 / np.sqrt(n)
    kurtosis = ((w / std) ** 4).mean()
    if "uniform" in repr(init):
        assert abs(w).max() <= std * np.sqrt(3)
        assert kurtosis == pytest.approx(1.8, abs=0.05)
    else:
        assert kurtosis == pytest.approx(3.0, abs=0.1)


def test_constants(rng):
    assert (Zeros()((3, 2), rng) == 0).all()
    assert (Constant(0.25)((3,), rng) == 0.25).all()


def test_defaults_follow_the_activation():
    assert repr(default_weight(True)) == repr(He())
    assert repr(default_weight(False)) == repr(Xavier())
    fused = cmlp.Sequential(cmlp.Dense(300, 400, activation="relu"), seed=5)
    apart = cmlp.Sequential(cmlp.Dense(300, 400), cmlp.Dropout(0.2), cmlp.ReLU(), seed=5)
    assert np.array_equal(fused.layers[0].weight, apart.layers[0].weight)
    assert fused.layers[0].weight.std() == pytest.approx(np.sqrt(2 / 300), rel=0.02)
    linear = cmlp.Sequential(cmlp.Dense(300, 400), cmlp.Dense(400, 2, activation="relu"), seed=5)
    assert linear.layers[0].weight.std() == pytest.approx(np.sqrt(1 / 300), rel=0.02)


def test_function_of_the_user():
    ramp = cmlp.Dense(3, 2, weight_init=lambda shape, rng: np.arange(6).reshape(shape))
    net = cmlp.Sequential(ramp, seed=0)
    assert np.array_equal(net.layers[0].weight, [[0, 1, 2], [3, 4, 5]])


def test_bias_init():
    net = cmlp.Sequential(cmlp.Dense(3, 2, bias_init=Constant(0.5)), seed=0)
    assert np.array_equal(net.layers[0].bias, [0.5, 0.5])


@pytest.mark.parametrize("init", [Zeros(), Constant(1.0)])
def test_alike_hidden_units_are_warned_of(init):
    with pytest.warns(UserWarning, match="stay alike"):
        cmlp.Sequential(cmlp.Dense(2, 3, weight_init=init), cmlp.Dense(3, 1))
    cmlp.Sequential(cmlp.Dense(2, 3, weight_init=init))  # no hidden layer, no warning


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Normal(0.0), ValueError, "std is 0.0"),
        (lambda: Xavier("gauss"), ValueError, "distribution is 'gauss'"),
        (lambda: Xavier(fan="out"), ValueError, "fan is 'out'"),
        (lambda: He(3), TypeError, "distribution is 3"),
        (lambda: Constant("1"), TypeError, "value is '1'"),
        (lambda: cmlp.Dense(2, 2, weight_init=He), TypeError, "weight_init is"),
        (lambda: cmlp.Dense(2, 2, weight_init="he"), TypeError, "weight_init is 'he'"),
    ],
)
def test_errors_name_the_argument(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_wrong_results_of_a_function_are_refused(rng):
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(2, 3\)"):
        draw(lambda shape, rng: np.ones(3), (2, 3), rng, "weight", "float32")
    with pytest.raises(ValueError, match="holds nan"):
        draw(lambda shape, rng: np.full(shape, np.nan), (2, 3), rng, "weight", "float32")
