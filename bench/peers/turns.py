"""Two operations of one process, each alone and both by turns."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..worker import settle

Operation = Callable[[], object]


def seconds_of(call: Operation) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def means(calls: dict[str, Operation], seconds: float) -> dict[str, float]:
    """Mean seconds of each call in a loop over all of them, after one that does not count.

    The threads of whatever ran before are left to fall asleep first.
    """
    settle()
    for call in calls.values():
        call()
    sums, n = dict.fromkeys(calls, 0.0), 0
    end = time.perf_counter() + seconds
    while n < 3 or time.perf_counter() < end:
        n += 1
        for name, call in calls.items():
            sums[name] += seconds_of(call)
    return {name: total / n for name, total in sums.items()}


def compare_turns(calls: dict[str, Operation], seconds: float) -> dict[str, dict[str, float]]:
    """For each call its mean seconds "alone", in a loop of its own, and "by_turns"."""
    alone = {name: means({name: call}, seconds)[name] for name, call in calls.items()}
    both = means(calls, seconds)
    return {name: {"alone": alone[name], "by_turns": both[name]} for name in calls}
