"""Fixtures that several test files share."""

from __future__ import annotations

import numpy as np
import pytest


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
