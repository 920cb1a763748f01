"""scaling.py: how long a step takes on several ranks, by a model, and as measured under mpirun.

    python -m cmlp.bench.scaling                     the model's predictions
    mpirun -n 2 python -m cmlp.bench.scaling --measure   a net's steps, beside the model

A step of R ranks on minibatches of n rows, with P weights, G row groups and numbers of s bytes:

    computing   6 P n/R / F                          F: operations a second of a rank
    sending     s P (R - 1)/R (G/R + 1) / B          B: bytes a second that a rank sends
    waiting     3 (R - 1) L                          L: latency; three exchanges of R - 1 messages

The operations are those of forward, dx and dW, 2 each for a weight and a row.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

import cmlp

# Weights of 784-128-10 and of 28-300x5-1.
NETS = {"784-128-10": (784, 128, 10), "28-300x5-1": (28, 300, 300, 300, 300, 300, 1)}
NETWORKS = {"10 Gbit/s": (1.25e9, 20e-6), "100 Gbit/s": (12.5e9, 2e-6)}


@dataclass(frozen=True)
class Limits:
    """What a rank and its network can do.

    Attributes
    ----------
    flops : float
        Operations a second.
    bandwidth : float
        Bytes a second that a rank sends.
    latency : float
        Seconds of a message.
    """

    flops: float
    bandwidth: float
    latency: float


def weights_of(widths: tuple[int, ...]) -> int:
    """Numbers in the weight matrices of a net of these widths."""
    return sum(a * b for a, b in pairwise(widths))


def step_seconds(
    limits: Limits, n_weights: int, rows: int, ranks: int, groups: int | None = None
) -> float:
    """Seconds of a step by the model; as many groups as ranks, 8 at least, if None."""
    groups = max(8, ranks) if groups is None else groups
    others = (ranks - 1) / ranks
    computing = 6.0 * n_weights * rows / ranks / limits.flops
    sending = 4.0 * n_weights * others * (groups / ranks + 1) / limits.bandwidth
    return computing + sending + 3 * (ranks - 1) * limits.latency


def rows_worth(limits: Limits) -> float:
    """Rows of a rank from which on computing takes longer than sending: 1.33 F/B."""
    return 8.0 / 6.0 * limits.flops / limits.bandwidth


def predictions(flops: float) -> str:
    """The speed-up over one rank at 65,536 rows, for every net and network."""
    ranks = [1, 4, 16, 64, 256, 1024]
    lines = [f"{'':24}" + "".join(f"{n:>8}" for n in ranks)]
    for net, widths in NETS.items():
        for network, (bandwidth, latency) in NETWORKS.items():
            limits, n = Limits(flops, bandwidth, latency), weights_of(widths)
            one = step_seconds(limits, n, 65536, 1)
            found = [one / step_seconds(limits, n, 65536, r) for r in ranks]
            lines.append(f"{net:12}{network:12}" + "".join(f"{s:8.1f}" for s in found))
    return "\n".join(lines)


def measured(comm: object, widths: tuple[int, ...], rows: int, steps: int = 30) -> float:
    """Seconds of a step, the median of ``steps``."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, widths[0]), np.float32)
    y = rng.standard_normal((rows, widths[-1])).astype(np.float32)
    layers = [cmlp.Dense(a, b, "relu") for a, b in pairwise(widths)]
    net = cmlp.Sequential(layers, seed=0)
    trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(1e-4), n_threads=1, comm=comm)
    times: list[float] = []

    class Clock(cmlp.Callback):
        def on_epoch_end(self, trainer: object, row: object) -> None:
            times.append(time.perf_counter())

    trainer.fit(x, y, epochs=steps + 3, batch_size=rows, callbacks=[Clock()])
    return float(np.median(np.diff(times[2:])))


def main() -> None:
    """The predictions, or a line for each net under mpirun."""
    if "--measure" not in sys.argv:
        print("speed-up of minibatches of 65,536 rows, by ranks; 100 GFLOP/s a rank")
        print(predictions(1e11))
        return
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    for name, widths in NETS.items():
        for rows in (512, 4096):
            seconds = measured(comm, widths, rows)
            if comm.rank == 0:
                flops = 6.0 * weights_of(widths) * rows / seconds
                print(
                    f"{name:12}{rows:6} rows{comm.size:3} ranks{1e3 * seconds:9.2f} ms"
                    f"{flops / 1e9:8.1f} GFLOP/s"
                )


if __name__ == "__main__":
    main()
