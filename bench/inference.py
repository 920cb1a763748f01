"""Outputs of 1, 32 and 1024 rows."""

from __future__ import annotations

from collections.abc import Sequence

from .nets import Net, find
from .rounds import Json, Session, compare
from .train import against_best

OURS = ("cmlp", "cmlp out=")
BATCHES = (1, 32, 1024)
RTOL = {"float32": 1e-4, "float64": 1e-10}


def specs(nets: Sequence[Net], quick: bool) -> list[Json]:
    """Each net at each number of rows; of a quick run, the least and most."""
    return [{"net": net.name, "rows": n} for net in nets for n in BATCHES[:: 2 if quick else 1]]


def measure(session: Session, nets: Sequence[Net]) -> list[Json]:
    """Time the forward pass of each of `specs`.

    Returns
    -------
    list of dict
        For each net and number of rows, under "rows", each variant's seconds a call and GFLOP/s.
    """
    return [
        measure_net(session, find(spec["net"]), spec["rows"]) for spec in specs(nets, session.quick)
    ]


def measure_net(session: Session, net: Net, batch: int) -> Json:
    """Time the forward pass of `batch` rows."""
    entries = session.entries("inference", net=net.name, rows=batch)
    rows = compare(entries, session.effort, RTOL[session.dtype])
    for row in rows:
        if "seconds" in row:
            row["gflops"] = net.forward_flops(batch) / row["seconds"] / 1e9
    return {
        "net": net.name,
        "title": net.title,
        "batch": batch,
        "flops": net.forward_flops(batch),
        "rows": rows,
        **against_best(rows, OURS),
    }
