"""Nets and data that several ranks train on."""

import numpy as np

import cmlp
from cmlp.data import Source

N = 503
RNG = np.random.default_rng(21)
X = RNG.normal(size=(N, 5)).astype("f")
LABELS = RNG.integers(3, size=N)


def make(comm=None, optimizer=None, **options):
    """A trainer of a net with dropout."""
    net = cmlp.Sequential(cmlp.Dense(5, 8, "tanh"), cmlp.Dropout(0.2), cmlp.Dense(8, 3), seed=3)
    optimizer = optimizer or cmlp.Adam(0.01, clip_norm=0.5)
    return cmlp.Trainer(
        net, cmlp.SoftmaxCrossEntropy(), optimizer, n_threads=1, comm=comm, **options
    )


def source(folder):
    """A source of files in a folder, read by windows."""
    return Source.from_npy(f"{folder}/x.npy", f"{folder}/y.npy", shuffle="blocks", window=130)


def write(folder):
    """The files of `source`."""
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", LABELS)
