"""Two versions of cmlp by turns: the one that runs the bench, and one installed for another Python.

Every row of the training, inference and kernel sections is timed in two processes, one for each
version, that take turns: old, new, new, old.  What counts is the ratio of a round's two times, new
over old, which does not see the machine change its speed for longer than a round.  The table has
the median over all rounds.

Where a process puts its memory makes some rows a few per cent faster or slower for as long as it
lives, so that rounds are spread over several pairs of processes; a row that may be slower than
`LIMIT` is timed again in further ones.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from . import inference, kernels, train
from .nets import Net, find
from .rounds import Effort, Entry, Json, Worker, WorkerError, compare

SECTIONS = ("train", "inference", "kernels")
RTOL = {"train": train.RTOL, "inference": inference.RTOL, "kernels": kernels.RTOL}
LIMIT = 1.03  # the most that new may take of old's time
PAIRS = 2  # of processes, for every row
MORE_PAIRS = 4  # for rows that may be slower


def python_of(place: Path) -> Path:
    """The Python of a checkout's .venv; a path of a file as it is.

    Raises
    ------
    ValueError
        If there is none.
    """
    python = place
    if place.is_dir():
        python = place / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.is_file():
        raise ValueError(f"against: no Python at {python}")
    return python.absolute()


@dataclass
class Row:
    """One thing that both versions do, and its times."""

    section: str
    variant: str
    spec: Json
    old: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    problem: str | None = None
    same_bits: bool = True

    @property
    def ratios(self) -> list[float]:
        """New over old, round by round."""
        return [new / old for old, new in zip(self.old, self.new, strict=True)]

    @property
    def may_be_slower(self) -> bool:
        """Whether its interval reaches beyond the limit."""
        return self.problem is None and (not self.old or interval(self.ratios)[1] > LIMIT)

    def result(self) -> Json:
        """What is written to the JSON file."""
        out: Json = {"section": self.section, "variant": self.variant, **self.spec}
        if self.problem is not None:
            return {**out, "problem": self.problem}
        ratio = statistics.median(self.ratios)
        return {
            **out,
            "old": statistics.median(self.old),
            "new": statistics.median(self.new),
            "ratio": ratio,
            "interval": list(interval(self.ratios)),
            "ratio_of_bests": min(self.new) / min(self.old),
            "rounds": len(self.old),
            "slower": ratio > LIMIT,
            "same_bits": self.same_bits,
        }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Two of the values that have the median between them in 95 of 100 samples (sign test).

    The least and the greatest where there are too few values for that.
    """
    n, ordered = len(values), sorted(values)
    tails = accumulate(math.comb(n, k) / 2**n for k in range(n))
    left_out = max(0, sum(tail <= 0.025 for tail in tails) - 1)
    return ordered[left_out], ordered[n - 1 - left_out]


@dataclass
class Comparison:
    """What is compared, and how.

    Attributes
    ----------
    old : path
        The other version's Python.
    nets : list of Net
    sections : list of str
        Some of `SECTIONS`.
    dtype : str
    threads : int
    isa : str or None
    quick : bool
    effort : Effort
        Of a row in one pair of processes.
    """

    old: Path
    nets: Sequence[Net]
    sections: Sequence[str]
    dtype: str
    threads: int
    isa: str | None
    quick: bool
    effort: Effort

    def measure(self) -> Json:
        """Time every row that both versions have.

        Returns
        -------
        dict
            "python", the other version's; "info", what both say of themselves; "idle", the most of
            a core that a process used while it waited; and "rows".  Each row has "section",
            "variant" and what else says what was done, then either a "problem" or "old" and
            "new", medians in seconds, "ratio" of new over old with its "interval", the
            "ratio_of_bests", "rounds", "slower", and whether the results had the "same_bits".

        Raises
        ------
        ValueError
            If the other Python has no cmlp with a bench, or one of the versions does not run with
            the instruction set.
        """
        rows: list[Row] = []
        idle = 0.0
        for number in range(PAIRS + MORE_PAIRS):
            with ExitStack() as stack:
                old, new = self.start(stack)
                info = {"old": old.call("info"), "new": new.call("info")}
                self.check_isa(info)
                rows = rows or self.rows(old, new)
                chosen = [row for row in rows if number < PAIRS or row.may_be_slower]
                print(f"processes {number + 1}: {len(chosen)} rows", file=sys.stderr)
                for row in chosen:
                    self.time(row, old, new)
                idle = max(idle, old.idle, new.idle)
            if number + 1 >= PAIRS and not any(row.may_be_slower for row in rows):
                break
        done = [row.result() for row in rows]
        return {"python": str(self.old), "info": info, "idle": idle, "rows": done}

    def check_isa(self, info: Json) -> None:
        """Refuse an instruction set with which one of them does not run."""
        for name, found in info.items():
            if self.isa is not None and found["isa"] != self.isa:
                raise ValueError(f"isa: got {self.isa!r}, {name} has {', '.join(found['isas'])}")

    def start(self, stack: ExitStack) -> tuple[Worker, Worker]:
        """New processes of the old and of the new version."""
        try:
            old = stack.enter_context(Worker("cmlp", self.threads, self.isa, self.old))
        except WorkerError as error:
            raise ValueError(f"against: {self.old}: {error}") from error
        return old, stack.enter_context(Worker("cmlp", self.threads, self.isa))

    def rows(self, old: Worker, new: Worker) -> list[Row]:
        """What both can do."""
        specs = {
            "train": train.specs(self.nets),
            "inference": inference.specs(self.nets, self.quick),
            "kernels": kernels.specs(self.quick),
        }
        return [
            Row(section, variant, spec)
            for section in self.sections
            for spec in specs[section]
            for part, variant in new.variants
            if part == section and (part, variant) in old.variants
        ]

    def time(self, row: Row, old: Worker, new: Worker) -> None:
        """Compare the results of a row in two processes, then time it by turns."""
        if row.problem is not None:
            return
        spec = {**row.spec, "dtype": self.dtype, "threads": self.threads}
        pair = [Entry(w, row.section, row.variant, dict(spec)) for w in (old, new)]
        units = find(row.spec["net"]).batches if row.section == "train" else 1
        compare(pair, self.effort, RTOL[row.section][self.dtype], units)
        problems = (
            f"{name}: {entry.problem}"
            for name, entry in zip(("old", "new"), pair, strict=True)
            if entry.problem
        )
        row.problem = next(problems, None)
        if row.problem is None:
            row.old += pair[0].times
            row.new += pair[1].times
            row.same_bits &= pair[0].check == pair[1].check
