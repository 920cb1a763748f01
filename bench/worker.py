"""The process in which one library works.

It reads one job a line on standard input (JSON) and answers with one line:

``{"do": "open", "key": k, "section": s, "variant": v, "spec": {...}}``
    Make a task and check it.  Answer: ``{"check": [...]}``.
``{"do": "time", "key": k, "seconds": s}``
    Warm up, then run the task for about that long.  Answer: ``{"seconds": per run}``.
``{"do": "call", "function": f, "spec": {...}}``
    Call a function in the library's table `FUNCTIONS`.  Answer: ``{"result": ...}``.
``{"do": "memory"}``
    Answer: ``{"peak": bytes}``, the most memory this process has held; null where it is not known.
``{"do": "close"}``
    Forget all tasks.

The bench of a later version drives this one, too (`against.py`): jobs and answers are a contract.

Any job may be answered by ``{"error": "..."}``.  Every answer has "idle", the share of a core
that was used between jobs so far: waiting must cost nothing, so the process answers only once the
threads of its library sleep.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from . import nets
from .peers import LIBRARIES, Task

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


class Timer:
    """Times a task in blocks of about equal length."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.seconds_per_run = 0.0

    def block(self, n: int) -> float:
        """Seconds of n runs."""
        start = time.perf_counter()
        self.task.run(n)
        return time.perf_counter() - start

    def measure(self, seconds: float) -> float:
        """Seconds per run, from one block of about `seconds` after a warm-up of a tenth of it."""
        if not self.seconds_per_run:
            self.calibrate(seconds / 10)
        warm = int(seconds / 10 / self.seconds_per_run)
        if warm or self.seconds_per_run < 0.1:
            self.block(max(1, warm))
        n = max(1, round(seconds / self.seconds_per_run))
        self.seconds_per_run = self.block(n) / n
        return self.seconds_per_run

    def calibrate(self, seconds: float) -> None:
        """Estimate the time of a run by doubling their number."""
        n = 1
        self.block(n)
        while (passed := self.block(n)) < seconds:
            n *= 2
        self.seconds_per_run = max(passed / n, 1e-9)


def settle(limit: float = 0.5) -> None:
    """Return when the threads of this process sleep, or after `limit` seconds.

    Some libraries keep their threads spinning for tens of milliseconds after the last operation,
    which would slow down whoever is next.
    """
    start, quiet = time.perf_counter(), 0
    while quiet < 2 and time.perf_counter() - start < limit:
        busy, clock = time.process_time(), time.perf_counter()
        time.sleep(0.004)
        share = (time.process_time() - busy) / (time.perf_counter() - clock)
        quiet = quiet + 1 if share < 0.05 else 0


class Worker:
    """Answers jobs with the tasks of one library."""

    def __init__(self, library: str) -> None:
        module = importlib.import_module(f".peers.{LIBRARIES[library][0]}", __package__)
        self.tasks: dict[tuple[str, str], Callable[..., Task]] = module.TASKS
        self.functions: dict[str, Callable[..., Any]] = getattr(module, "FUNCTIONS", {})
        self.timers: dict[str, Timer] = {}
        self.clock_then, self.busy_then = time.perf_counter(), time.process_time()
        self.idle_clock = self.idle_busy = 0.0

    def answer(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do one job."""
        self.idle_clock += time.perf_counter() - self.clock_then
        self.idle_busy += time.process_time() - self.busy_then
        try:
            reply: dict[str, Any] = getattr(self, "do_" + job["do"])(job)
        except Exception as error:  # whatever a library raises is told to the driver
            lines = str(error).strip().splitlines() or [""]
            reply = {"error": f"{type(error).__name__}: {lines[0]}"}
        settle()
        self.clock_then, self.busy_then = time.perf_counter(), time.process_time()
        return {"idle": self.idle_busy / max(self.idle_clock, 1e-3), **reply}

    def do_open(self, job: dict[str, Any]) -> dict[str, Any]:
        """Make a task; its check."""
        spec = job["spec"]
        if "net" in spec:
            spec["net"] = nets.find(spec["net"])
        task = self.tasks[job["section"], job["variant"]](**spec)
        check = [float(value) for value in task.check()]
        self.timers[job["key"]] = Timer(task)
        return {"check": check}

    def do_time(self, job: dict[str, Any]) -> dict[str, Any]:
        """Seconds per run of a task."""
        gc.collect()
        gc.disable()
        try:
            return {"seconds": self.timers[job["key"]].measure(job["seconds"])}
        finally:
            gc.enable()

    def do_call(self, job: dict[str, Any]) -> dict[str, Any]:
        """Result of a function."""
        return {"result": self.functions[job["function"]](**job["spec"])}

    def do_memory(self, job: dict[str, Any]) -> dict[str, Any]:
        """Most memory held so far."""
        if resource is None:
            return {"peak": None}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"peak": peak * (1 if sys.platform == "darwin" else 1024)}

    def do_close(self, job: dict[str, Any]) -> dict[str, Any]:
        """Forget all tasks."""
        self.timers.clear()
        gc.collect()
        return {}


def pin(threads: int) -> None:
    """Keep this process on as many processors as it may use threads, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:threads])


def private_channel() -> TextIO:
    """Standard output for answers alone; what a library prints goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def main() -> None:
    """Serve the library named by the first argument with as many threads as the second says."""
    library, threads = sys.argv[1], int(sys.argv[2])
    channel = private_channel()
    pin(threads)

    def send(reply: dict[str, Any]) -> None:
        channel.write(json.dumps(reply) + "\n")
        channel.flush()

    try:
        worker = Worker(library)
    except ImportError as error:
        send({"error": f"not installed ({error})"})
        return
    send({"variants": list(worker.tasks)})
    for line in sys.stdin:
        send(worker.answer(json.loads(line)))


if __name__ == "__main__":
    main()
