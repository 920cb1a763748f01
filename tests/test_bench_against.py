"""Two versions of cmlp by turns: what is compared, what is timed again, what is called slower."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cmlp.bench import against, nets, report, rounds
from cmlp.bench.__main__ import main

TINY = ["--rounds", "2", "--seconds", "0.001", "--threads", "1"]


class CannedWorker:
    """Answers as cmlp's worker does; a run of a row takes `seconds(row)`."""

    idle = 0.01

    def __init__(self, seconds: Callable[[str], float], check: float = 1.0) -> None:
        self.variants = [("kernels", "cmlp"), ("train", "cmlp fit")]
        self.seconds, self.check = seconds, check
        self.open: dict[str, str] = {}
        self.jobs: list[str] = []

    def ask(self, do: str, key: str = "", **job: Any) -> dict[str, Any]:
        if do == "open":
            self.open[key] = job["spec"].get("op") or job["spec"]["net"]
            return {"check": [self.check]}
        if do == "time":
            self.jobs.append(self.open[key])
            return {"seconds": self.seconds(self.open[key])}
        return {}

    def call(self, function: str) -> dict[str, Any]:
        return {"version": "1.2", "isa": "avx2", "isas": ["avx2", "reference"]}


def comparison(**changes: Any) -> against.Comparison:
    options: dict[str, Any] = {
        "old": Path("python"), "nets": nets.NETS[:1], "sections": ("train", "kernels"),
        "dtype": "float32", "threads": 2, "isa": None, "quick": True,
        "effort": rounds.Effort(4, 0.01), **changes,
    }  # fmt: skip
    return against.Comparison(**options)


def measure(
    monkeypatch: pytest.MonkeyPatch, old: CannedWorker, new: CannedWorker, **changes: Any
) -> dict[str, Any]:
    monkeypatch.setattr(against.Comparison, "start", lambda self, stack: (old, new))
    return comparison(**changes).measure()


def notes(found: dict[str, Any]) -> str:
    """What stands below the tables."""
    return "\n".join(report.against_tables({"against": found})[-1].notes)


@pytest.mark.parametrize(
    ("n", "ends"), [(1, (0, 0)), (5, (0, 4)), (6, (0, 5)), (8, (0, 7)), (9, (1, 7)), (16, (3, 12))]
)
def test_interval_of_the_median(n: int, ends: tuple[int, int]) -> None:
    # the tables of the sign test: for 9 values the second and the eighth, for 16 the 4th and 13th
    assert against.interval(list(reversed(range(n)))) == ends


def test_slower_rows_are_found_and_timed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    old = CannedWorker(lambda op: 1.0)
    new = CannedWorker(lambda op: {"dense_forward": 1.1, "softmax_delta": 1.031}.get(op, 0.9))
    found = measure(monkeypatch, old, new, sections=("kernels",))
    slow = {row["op"] for row in found["rows"] if row["slower"]}
    assert slow == {"dense_forward", "softmax_delta"}
    for row in found["rows"]:
        pairs = against.PAIRS + (against.MORE_PAIRS if row["op"] in slow else 0)
        assert row["rounds"] == 4 * pairs
        assert row["old"] == 1.0 and row["ratio"] == row["new"] == row["ratio_of_bests"]
        assert row["interval"] == [row["ratio"]] * 2


def test_a_steps_time_is_that_of_one_minibatch(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = CannedWorker(lambda net: 8.0), CannedWorker(lambda net: 4.0)
    [row] = measure(monkeypatch, old, new, sections=("train",))["rows"]
    assert row["old"] == 8.0 / nets.NETS[0].batches and row["ratio"] == 0.5


def test_one_slow_round_in_nine_is_not_a_slower_row(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0] * 8 + [7.0] + [1.0] * 100)
    old, new = CannedWorker(lambda net: 1.0), CannedWorker(lambda net: next(times))
    [row] = measure(monkeypatch, old, new, sections=("train",), effort=rounds.Effort(9, 0.01))[
        "rows"
    ]
    assert row["ratio"] == 1.0 and not row["slower"]
    assert row["interval"] == [1.0, 1.0]


def test_versions_take_turns_in_changing_order(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    old = CannedWorker(lambda net: order.append("old") or 1.0)  # type: ignore[func-returns-value]
    new = CannedWorker(lambda net: order.append("new") or 1.0)  # type: ignore[func-returns-value]
    measure(monkeypatch, old, new, sections=("train",))
    assert order == ["old", "new", "new", "old"] * 2 * against.PAIRS


def test_other_results_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = CannedWorker(lambda op: 1.0), CannedWorker(lambda op: 0.5, check=1.001)
    found = measure(monkeypatch, old, new)
    assert all(row["problem"].startswith("new: disagrees") for row in found["rows"])
    assert new.jobs == []
    assert "not timed: 2-4-1 fit: new: disagrees" in notes(found)


def test_other_bits_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = CannedWorker(lambda op: 1.0), CannedWorker(lambda op: 1.0, check=1.00001)
    found = measure(monkeypatch, old, new)
    assert not any(row["same_bits"] for row in found["rows"])
    assert "0 with the same bits" in notes(found)


def test_an_instruction_set_that_one_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = CannedWorker(lambda op: 1.0)
    with pytest.raises(ValueError, match="isa: got 'avx512', old has avx2, reference"):
        measure(monkeypatch, worker, worker, isa="avx512")


def test_against_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(against, "LIMIT", 1e9)  # times are not tested
    options = ["--quick", "--nets", "2-4-1", "--against", sys.executable, "--out", str(tmp_path)]
    assert main([*TINY, *options]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    rows = results["against"]["rows"]
    assert {row["section"] for row in rows} == set(against.SECTIONS)
    for row in rows:
        assert row["same_bits"] and row["rounds"] == 2 * against.PAIRS
        assert row["old"] > 0 and row["new"] > 0
    text = (tmp_path / "tables.md").read_text()
    assert "New against old: inference" in text and sys.executable in text


def test_exit_status_tells_that_something_is_slower(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old, new = CannedWorker(lambda op: 1.0), CannedWorker(lambda op: 1.04)
    monkeypatch.setattr(against.Comparison, "start", lambda self, stack: (old, new))
    options = ["--sections", "kernels", "--against", sys.executable, "--out", str(tmp_path)]
    assert main([*TINY, *options]) == 1
    assert "| ! 1.040 |" in (tmp_path / "tables.md").read_text()


def test_the_python_of_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="against: no Python at"):
        against.python_of(tmp_path)
    python = against.python_of(Path(sys.executable))
    assert python.samefile(sys.executable)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--against", sys.executable, "--peers", "numpy"], "peers: got 'numpy'"),
        (["--against", sys.executable, "--sections", "train,limits"], "sections: got 'limits'"),
        (["--against", "no/such/python"], "against: no Python at"),
        (["--against", __file__], "cmlp does not start"),
    ],
)
def test_wrong_options_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*TINY, *options, "--out", str(tmp_path)])
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for Python")
def test_a_python_without_cmlp(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"No module named 'cmlp'\" >&2\nexit 1\n")
    python.chmod(0o755)
    with ExitStack() as stack, pytest.raises(ValueError, match="against: .*No module named 'cmlp'"):
        comparison(old=python).start(stack)
