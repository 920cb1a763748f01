"""The whole life of a net, again and again: memory does not grow."""

from __future__ import annotations

import contextlib
import gc
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import cmlp

STATUS = Path("/proc/self/statm")
MEGABYTE = 2**20


def resident():
    """Bytes of this process that are in memory."""
    return int(STATUS.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def life(x, y, folder):
    """Build, train, predict, save, load; the gradients, and a call that is refused."""
    net = cmlp.Sequential(cmlp.Dense(4, 8, activation="relu"), cmlp.Dense(8, 3), seed=0)
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1, momentum=0.9))
    trainer.fit(x, y, epochs=2, batch_size=16)
    net.backward(net.forward(x))
    net.predict(x)
    net.save(folder / "m")
    cmlp.load(folder / "m").predict(x)
    with contextlib.suppress(ValueError):
        trainer.fit(x, y[:3])


def going_on(x, y, folder):
    """A training that is saved and loaded; copies; divergence."""
    net = cmlp.Sequential(
        cmlp.Dense(4, 8), cmlp.Dropout(0.2), cmlp.PReLU(), cmlp.Dense(8, 1), seed=0
    )
    trainer = cmlp.Trainer(
        net, cmlp.SquaredError(), cmlp.Adam(clip_norm=1.0), schedule=cmlp.Cosine(9)
    )
    trainer.fit(x, x[:, :1], epochs=2, batch_size=20, validation=(x, x[:, :1]))
    trainer.train_step(x[:8], x[:8, :1])
    trainer.save_checkpoint(folder / "c")
    again = cmlp.Trainer.load_checkpoint(folder / "c")
    again.fit(x, x[:, :1], epochs=1)
    net.copy().lerp_(again.net, 0.5)
    wild = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(1e9))
    with contextlib.suppress(cmlp.DivergenceError):
        wild.fit(x, x[:, :1], epochs=9)


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((60, 4)), rng.integers(0, 3, 60)


def growth(cycle, times, folder):
    """Bytes by which the least of the last tenth of lives is above the least of the first.

    An allocator keeps and gives back memory as it likes, but what has leaked it cannot give back.
    """
    x, y = data()
    for _ in range(100):
        cycle(x, y, folder)
    found = []
    for _ in range(times):
        cycle(x, y, folder)
        found.append(resident())
    tenth = times // 10
    return min(found[-tenth:]) - min(found[:tenth])


needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="needs /proc")


@needs_proc
@pytest.mark.parametrize("cycle", [life, going_on], ids=lambda cycle: cycle.__name__)
def test_memory_of_the_process(cycle, tmp_path):
    assert growth(cycle, 400, tmp_path) < MEGABYTE / 4


@needs_proc
@pytest.mark.slow
def test_memory_of_the_process_over_a_hundred_thousand_lives(tmp_path):
    grown = growth(life, 100_000, tmp_path)
    print(f"\n{grown / 1024:.0f} KiB more after 100,000 lives")
    assert grown < MEGABYTE


@pytest.mark.parametrize("cycle", [life, going_on], ids=lambda cycle: cycle.__name__)
def test_objects_of_python(cycle, tmp_path):
    (x, y), found = data(), []
    tracemalloc.start()
    try:
        for _ in range(4):
            for _ in range(120):
                cycle(x, y, tmp_path)
            gc.collect()
            found.append((tracemalloc.get_traced_memory()[0], len(gc.get_objects())))
    finally:
        tracemalloc.stop()
    # Python itself keeps some of what it frees, now and then; what leaks grows every time.
    grown, more = np.diff(found, axis=0).min(axis=0)
    assert grown < 120 * 400, "something of each life is left"
    assert more < 120
