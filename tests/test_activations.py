"""How exact the activations are, what they do at their kinks, and their parameters."""

import os

import numpy as np
import pytest
from core_nets import ELEMENTWISE, EPS, ISAS, using
from formulas import ACTIVATIONS, Activation

from cmlp import _core

EXP = Activation(value=np.exp, slope=np.exp, limits=(0, np.inf), slopes=(0, np.inf))


@pytest.fixture(params=ISAS)
def isa(request):
    with using(request.param):
        yield request.param


def exponential(x):
    """e^x by the kernels: the slope of the Poisson loss of one row against zero."""
    rows = x[np.newaxis]
    return _core.loss_delta("poisson", None, rows, np.zeros_like(rows))[0][0]


def function_of(name):
    if name == "exp":
        return exponential
    return lambda x: _core.activation_forward(x, name)


def formulas_of(name):
    return EXP if name == "exp" else ACTIVATIONS[name]


def most_ulp(name, isa):
    """The bound in float32: v2 lacks fused multiply-adds, and reference takes C's own tanh."""
    return formulas_of(name).ulp + (isa in ("v2", "reference"))


def longer(u):
    """More digits than float64 has, where the platform has them."""
    return u.astype(np.longdouble)


FUNCTIONS = [*ELEMENTWISE, "exp"]
ROUNDED = [name for name in FUNCTIONS if name not in ("identity", "relu", "leaky_relu", "step")]
EDGES = [
    0,
    1,
    2**-126,
    2**-149,
    2**-125,
    3e-39,
    1e-20,
    1e-7,
    2**-12,
    0.1,
    0.3,
    0.5,
    2,
    5,
    9.0,
    13,
    15,
]
EDGES += [16.6, 17.3, 40, 87.3, 88.0, 88.7, 89, 103.9, 104, 105, 709, 1e3, 1e10, 1e30, 3.4028234e38]


def spread(n):
    """float32 of n evenly spaced bit patterns, n on either range that matters, and the edges."""
    bits = np.arange(0, 2**32, 2**32 // n + 1, dtype=np.uint64).astype(np.uint32)
    edges = np.array(EDGES, np.float32)
    edges = np.concatenate([edges, np.nextafter(edges, np.float32(0)), edges * np.float32(0.9999)])
    lines = [np.linspace(-end, end, n, dtype=np.float32) for end in (2, 110)]
    x = np.concatenate([bits.view(np.float32), edges, -edges, *lines])
    return x[np.isfinite(x)]


def ulps(y, exact):
    """Errors of float32 values in units of the last place of the exact ones.

    Denormals are flushed, also on the way: below twice the smallest normal number anything as small
    will do.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = exact.astype(np.float32)
        unit = np.spacing(np.maximum(np.abs(rounded), np.float32(2**-126))).astype(float)
        error = np.abs(y.astype(float) - exact) / unit
    small = (np.abs(exact) < 2.0**-125) & (np.abs(y) <= 2.0**-124)
    return np.where(small | (y == rounded), 0.0, error)


def exact_values(name, x):
    """The function of finite float32 numbers; denormal ones count as zero."""
    u = np.where(np.abs(x) < np.float32(2**-126), np.float32(0), x).astype(float)
    with np.errstate(over="ignore", under="ignore"):
        return formulas_of(name).value(u)


def check_ulps(name, isa, x, exact):
    y = function_of(name)(x)
    error = ulps(y, exact)
    if not error.size:
        return
    worst = np.argmax(np.where(np.isnan(error), np.inf, error))
    assert error[worst] <= most_ulp(name, isa), f"{name}({x[worst]}) = {y[worst]}"


@pytest.fixture(scope="module")
def sample():
    x = spread(2**16)
    return x, {name: exact_values(name, x) for name in FUNCTIONS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_to_the_last_digits(isa, name, sample):
    x, exact = sample
    check_ulps(name, isa, x, exact[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ROUNDED)
def test_every_float32(name):
    """In blocks; every 61st, or all 2^32 with CMLP_ULP_STRIDE=1, which takes some hours."""
    stride = int(os.environ.get("CMLP_ULP_STRIDE", "61"))
    block = 2**18 * stride
    for start in range(0, 2**32, block):
        bits = np.arange(start, min(start + block, 2**32), stride, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        x = x[np.isfinite(x)]
        exact = exact_values(name, x)
        for isa in ISAS:
            with using(isa):
                check_ulps(name, isa, x, exact)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64(isa, name):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=3000) * s for s in (1e-8, 1e-3, 0.3, 1, 3, 10, 100)])
    x = x[np.abs(x) < 600]
    formulas = formulas_of(name)
    exact = formulas.value(x if name == "gelu" else longer(x))
    unit = EPS["float64"] * np.abs(exact) * formulas.condition(x)
    error = np.abs(function_of(name)(x) - exact) / (unit + 1e-300)
    assert error.max() <= 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if n != "step"])
def test_derivatives_over_the_whole_range(isa, name, dtype, sample):
    x = sample[0][::3]
    x = x[(np.abs(x) < 1e30) & (np.abs(x) > 1e-35)].astype(dtype)
    s = x if _core.activations()[name]["needs_input"] else _core.activation_forward(x, name)
    slopes = _core.activation_backward(np.ones_like(x), s, name)
    with np.errstate(over="ignore"):
        exact = ACTIVATIONS[name].slope(x.astype(float))
    assert np.abs(slopes - exact).max() <= 12 * EPS[dtype]


def test_values_that_must_be_exact(isa):
    for dtype in ("float32", "float64"):
        zero = np.zeros(37, dtype)
        for name in ELEMENTWISE:
            if name not in ("sigmoid", "softplus", "step"):
                assert not _core.activation_forward(zero, name).any()
        assert (_core.activation_forward(zero, "sigmoid") == 0.5).all()
        assert (_core.activation_forward(zero, "step") == 1).all()
        assert (_core.activation_forward(-zero, "step") == 1).all()
        x = np.array([-30, -2, 2, 30], dtype)
        assert _core.activation_forward(x, "relu").tolist() == [0, 0, 2, 30]
        assert _core.activation_forward(x, "identity").tolist() == x.tolist()
        assert _core.activation_forward(x, "step").tolist() == [0, 0, 1, 1]


def test_ranges_and_symmetry(isa, sample):
    x = sample[0]
    y = {name: _core.activation_forward(x, name) for name in ELEMENTWISE}
    for name in ("tanh", "softsign"):
        assert np.abs(y[name]).max() <= 1
        assert np.array_equal(_core.activation_forward(-x, name), -y[name])
    assert np.abs(y["scaled_tanh"]).max() <= np.float32(1.7159)
    assert np.array_equal(_core.activation_forward(-x, "scaled_tanh"), -y["scaled_tanh"])
    assert y["sigmoid"].min() >= 0
    assert y["sigmoid"].max() <= 1
    assert y["softplus"].min() >= 0
    assert y["elu"].min() >= -1
    for name in ("gelu", "silu"):
        assert np.abs(y[name]).max() <= np.abs(x).max()
        assert (y[name][x > 0] >= 0).all()
        assert (y[name][x < 0] <= 0).all()


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "scaled_tanh", "elu", "softplus", "softsign"])
def test_what_rises_in_truth_falls_by_rounding_only(isa, name, sample):
    y = _core.activation_forward(np.sort(sample[0]), name).astype(float)
    assert (np.diff(y) >= -2 * EPS["float32"] * np.abs(y[1:]) - 2.0**-125).all()


# ---- kinks and parameters ----


def test_slopes_at_the_kink_are_those_of_the_negative_side(isa):
    zero, one = np.zeros(19), np.ones(19)
    for name, slope in (("relu", 0.0), ("leaky_relu", 0.01), ("elu", 1.0)):
        assert (_core.activation_backward(one, zero, name) == slope).all()
    assert (_core.activation_backward(one, zero, "leaky_relu", 0.3) == 0.3).all()
    assert (_core.activation_backward(one, zero, "elu", 0.5) == 0.5).all()
    for name, slope in (("sigmoid", 0.25), ("tanh", 1.0), ("gelu", 0.5), ("silu", 0.5)):
        s = zero if name in ("gelu", "silu") else _core.activation_forward(zero, name)
        np.testing.assert_allclose(_core.activation_backward(one, s, name), slope, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [0.0, 0.2, 1.5])
def test_parameters(isa, p, dtype, rng):
    x, dy = (rng.normal(size=45).astype(dtype) for _ in range(2))
    rtol = 4 * EPS[dtype]
    below = {"leaky_relu": p * x.astype(float), "elu": p * np.expm1(x.astype(float))}
    slope = {"leaky_relu": p, "elu": p * np.exp(x.astype(float))}
    for name in ("leaky_relu", "elu"):
        y = _core.activation_forward(x, name, p)
        np.testing.assert_allclose(y, np.where(x < 0, below[name], x), rtol=rtol)
        dx = _core.activation_backward(dy, y, name, p)
        # With a slope of 0 the output does not tell the sides apart at 0 alone.
        expected = dy * np.where(x < 0, slope[name], 1.0)
        np.testing.assert_allclose(dx, expected, rtol=rtol, atol=4 * EPS[dtype])
    layer = _core.Layer("dense", 3, 2, dtype, activation="leaky_relu", param=p)
    assert layer.param[0] == p
