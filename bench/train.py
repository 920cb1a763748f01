"""Training steps: forward, loss, backward and update of one minibatch."""

from __future__ import annotations

from collections.abc import Sequence

from .limits import Peak
from .nets import Net
from .rounds import Json, Session, compare

OURS = ("cmlp fit", "cmlp train_step")
# Two epochs of small steps: enough for a wrong gradient to show, too few for rounding to grow.
# scikit-learn adds Adam's eps before its bias correction and the others after: 1e-7 of the loss.
RTOL = {"float32": 1e-4, "float64": 1e-6}


def specs(nets: Sequence[Net]) -> list[Json]:
    """What says which step is timed."""
    return [{"net": net.name} for net in nets]


def measure(session: Session, nets: Sequence[Net]) -> list[Json]:
    """Time the training step of each net.

    Returns
    -------
    list of dict
        For each net its facts, the machine's peak in the same rounds and, under "rows", each
        variant's seconds a step, GFLOP/s and share of the peak.
    """
    return [measure_net(session, net) for net in nets]


def measure_net(session: Session, net: Net) -> Json:
    """Time the training step of a net."""
    peak = Peak(session.workers.get("cmlp"), session.dtype, session.threads)
    entries = session.entries("train", net=net.name)
    rows = compare(entries, session.effort, RTOL[session.dtype], net.batches, peak.sample)
    for row in rows:
        if "seconds" in row:
            row["gflops"] = net.step_flops / row["seconds"] / 1e9
            row["share"] = row["gflops"] / peak.gflops if peak.gflops else None
    itemsize = {"float32": 4, "float64": 8}[session.dtype]
    return {
        "net": net.name,
        "title": net.title,
        "batch": net.batch,
        "flops": net.step_flops,
        "bytes": net.step_bytes(itemsize),
        "peak_gflops": peak.gflops,
        "rows": rows,
        **against_best(rows, OURS),
    }


def against_best(rows: list[Json], ours: Sequence[str]) -> Json:
    """The fastest peer and its time over that of the fastest of ours; None where unknown."""
    timed = [row for row in rows if "seconds" in row]
    peers = [row for row in timed if row["variant"] not in ours]
    own = [row for row in timed if row["variant"] in ours]
    best = min(peers, key=lambda row: float(row["seconds"]), default=None)
    if best is None or not own:
        return {"best_peer": best["variant"] if best else None, "times_faster": None}
    fastest = min(float(row["seconds"]) for row in own)
    return {"best_peer": best["variant"], "times_faster": best["seconds"] / fastest}
