"""Training steps and matrix products of NumPy by turns: what each costs the other."""

from __future__ import annotations

import statistics

from .rounds import Json, Session

# Width and batch of a net, rows of the square matrices: steps and products take about as long.
CASES = ((128, 128, 256), (256, 128, 512), (512, 256, 1024))
SIDES = ("cmlp", "numpy")


def measure(session: Session) -> list[Json]:
    """Time both sides alone, each in a loop of its own, and by turns in one loop.

    Returns
    -------
    list of dict
        "width", "batch" and "size"; for each of "cmlp" and "numpy" the seconds of a call "alone"
        and "by_turns", medians of rounds, and "ratio", the median of a round's by_turns over alone.
    """
    if "cmlp" not in session.workers:
        return []
    cases = CASES[:1] if session.quick else CASES
    return [measure_case(session, *case) for case in cases]


def measure_case(session: Session, width: int, batch: int, size: int) -> Json:
    """Time one net beside one size of matrices."""
    spec = {
        "width": width,
        "batch": batch,
        "size": size,
        "dtype": session.dtype,
        "threads": session.threads,
        "seconds": session.effort.seconds,
    }
    ours = session.workers["cmlp"]
    rounds = [ours.call("by_turns", **spec) for _ in range(session.effort.rounds)]
    return {
        "width": width,
        "batch": batch,
        "size": size,
        **{side: summary([found[side] for found in rounds]) for side in SIDES},
    }


def summary(rounds: list[Json]) -> Json:
    """Medians of one side."""
    median = statistics.median
    return {
        "alone": median(found["alone"] for found in rounds),
        "by_turns": median(found["by_turns"] for found in rounds),
        "ratio": median(found["by_turns"] / found["alone"] for found in rounds),
    }
