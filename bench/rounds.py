"""Drives the workers: opens tasks, compares their checks, times them turn by turn."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from .peers import LIBRARIES

Json = dict[str, Any]
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NPROC",  # XLA's pool
)
SLOW_TO_START = {"torch.compile"}  # it compiles C++ for each net and batch: not in a quick run

# This folder is imported as `bench`, found last of all: neither cmlp itself nor the current folder
# gets into the process of another library.
START = (
    f"import sys; sys.path.append({str(Path(__file__).resolve().parent.parent)!r});"
    "from bench.worker import main; main()"
)
# In another Python: the bench of the cmlp that is installed there.
ELSEWHERE = "from cmlp.bench.worker import main; main()"


class WorkerError(RuntimeError):
    """A worker that could not do its job; the message says which and why."""


class Worker:
    """A library in its own process (`worker.py`); a context manager.

    The process starts at once, and is ready when the context is entered.

    Parameters
    ----------
    library : str
    threads : int
    isa : str or None
        Instruction set of cmlp.
    python : path or None
        Another Python than this one; the worker is that of the cmlp installed there.

    Attributes
    ----------
    library : str
    version : str
    variants : list of (section, variant)
    idle : float
        Share of a core it has used while it was not its turn.
    """

    def __init__(
        self, library: str, threads: int, isa: str | None = None, python: Path | None = None
    ) -> None:
        self.library = library
        self.idle = 0.0
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the worker)
        command = [python or sys.executable, "-P", "-c", ELSEWHERE if python else START]
        try:
            self._process = subprocess.Popen(
                [*map(str, command), library, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=environment(threads, isa),
            )
        except OSError as error:
            self._log.close()
            raise WorkerError(f"{library} does not start: {error}") from error

    def ask(self, **job: Any) -> Json:
        """Do a job and wait for its answer.

        Raises
        ------
        WorkerError
            If the job failed or the process ended.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # _receive says why
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        reply = self._receive()
        self.idle = reply["idle"]
        return reply

    def call(self, function: str, **spec: Any) -> Any:
        """Result of one of the library's functions."""
        return self.ask(do="call", function=function, spec=spec)["result"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._log.close()

    def __enter__(self) -> Worker:
        try:
            hello = self._receive()
        except WorkerError:
            self.close()
            raise
        self.variants = [(section, variant) for section, variant in hello["variants"]]
        self.version = metadata.version(LIBRARIES[self.library][1])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._process.terminate()
        self.close()

    def _receive(self) -> Json:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            tail = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
            raise WorkerError(f"{self.library} ended with {self._process.returncode}: {tail}")
        reply: Json = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply


def environment(threads: int, isa: str | None) -> dict[str, str]:
    """Variables of the driver, with the number of threads for every library."""
    values = {name: str(threads) for name in THREAD_VARIABLES}
    values["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    if threads == 1:
        values["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if isa is not None:
        values["CMLP_ISA"] = isa
    return {**os.environ, **values}


@dataclass
class Entry:
    """One variant of a library in one comparison.

    Attributes
    ----------
    times : list of float
        Seconds per unit of work, one for each round.
    problem : str or None
        Why there are no times: the task failed or disagreed with the others.
    """

    worker: Worker
    section: str
    variant: str
    spec: Json
    check: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    problem: str | None = None

    def result(self) -> Json:
        """What is written to the JSON file."""
        out: Json = {"variant": self.variant, "check": self.check}
        if self.problem is not None:
            return {**out, "problem": self.problem}
        low, middle, high = quartiles(self.times)
        return {**out, "seconds": middle, "quartiles": [low, high], "rounds": len(self.times)}


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


@dataclass(frozen=True)
class Effort:
    """How long to measure: number of rounds, and seconds of a turn."""

    rounds: int
    seconds: float


def compare(
    entries: list[Entry],
    effort: Effort,
    rtol: float,
    units: int = 1,
    each_round: Callable[[], None] = lambda: None,
) -> list[Json]:
    """Check and time variants that do the same work.

    Parameters
    ----------
    entries : list of Entry
        The first one that can be opened is what the others have to agree with.
    effort : Effort
    rtol : float
        Largest relative difference between checks.
    units : int
        Units of work in a run: times are divided by it.
    each_round : callable
        Called before each round, to measure something else beside.

    Returns
    -------
    list of dict
        A result for each entry, in order.
    """
    reference: list[float] | None = None
    for number, entry in enumerate(entries):
        try:
            entry.check = entry.worker.ask(
                do="open",
                key=str(number),
                section=entry.section,
                variant=entry.variant,
                spec=entry.spec,
            )["check"]
        except WorkerError as error:
            entry.problem = str(error)
            continue
        reference = reference or entry.check
        if not agree(entry.check, reference, rtol):
            entry.problem = f"disagrees: {entry.check[:3]} against {reference[:3]}"
    order = list(enumerate(entries))
    for _ in range(effort.rounds):
        each_round()
        for number, entry in order:
            if entry.problem is None:
                turn(entry, str(number), effort.seconds, units)
        order.reverse()  # what always came second would meet what the first left behind
    for worker in {id(e.worker): e.worker for e in entries}.values():
        with suppress(WorkerError):  # one that has ended has said so in its entries
            worker.ask(do="close")
    return [entry.result() for entry in entries]


def turn(entry: Entry, key: str, seconds: float, units: int) -> None:
    """Time one entry once."""
    try:
        answer = entry.worker.ask(do="time", key=key, seconds=seconds)
    except WorkerError as error:
        entry.problem = str(error)
        return
    entry.times.append(answer["seconds"] / units)


def agree(values: list[float], reference: list[float], rtol: float) -> bool:
    """Whether all are finite and differ by at most rtol times the largest of the reference."""
    if len(values) != len(reference) or not all(map(math.isfinite, values)):
        return False
    scale = max(map(abs, reference), default=0.0)
    return all(abs(a - b) <= rtol * scale for a, b in zip(values, reference, strict=True))


@dataclass
class Session:
    """Everything a section needs to measure.

    Attributes
    ----------
    workers : dict
        Library -> worker, of those installed.
    dtype : str
    threads : int
    quick : bool
    effort : Effort
        Of a usual comparison.
    """

    workers: dict[str, Worker]
    dtype: str
    threads: int
    quick: bool
    effort: Effort

    def entries(self, section: str, **spec: Any) -> list[Entry]:
        """An entry for each variant of each library that takes part in the section."""
        spec = {**spec, "dtype": self.dtype, "threads": self.threads}
        return [
            Entry(worker, section, variant, dict(spec))
            for worker in self.workers.values()
            for part, variant in worker.variants
            if part == section and not (self.quick and variant in SLOW_TO_START)
        ]
