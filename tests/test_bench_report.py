"""The tables of the bench, from canned measurements of every section, net and library."""

from __future__ import annotations

from typing import Any

import pytest
from cmlp.bench import inference, kernels, limits, mixed, nets, report, rounds, threads, train

SIDE = {"alone": 0.001234, "by_turns": 0.00235}
VARIANTS = {
    "numpy": ("NumPy",),
    "cmlp": ("cmlp fit", "cmlp train_step"),
    "sklearn": ("scikit-learn",),
    "torch": ("PyTorch", "torch.compile"),
    "jax": ("JAX jit", "JAX scan"),
}
SECTIONS = ("train", "inference", "kernels", "epoch", "small sets")


class CannedWorker:
    """Answers as the worker of a library does, at once and always the same."""

    version = "12.34.5"
    idle = 0.0123

    def __init__(self, library: str) -> None:
        self.library = library
        self.variants = [(s, v) for s in SECTIONS for v in VARIANTS[library]]

    def ask(self, **job: Any) -> dict[str, Any]:
        return {"check": [1.0], "seconds": 0.123456}

    def call(self, function: str, **spec: Any) -> Any:
        return {"by_turns": {"cmlp": SIDE, "numpy": SIDE}}.get(function, 123.456)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What `run` returns after all sections."""
    workers: Any = {library: CannedWorker(library) for library in VARIANTS}
    effort = rounds.Effort(2, 0.1)
    session = rounds.Session(workers, "float32", 16, False, effort)
    trained = train.measure(session, nets.NETS)
    rows = trained[0]["rows"]
    sets = [{"set": "breast_cancer", "rows": rows, "best_peer": None, "times_faster": None}]
    return {
        "machine": {
            "processor": "A Processor (R) with a Long Name @ 2.80GHz", "architecture": "x86_64",
            "processors_available": 16, "caches": {f"L{i}": "32768K" for i in range(4)},
            "system": "Linux-6.1.0-35-cloud-amd64-x86_64-with-glibc2.36",
            "python": "3.11.7", "load_average": 1.0,
        },
        "settings": {"threads": 16, "dtype": "float32"},
        "cmlp": {"isa": "reference"},
        "libraries": {library: worker.version for library, worker in workers.items()},
        "missing": {"fann": "not installed " * 10},
        "skipped": ["torch.compile"],
        "idle": {library: worker.idle for library, worker in workers.items()},
        "limits": limits.measure(workers, "float32", 16, effort),
        "train": trained,
        "inference": inference.measure(session, nets.NETS),
        "kernels": kernels.measure(session),
        "threads": threads.measure(session),
        "mixed": mixed.measure(session),
        "end_to_end": {
            "epoch": {"data": "MNIST", "rows_of_data": 60_000, **trained[0]},
            "small_sets": sets,
            "imports": {"sklearn.neural_network": 0.456, "jax": None},
            "installed": {"scikit-learn": 123456789, "cmlp": None},
            "memory": [{"variant": "cmlp train_step", "imported": 1e8, "peak": 1e9}],
        },
    }  # fmt: skip


def test_tables_fit_80_columns(
    results: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    report.show(report.tables(results))
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if len(line) > 80] == []
    assert "\n8-64-64-4, tanh " in printed and "\n4096-4096-4096-10 " in printed


@pytest.mark.parametrize("width", [30, 60, 80, 120, 1000])
def test_nothing_is_cut_off(results: dict[str, Any], width: int) -> None:
    for table in report.tables(results):
        lines = report.plain(table, width).splitlines()
        for row in table.rows:
            key = next(line for line in lines if line.startswith(row[0]))
            assert row[0] and key[len(row[0]) :][:1] in ("", " ")
        words = " ".join(lines).split()
        for cell in (cell for line in (table.header, *table.rows) for cell in line):
            assert width < 80 or all(word in words for word in cell.split())


def test_every_block_has_the_keys(results: dict[str, Any]) -> None:
    tables = {table.title: table for table in report.tables(results)}
    table = tables["Training step, microseconds"]
    parts = report.plain(table, 80).split("\n\n")
    assert len(parts) > 1
    for part in parts:
        for net in nets.NETS:
            assert f"\n{net.title} " in part
    for title, table in tables.items():
        assert all(len(row) == len(table.header) for row in table.rows), title


def test_a_table_that_fits_is_one_block() -> None:
    table = report.Table("Title", ["name", "time of it", "who"], [["a b", "1", "x"]], ["note"])
    assert report.plain(table).splitlines() == [
        "Title", "=====",
        "      time",
        "        of",
        "name    it  who",
        "a b      1  x",
        "  note",
    ]  # fmt: skip
