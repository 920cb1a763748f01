"""What the machine itself can do: multiply-adds in registers, and copying memory."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .rounds import Effort, Json, Worker


def copy_bandwidth(threads: int, seconds: float, megabytes: int = 256) -> float:
    """Bandwidth of copying an array that is larger than most caches.

    Parameters
    ----------
    threads : int
        Threads that copy a part each.
    seconds : float
        About how long to go on.
    megabytes : int
        Size of the array, in MiB.

    Returns
    -------
    float
        GB/s, bytes read and bytes written added up, in the best of the copies.
    """
    source = np.ones(megabytes * 2**20, np.uint8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    best, end = float("inf"), time.perf_counter() + seconds
    with ThreadPoolExecutor(threads) as pool:
        while best == float("inf") or time.perf_counter() < end:
            start = time.perf_counter()
            list(pool.map(lambda part: np.copyto(*part), parts))
            best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best / 1e9


class Peak:
    """The peak of fused multiply-adds, measured again in each round of a comparison.

    Parameters
    ----------
    worker : Worker or None
        The one of cmlp, whose kernel for the instruction set in use does the counting.  Without it
        the peak is not known.
    dtype : str
    threads : int
    """

    def __init__(self, worker: Worker | None, dtype: str, threads: int) -> None:
        self.worker = worker
        self.spec = {"dtype": dtype, "n_threads": threads, "seconds": 0.01}
        self.samples: list[float] = []

    def sample(self) -> None:
        """Measure once."""
        if self.worker is not None:
            self.samples.append(self.worker.call("fma_peak", **self.spec))

    @property
    def gflops(self) -> float | None:
        """Median of the samples, in GFLOP/s."""
        return statistics.median(self.samples) if self.samples else None


def measure(workers: dict[str, Worker], dtype: str, threads: int, effort: Effort) -> Json:
    """Limits with one thread and with all, medians of rounds.

    Returns
    -------
    dict
        "fma_gflops" and "copy_gbs", each {number of threads: value}.
    """
    counts = sorted({1, threads})
    peaks = {n: Peak(workers.get("cmlp"), dtype, n) for n in counts}
    copies: dict[int, list[float]] = {n: [] for n in counts}
    for _ in range(max(3, effort.rounds // 3)):
        for n in counts:
            peaks[n].sample()
            if "numpy" in workers:
                spec = {"threads": n, "seconds": effort.seconds}
                copies[n].append(workers["numpy"].call("copy_bandwidth", **spec))
    return {
        "fma_gflops": {str(n): peaks[n].gflops for n in counts},
        "copy_gbs": {str(n): statistics.median(v) if v else None for n, v in copies.items()},
    }
