"""Fixtures that several test files share."""

from __future__ import annotations

import signal

import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="session")
def interrupts_arrive():
    """Ctrl-C is a KeyboardInterrupt, also in a run in the background, which would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def rng():
    """A generator with a fixed seed."""
    return np.random.default_rng(20240229)


@pytest.fixture
def points(rng):
    """90 points in three clusters: x (90, 2) float64, labels (90,)."""
    labels = np.repeat(np.arange(3), 30)
    centres = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    return centres[labels] + 0.4 * rng.normal(size=(90, 2)), labels


@pytest.fixture(scope="module")
def one_thread():
    """For problems that are small, on a machine that may be busy."""
    with pytest.importorskip("threadpoolctl").threadpool_limits(1):
        yield


@pytest.fixture
def numbers():
    """120 samples of 5 features with 3 targets of mean 0 and deviation 1."""
    from sklearn.datasets import make_regression
    from sklearn.preprocessing import scale

    x, y = make_regression(120, 5, n_targets=3, noise=5.0, random_state=3)
    return x, scale(y)
