"""What a user waits for: an epoch of MNIST, importing, installing, memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from .peers import LIBRARIES
from .rounds import Effort, Entry, Json, Session, Worker, WorkerError, compare
from .train import against_best

IMPORTS = ("numpy", "cmlp", "sklearn.neural_network", "torch", "jax")
EPOCH_ROWS, QUICK_ROWS = 60_000, 6_000
RTOL = 1e-3  # of the loss of an epoch: hundreds of steps
# Hidden units, rows and epochs; before these are over no rule of the default settings stops `fit`.
SMALL_SETS = {
    "iris": ((100,), 150, 200),
    "wine": ((100,), 178, 200),
    "breast_cancer": ((100,), 569, 200),
    "digits": ((64, 64), 1797, 90),
}
SMALL_BATCH = 200  # scikit-learn's default


def measure(session: Session, mnist: Path | None) -> Json:
    """Time and weigh the whole.

    Parameters
    ----------
    session : Session
    mnist : path or None
        Folder with the files of MNIST; without it random numbers of the same shape are used.

    Returns
    -------
    dict
        "epoch", "small_sets", "imports", "installed" and "memory"; a quick run leaves out the last
        and takes fewer rows and sets.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = write_epoch(session, Path(folder), mnist)
        epoch = {**source, **measure_epoch(session, folder)}
        memory = [] if session.quick else measure_memory(session, folder)
    return {
        "epoch": epoch,
        "small_sets": measure_small_sets(session),
        "imports": measure_imports(session.effort),
        "installed": {name: installed_bytes(parts) for name, (_, *parts) in LIBRARIES.items()},
        "memory": memory,
    }


def write_epoch(session: Session, folder: Path, mnist: Path | None) -> Json:
    """Leave x.npy and t.npy for the workers; what they are."""
    rows = QUICK_ROWS if session.quick else EPOCH_ROWS
    if mnist is not None and "cmlp" in session.workers:
        spec = {"folder": str(mnist), "out": str(folder), "rows": rows}
        session.workers["cmlp"].call("write_mnist", **spec)
        return {"data": "MNIST", "rows_of_data": rows}
    rng = np.random.default_rng(4)
    np.save(folder / "x.npy", rng.random((rows, 784), dtype=np.float32))
    np.save(folder / "t.npy", rng.integers(0, 10, rows))
    return {"data": "random", "rows_of_data": rows}


def measure_epoch(session: Session, folder: str) -> Json:
    """Time an epoch of 784-512-512-10 at batch 128, shuffled."""
    rounds = max(2, session.effort.rounds // 3)
    effort = Effort(rounds, session.effort.seconds)
    rows = compare(session.entries("epoch", folder=folder), effort, RTOL)
    return {"rows": rows, **against_best(rows, ("cmlp",))}


def measure_small_sets(session: Session) -> list[Json]:
    """Time `fit` of estimators with default settings on sets of scikit-learn, all of it, per step.

    Starts and orders of samples are the same; the checks are the losses at the end.
    """
    results = []
    effort = Effort(max(2, session.effort.rounds // 3), session.effort.seconds)
    for name in list(SMALL_SETS)[:1] if session.quick else SMALL_SETS:
        hidden, n, epochs = SMALL_SETS[name]
        entries = session.entries("small sets", name=name, hidden=hidden, epochs=epochs)
        rows = compare(entries, effort, RTOL, units=epochs * -(-n // SMALL_BATCH))
        results.append({"set": name, "rows": rows, **against_best(rows, ("cmlp",))})
    return results


def measure_imports(effort: Effort) -> Json:
    """Median seconds that a module adds to importing NumPy; None where it is missing."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(max(1, effort.rounds // 3)):
        for name in IMPORTS:
            seconds = import_seconds(name)
            times[name] += [] if seconds is None else [seconds]
    return {name: statistics.median(values) if values else None for name, values in times.items()}


def import_seconds(module: str) -> float | None:
    """Seconds of importing a module in a new process that has imported NumPy (but for itself)."""
    first = "" if module == "numpy" else "import numpy;"
    code = f"import time;{first}s=time.perf_counter();import {module};print(time.perf_counter()-s)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    return float(done.stdout) if done.returncode == 0 else None


def installed_bytes(distributions: Sequence[str]) -> int | None:
    """Bytes of the files of installed distributions, compiled Python aside.

    None where one is missing or its files lie elsewhere, as those of an editable install do.
    """
    sizes = [distribution_bytes(name) for name in distributions]
    return None if None in sizes else sum(size or 0 for size in sizes)


def distribution_bytes(distribution: str) -> int | None:
    """The same of one distribution."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return None
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return None
    paths = [Path(str(f.locate())) for f in found.files or [] if "__pycache__" not in f.parts]
    return sum(os.path.getsize(path) for path in paths if path.exists())


def measure_memory(session: Session, folder: str) -> list[Json]:
    """Most memory that a fresh process needs to train an epoch.

    Returns
    -------
    list of dict
        For each library "imported", the peak after importing it, and "peak", after training, in
        bytes.
    """
    results = []
    for entry in session.entries("epoch", folder=folder):
        try:
            results.append(memory_of(entry, session.threads))
        except WorkerError as error:
            results.append({"variant": entry.variant, "problem": str(error)})
    return results


def memory_of(entry: Entry, threads: int) -> Json:
    """Train one epoch in a fresh process and ask for its peaks."""
    job = {"section": entry.section, "variant": entry.variant, "spec": entry.spec}
    with Worker(entry.worker.library, threads) as worker:
        imported = worker.ask(do="memory")["peak"]
        worker.ask(do="open", key="0", **job)
        return {
            "variant": entry.variant,
            "imported": imported,
            "peak": worker.ask(do="memory")["peak"],
        }
