"""Training steps of square nets by number of threads: no net may be slower with more of them."""

from __future__ import annotations

from .rounds import Entry, Json, Session, compare

WIDTHS = (1, 4, 16, 64, 128, 256)
BATCHES = (1, 4, 16, 64, 256)
RTOL = 0.0  # the same bits for any number of threads


def measure(session: Session) -> list[Json]:
    """Time a net of two layers of each width at each batch, with every number of threads.

    Returns
    -------
    list of dict
        "width", "batch", "seconds" by number of threads ("default" is the package's own choice),
        and "default_over_best": the default's time over the best of one and all threads.
    """
    if "cmlp" not in session.workers:
        return []
    widths, batches = (WIDTHS[1::2], BATCHES[1::2]) if session.quick else (WIDTHS, BATCHES)
    return [measure_size(session, width, batch) for width in widths for batch in batches]


def measure_size(session: Session, width: int, batch: int) -> Json:
    """Time a net of one width at one batch."""
    counts = [None, *sorted({1, session.threads, 8})]
    entries = [
        Entry(
            session.workers["cmlp"],
            "threads",
            "cmlp",
            {"width": width, "batch": batch, "dtype": session.dtype, "threads": n},
        )
        for n in counts
    ]
    rows = compare(entries, session.effort, RTOL)
    names = ["default" if n is None else str(n) for n in counts]
    seconds: Json = {name: row.get("seconds") for name, row in zip(names, rows, strict=True)}
    problems = [row["problem"] for row in rows if "problem" in row]
    result = {"width": width, "batch": batch, "seconds": seconds, "problems": problems}
    if problems:
        return {**result, "default_over_best": None, "eight_over_all": None}
    best = min(seconds["1"], seconds[str(session.threads)])
    return {
        **result,
        "default_over_best": seconds["default"] / best,
        "eight_over_all": seconds["8"] / seconds[str(session.threads)],
    }
