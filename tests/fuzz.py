"""Reads damaged files and watches what comes of it: `make fuzz`, or python tests/fuzz.py --help.

Every file must be read, or refused by an exception that its reader documents, within a second of
processor time and in memory of at most four times the file, or four times the arrays that it is
read as, 16 MB, and 3 kB for each column of a table.  The files follow from the seed and their
number alone.  A file that fails is kept, the one at which a reader crashed too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import secrets
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import mutations
import numpy as np

import cmlp
from cmlp.datasets import idx, tables

try:  # what reads tables is no part of what reading one takes
    import pyarrow.compute
    import pyarrow.csv  # noqa: F401
except ImportError:
    pass

MOST_SECONDS = 1.0  # of the processor
MOST_WAIT = 30.0  # by the clock; then the reader is taken to hang
MOST_FOLD = 4
ALLOWANCE = 16 << 20  # bytes of memory for names, labels, and what Python keeps
A_COLUMN = 3000  # bytes for what is kept of each column of a table
ADDRESSES = 1 << 28  # bytes that may be reserved, used or not
MEASURED = 16  # one file of so many has its memory measured, and each that is not small

MEMORY = "/dev/shm"  # where files are quick to write

Reader = Callable[[str], int]  # reads a path; bytes of what it holds as arrays
Readers = Mapping[str, Reader]
Result = tuple[int, str, str, str]  # number, kind, outcome, what is wrong or ""

# ---- readers, and how they may refuse ----


def read_model(path: str) -> int:
    net = cmlp.load(path)
    if net.n_in < 10_000:
        net.predict(np.ones((2, net.n_in)))
    return 0


def read_checkpoint(path: str) -> int:
    trainer = cmlp.Trainer.load_checkpoint(path)
    try:
        mutations.fit(trainer)
    except cmlp.DivergenceError:
        pass  # a learning rate of 1e308, say
    except (ValueError, TypeError) as error:
        # Another net, or other settings, than fit asks for.
        if not re.search("expected|epochs of 40 samples do not have", str(error)):
            raise
    return 0


def read_idx(path: str) -> int:
    return idx.read_idx(path).nbytes


def read_table(path: str) -> int:
    data = tables.load_table(path)
    return data.x.nbytes + data.y.nbytes


READERS: Readers = {
    "model": read_model,
    "checkpoint": read_checkpoint,
    "idx": read_idx,
    "idx.gz": read_idx,
    "csv": read_table,
    "tsv": read_table,
    "npz": read_table,
}
# What may come besides FormatError: a plain ValueError that begins with the argument's name.
ARGUMENTS = {
    "checkpoint": r"(loss|optimizer|schedule) is None; expected",
    **dict.fromkeys(("csv", "tsv", "npz"), r"(task|target|features): "),
}


def documented(kind: str, error: Exception) -> bool:
    text = str(error)
    if type(error) is ValueError:
        return re.match(ARGUMENTS.get(kind, "(?!)"), text) is not None
    return type(error) is cmlp.FormatError and len(text) < 2000 and "\n" not in text


# ---- one file ----


def memory(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) << 10


def resident() -> int:
    """Bytes of resident memory; their peak, VmHWM, starts anew."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return memory("VmRSS")


def columns(kind: str, path: Path) -> int:
    """About how many columns a table of text has."""
    if kind not in ("csv", "tsv"):
        return 0
    first = path.read_bytes()[: 1 << 20].partition(b"\n")[0]
    return max(first.count(b","), first.count(b"\t"))


def judge(read: Reader, kind: str, path: Path, measure: bool) -> tuple[str, str]:
    """What came of reading a file, and what is wrong with that, or ""."""
    before = resident() if measure else 0
    start = time.process_time()
    outcome, size = "read", path.stat().st_size
    try:
        size = max(size, read(str(path)))
    except Exception as error:
        outcome = type(error).__name__
        if not documented(kind, error):
            return outcome, f"{outcome}: {str(error)[:300]!r}"
    seconds = time.process_time() - start
    if seconds > MOST_SECONDS:
        return outcome, f"{seconds:.1f} s"
    most = MOST_FOLD * size + ALLOWANCE + A_COLUMN * columns(kind, path)
    if measure and (taken := memory("VmHWM") - before) > most:
        return outcome, f"{taken} bytes of memory for {size} bytes"
    return outcome, ""


# ---- processes that read, and the one that watches them ----


def work(seed: int, numbers: range, readers: Readers, folder: str, place: Any, pipe: Any) -> None:
    """Read the files of these numbers: `place` is the one at hand, `pipe` takes what came of it."""
    import resource  # not on every system

    warnings.simplefilter("error")
    files = mutations.whole_files()
    for kind, contents in files.items():  # what is imported late is no memory of a file
        for data in contents:
            path = Path(folder, f"{numbers.start}.{kind}")
            path.write_bytes(data)
            judge(READERS[kind], kind, path, True)
    limit = memory("VmSize") + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for i in numbers:
        place.value = i
        kind, data = mutations.mutated(seed, i, files)
        path = Path(folder, f"{numbers.start}.{kind}")
        path.write_bytes(data)
        measure = i % MEASURED == 0 or len(data) > 1 << 16
        pipe.send((i, kind, *judge(readers[kind], kind, path, measure)))


class Worker:
    """A process that reads the files of some numbers, watched from here."""

    context = multiprocessing.get_context("spawn")

    def __init__(self, seed: int, numbers: range, readers: Readers, folder: str) -> None:
        self.place = self.context.Value("q", -1, lock=False)
        self.pipe, end = self.context.Pipe(duplex=False)
        arguments = (seed, numbers, readers, folder, self.place, end)
        self.process = self.context.Process(target=work, args=arguments)
        self.process.start()
        end.close()
        self.at, self.since = -1, 0.0

    def look(self) -> tuple[list[Result], bool]:
        """What has come, and whether there will be more; a crash or a hang is a result too."""
        found: list[Result] = []
        alive, place = self.process.is_alive(), self.place.value
        try:
            while self.pipe.poll():
                found.append(self.pipe.recv())
        except EOFError:
            pass
        if place != self.at:
            self.at, self.since = place, time.monotonic()
        if alive and (place < 0 or time.monotonic() - self.since < MOST_WAIT):
            return found, True
        if alive:
            self.process.kill()
        self.process.join()
        if self.process.exitcode:
            if place < 0:
                raise RuntimeError("the reading process did not come as far as the first file")
            fault = "no answer" if alive else f"ended with {self.process.exitcode}"
            found.append((place, "", "crash", fault))
        return found, False


def fuzz(
    seed: int,
    first: int = 0,
    count: int = sys.maxsize,
    seconds: float = float("inf"),
    workers: int = 2,
    readers: Readers = READERS,
) -> Iterator[Result]:
    """Read files `first` to `first + count` of a seed, for so long."""
    end = time.monotonic() + seconds
    numbers = [range(first + w, first + count, workers) for w in range(workers)]
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as folder:
        running = [Worker(seed, n, readers, folder) for n in numbers if n]
        try:
            while running and time.monotonic() < end:
                time.sleep(0.02)
                for worker in list(running):
                    found, more = worker.look()
                    yield from found
                    if not more:
                        running.remove(worker)
                        crashed = found and found[-1][2] == "crash"
                        if crashed and (
                            rest := range(found[-1][0] + workers, first + count, workers)
                        ):
                            running.append(Worker(seed, rest, readers, folder))
        finally:
            for worker in running:
                worker.process.kill()
                worker.process.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="by default drawn")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="files to read")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time to stop after")
    parser.add_argument(
        "--keep", type=Path, default=Path("build/fuzz"), help="folder for files that fail"
    )
    options = parser.parse_args()
    print(f"seed {options.seed}, from file {options.first}", flush=True)
    counts, failures, files = Counter[tuple[str, str]](), 0, None
    for i, kind, outcome, fault in fuzz(
        options.seed, options.first, options.count, options.seconds
    ):
        counts[kind, outcome] += 1
        if fault:
            failures += 1
            files = files or mutations.whole_files()
            kind, data = mutations.mutated(options.seed, i, files)
            options.keep.mkdir(parents=True, exist_ok=True)
            path = options.keep / f"{options.seed}-{i}.{kind}"
            path.write_bytes(data)
            print(f"FAILED: {path}: {fault}", flush=True)
    for (kind, outcome), n in sorted(counts.items()):
        print(f"{kind:12} {outcome:16} {n:8}")
    print(f"{counts.total()} files, {failures} failed")
    return 1 if failures or not counts else 0


if __name__ == "__main__":
    sys.exit(main())
