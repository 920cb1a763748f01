"""The bench: equal results, sound statistics, files that can be read.  Never a time."""

from __future__ import annotations

import json
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cmlp.bench import end_to_end, inference, mixed, nets, report, roofline, rounds, train, worker
from cmlp.bench.__main__ import disagreements, main, parser, start_workers
from cmlp.bench.peers import plain_numpy, turns

TINY = ["--rounds", "2", "--seconds", "0.001", "--threads", "1"]


def run(out: Path, *options: str) -> dict[str, Any]:
    """Results of a small run."""
    assert main([*TINY, *options, "--out", str(out)]) == 0
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of cmlp and NumPy over small nets."""
    out = tmp_path_factory.mktemp("bench")
    sections = ("--sections", "limits,train,inference")
    chosen = ("--peers", "numpy,cmlp", "--nets", "2-4-1,8-64-64-4")
    return {**run(out, *sections, *chosen), "out": out}


def numerical_gradient(
    task: plain_numpy.Train, x: Any, t: Any, w: Any, at: tuple[int, int]
) -> float:
    """Central difference of the loss in one weight."""
    eps, losses = 1e-6, []
    for sign in (1, -1):
        kept = w[at]
        w[at] = kept + sign * eps
        losses.append(loss_only(task, x, t))
        w[at] = kept
    return (losses[0] - losses[1]) / (2 * eps)


def loss_only(task: plain_numpy.Train, x: Any, t: Any) -> float:
    """Loss without an update."""
    kept = [p.copy() for p in task.parameters]
    states = [(m.copy(), v.copy()) for m, v in task.states]
    loss, steps = task.step(x, t), task.steps
    for p, k in zip(task.parameters, kept, strict=True):
        p[...] = k
    task.states, task.steps = states, steps - 1
    return loss


@pytest.mark.parametrize("loss", ["softmax", "binary", "squared"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_numpy_peer_has_right_gradients(loss: str, activation: str) -> None:
    net = nets.Net((3, 5, 4, 1 if loss == "binary" else 3), 6, activation, loss, batches=1)
    task = plain_numpy.Train(net, "float64", 1)
    [(x, t)] = net.minibatches("float64")
    expected = {
        (layer, at): numerical_gradient(task, x, t, w, at)
        for layer, w in enumerate(task.w)
        for at in [(0, 0), (2, w.shape[1] - 1)]
    }
    task.step(x, t)
    for (layer, at), value in expected.items():
        assert task.gradients[layer][at] == pytest.approx(value, rel=1e-5, abs=1e-8)


def test_flops_of_a_step() -> None:
    net = nets.Net((3, 5, 2), 7)
    # forward 2*7*(15+10), dw the same, dx of the second layer alone
    assert net.step_flops == 2 * 7 * 25 + 2 * 7 * 25 + 2 * 7 * 10
    assert net.forward_flops(4) == 2 * 4 * 25


def test_names_of_nets_are_unique_and_found() -> None:
    assert len({net.name for net in nets.NETS}) == len(nets.NETS)
    assert all(nets.find(net.name) is net for net in nets.NETS)
    with pytest.raises(ValueError, match="'1-2-3'"):
        nets.find("1-2-3")


def test_minibatches_are_the_data_in_order() -> None:
    net = nets.Net((3, 2), 4, batches=3)
    x, t = net.data("float32")
    parts = net.minibatches("float32")
    np.testing.assert_array_equal(np.concatenate([p for p, _ in parts]), x)
    np.testing.assert_array_equal(np.concatenate([p for _, p in parts]), t)


@pytest.mark.parametrize(
    ("values", "agreed"),
    [([1.0, 2.0], True), ([1.0, 2.1], False), ([1.0], False), ([1.0, float("nan")], False)],
)
def test_agree(values: list[float], agreed: bool) -> None:
    assert rounds.agree(values, [1.0, 2.0], 1e-3) is agreed


def test_quartiles() -> None:
    assert rounds.quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert rounds.quartiles([5.0, 1.0, 2.0, 4.0, 3.0]) == (2.0, 3.0, 4.0)


def test_against_best_takes_the_fastest_of_both_sides() -> None:
    rows = [
        {"variant": "cmlp fit", "seconds": 1.0},
        {"variant": "cmlp train_step", "seconds": 1.5},
        {"variant": "A", "seconds": 4.0},
        {"variant": "B", "seconds": 3.0},
        {"variant": "C", "problem": "missing"},
    ]
    found = train.against_best(rows, train.OURS)
    assert found == {"best_peer": "B", "times_faster": 3.0}
    assert train.against_best(rows[2:], train.OURS) == {"best_peer": "B", "times_faster": None}
    assert train.against_best(rows[:2], train.OURS)["best_peer"] is None


class Counting:
    """A task that counts its runs."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def check(self) -> list[float]:
        return []

    def run(self, n: int) -> None:
        self.runs.append(n)


def test_timer_divides_by_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Counting()
    # a clock by which every run takes a millisecond
    monkeypatch.setattr(worker.time, "perf_counter", lambda: sum(task.runs) * 1e-3)
    assert worker.Timer(task).measure(0.05) == pytest.approx(1e-3)
    assert task.runs[-1] == 50


def test_a_wrong_result_is_not_timed_but_reported() -> None:
    with rounds.Worker("numpy", 1) as numpy:
        shapes = ([2, 3, 4], [2, 3, 5])
        entries = [
            rounds.Entry(numpy, "kernels", "NumPy", {
                "op": "dense_forward", "shape": s, "activation": "relu",
                "dtype": "float32", "threads": 1,
            })
            for s in shapes
        ]  # fmt: skip
        good, bad = rounds.compare(entries, rounds.Effort(1, 1e-4), 1e-4)
    assert "problem" not in good and good["rounds"] == 1
    assert bad["problem"].startswith("disagrees") and "seconds" not in bad
    assert disagreements({"kernels": [{"rows": [good, bad]}]}) == [f"NumPy: {bad['problem']}"]


@pytest.mark.parametrize(
    "library",
    [
        "sklearn",
        pytest.param("torch", marks=pytest.mark.slow),
        pytest.param("jax", marks=pytest.mark.slow),
    ],
)
def test_peers_do_the_same_work_as_numpy(library: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    with rounds.Worker("numpy", 1) as numpy, rounds.Worker(library, 1) as peer:
        workers = {"numpy": numpy, library: peer}
        session = rounds.Session(workers, "float32", 1, True, rounds.Effort(1, 1e-4))
        for name in ("2-4-1", "64-64-64-10"):
            item = train.measure_net(session, nets.find(name))
            assert len(item["rows"]) > 1
            assert [row for row in item["rows"] if "problem" in row] == []
            item = inference.measure_net(session, nets.find(name), 3)
            assert [row for row in item["rows"] if "problem" in row] == []


def test_failures_of_a_worker_are_told() -> None:
    with rounds.Worker("numpy", 1) as numpy:
        with pytest.raises(rounds.WorkerError, match="KeyError"):
            numpy.ask(do="time", key="none", seconds=0.1)
        assert numpy.call("copy_bandwidth", threads=1, seconds=0.0, megabytes=1) > 0


def test_a_worker_that_ends_does_not_end_the_run() -> None:
    spec = {"net": "2-4-1", "dtype": "float32", "threads": 1}
    with rounds.Worker("numpy", 1) as numpy, rounds.Worker("numpy", 1) as other:
        entries = [rounds.Entry(w, "train", "NumPy", dict(spec)) for w in (numpy, other)]
        other._process.kill()
        good, bad = rounds.compare(entries, rounds.Effort(1, 1e-4), 1e-4)
    assert good["rounds"] == 1
    assert "ended with" in bad["problem"]


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hidden = tmp_path / "jax.py"
    hidden.write_text("raise ImportError('no jax here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ExitStack() as stack:
        workers, missing = start_workers(stack, ["numpy", "jax"], 1, None)
    assert list(workers) == ["numpy"]
    assert "no jax here" in missing["jax"]


@pytest.mark.parametrize(
    "options", [["--nets", "1-1"], ["--peers", "fann"], ["--threads", "0"], ["--sections", ""]]
)
def test_wrong_options_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(options)
    assert caught.value.code == 2
    assert repr(options[1]) in capsys.readouterr().err


def test_isa_that_does_not_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*TINY, "--peers", "cmlp", "--isa", "mmx", "--out", str(tmp_path)])
    assert "isa: got 'mmx'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_libraries_agree(results: dict[str, Any]) -> None:
    for section in ("train", "inference"):
        for item in results[section]:
            assert [row["variant"] for row in item["rows"] if "problem" in row] == []
            variants = {row["variant"] for row in item["rows"]}
            assert "NumPy" in variants and len(variants) == 3
            assert item["best_peer"] == "NumPy" and item["times_faster"] > 0


def test_results_have_every_fact(results: dict[str, Any]) -> None:
    assert {"processor", "caches", "memory_gib", "python"} <= results["machine"].keys()
    assert results["settings"] == {
        "threads": 1, "dtype": "float32", "rounds": 2, "seconds_of_a_turn": 0.001, "quick": False,
    }  # fmt: skip
    assert {"numpy", "cmlp"} == results["libraries"].keys() == results["idle"].keys()
    assert results["cmlp"]["isa"]
    assert results["limits"]["fma_gflops"]["1"] > 0 and results["limits"]["copy_gbs"]["1"] > 0
    for item in results["train"]:
        assert item["peak_gflops"] > 0
        for row in item["rows"]:
            low, high = row["quartiles"]
            assert low <= row["seconds"] <= high and row["rounds"] == 2
            assert row["gflops"] == pytest.approx(item["flops"] / row["seconds"] / 1e9)
            assert row["share"] == pytest.approx(row["gflops"] / item["peak_gflops"])


def test_tables_name_every_net_and_variant(results: dict[str, Any]) -> None:
    text = (results["out"] / "tables.md").read_text()
    for word in ("2-4-1", "8-64-64-4, tanh", "NumPy", "cmlp fit", "cmlp train_step", "cmlp out="):
        assert word in text
    for table in report.tables(results):
        assert all(len(row) == len(table.header) for row in table.rows)
        assert table.title in report.plain(table)


def test_picture_is_drawn(results: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert (results["out"] / "roofline.png").read_bytes().startswith(b"\x89PNG")
    assert not roofline.draw({"limits": results["limits"]}, tmp_path / "none.png")


def test_kernels_and_threads(tmp_path: Path) -> None:
    sections = ("--quick", "--peers", "numpy,cmlp", "--sections", "kernels,threads")
    results = run(tmp_path, *sections)
    assert {item["op"] for item in results["kernels"]} == {
        "dense_forward", "dense_backward_dx", "dense_backward_dw",
        "activation_forward", "activation_backward", "softmax_delta",
    }  # fmt: skip
    assert all("problem" not in row for item in results["kernels"] for row in item["rows"])
    assert all(item["problems"] == [] for item in results["threads"])


def test_turns_with_numpy(tmp_path: Path) -> None:
    results = run(tmp_path, "--quick", "--peers", "cmlp", "--sections", "mixed")
    [case] = results["mixed"]
    for side in mixed.SIDES:
        assert case[side]["alone"] > 0
        assert case[side]["by_turns"] > 0 and case[side]["ratio"] > 0
    assert "| 128 wide, 128" in (tmp_path / "tables.md").read_text(encoding="utf-8")


def test_estimators_are_timed_at_equal_epochs() -> None:
    pytest.importorskip("sklearn")
    with ExitStack() as stack:
        workers, missing = start_workers(stack, ["cmlp", "sklearn"], 1, None)
        assert not missing
        session = rounds.Session(workers, "float64", 1, True, rounds.Effort(2, 0.001))
        [iris] = end_to_end.measure_small_sets(session)
        assert [row["variant"] for row in iris["rows"]] == ["cmlp", "scikit-learn"]
        assert all("problem" not in row for row in iris["rows"])
        assert iris["times_faster"] > 0
        spec = {"name": "iris", "hidden": [4], "epochs": 5000, "dtype": "float64", "threads": 1}
        job = {"section": "small sets", "variant": "cmlp", "spec": spec}
        with pytest.raises(rounds.WorkerError, match="fit stopped after"):
            workers["cmlp"].ask(do="open", key="0", **job)


def test_every_call_is_timed_as_often() -> None:
    calls: list[str] = []
    found = turns.means({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 0.0)
    assert calls == ["a", "b"] * 4  # the first of each is not timed
    assert all(seconds > 0 for seconds in found.values())
