"""The command line: tables, files, errors and exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import cmlp
from cmlp.cli import build, model, output
from cmlp.cli.app import app
from cmlp.errors import FormatError
from cmlp.training import ProgressBar

SMALL = ["--layers", "8", "--epochs", "3", "--no-picture"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder: (exit code, all output)."""
    monkeypatch.chdir(tmp_path)

    def call(*args):
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        return result.exit_code, result.output

    return call


@pytest.fixture
def labelled(tmp_path, rng):
    """A CSV file of 200 rows: three inputs of very different scales, labels of text."""
    x = rng.normal(size=(200, 3)) * [1, 100, 1e4] + [5, 0, -1e5]
    labels = np.where(x[:, 1] > 0, "yes", "no")
    path = tmp_path / "answers.csv"
    rows = [",".join([*map(str, row), label]) for row, label in zip(x, labels, strict=True)]
    path.write_text("\n".join(["a,b,c,answer", *rows]) + "\n")
    return path


@pytest.fixture
def priced(tmp_path, rng):
    """A CSV file of 200 rows: large targets in the first column, and two inputs."""
    x = rng.normal(size=(200, 2))
    price = 2e5 + 5000 * x[:, 0] - 3000 * x[:, 1] + 0.5
    path = tmp_path / "prices.csv"
    rows = [f"{p},{a},{b}" for p, (a, b) in zip(price, x, strict=True)]
    path.write_text("\n".join(["price,a,b", *rows]) + "\n")
    return path


def table(text):
    """The lines "name: value" of an output."""
    return dict(line.split(": ", 1) for line in text.splitlines())


# ---- train -----------------------------------------------------------------------------------


def test_train_without_arguments_learns_the_digits_and_draws_them(run, tmp_path):
    code, text = run("train")
    rows = table(text)
    assert code == 0
    assert float(rows["test accuracy"].removesuffix(" %")) >= 97
    assert rows["epochs"] == "60"
    assert float(rows["seconds"]) > 0
    assert int(rows["samples per second"]) > 0
    assert int(rows["threads"]) == cmlp.info()["threads"]
    assert rows["instruction set"] == cmlp.info()["isa"]
    assert rows["model"] == "digits.safetensors"
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    net = cmlp.load(tmp_path / "digits.safetensors")
    assert net.metadata["image_shape"] == [8, 8]
    assert net.classes.tolist() == list(range(10))


def test_the_same_seed_gives_the_same_model(run, tmp_path):
    for name in ("first", "second"):
        assert run("train", *SMALL, "--seed", 7, "--out", name)[0] == 0
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_evaluate_gives_the_accuracy_that_training_gave(run):
    trained = table(run("train", "circle", *SMALL)[1])
    code, text = run("evaluate", "circle.safetensors", "circle")
    assert code == 0
    assert table(text) == {"accuracy": trained["test accuracy"], "samples": "250"}
    assert (
        table(run("evaluate", "circle.safetensors", "circle", "--part", "all")[1])["samples"]
        == "500"
    )


def test_a_table_is_standardised_by_its_training_part(run, labelled):
    code, text = run("train", labelled, "--lr", 0.02, "--layers", 16, "--no-picture")
    assert code == 0
    assert float(table(text)["test accuracy"].removesuffix(" %")) >= 90
    net = cmlp.load("answers.safetensors")
    data = cmlp.datasets.load(labelled)
    rest = cmlp.datasets.Dataset("rest", *data.split()[:2], data.classes)
    learnt = rest.split(0.1, seed=1).x_train  # without the validation part
    inputs = net.preprocessing.inputs
    np.testing.assert_allclose(inputs.mean, learnt.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(inputs.scale, learnt.std(axis=0), rtol=1e-5)
    assert net.preprocessing.feature_names == ("a", "b", "c")
    held_out = run("evaluate", "answers.safetensors", labelled, "--part", "test")[1]
    assert table(held_out)["accuracy"] == table(text)["test accuracy"]
    assert table(run("evaluate", "answers.safetensors", labelled)[1])["samples"] == "200"


def test_inputs_can_be_left_as_they_are(run, labelled):
    assert run("train", labelled, *SMALL, "--no-standardize")[0] == 0
    assert cmlp.load("answers.safetensors").preprocessing.inputs is None


def test_regression_is_in_the_units_of_the_target(run, priced):
    code, text = run(
        "train", priced, "--target", "price", "--epochs", 100, "--layers", "none", "--lr", 0.01
    )
    rows = table(text)
    assert code == 0
    assert float(rows["test r2"]) > 0.99
    assert os.path.getsize("prices.png") > 0
    predicted = run("predict", "prices.safetensors", priced)[1].splitlines()
    assert predicted[0] == "prediction"
    assert 1.8e5 < np.mean(np.array(predicted[1:], dtype=float)) < 2.2e5
    assert float(table(run("evaluate", "prices.safetensors", priced)[1])["r2"]) > 0.99


@pytest.mark.parametrize(
    ("data", "loss", "n_out"),
    [
        ("digits", "softmax", 10),
        ("digits", "binary", 10),
        ("circle", "binary", 1),
        ("circle", "squared", 2),
        ("plane", "huber", 1),
    ],
)
def test_losses(run, data, loss, n_out):
    assert run("train", data, *SMALL, "--loss", loss)[0] == 0
    assert cmlp.load(f"{data}.safetensors").n_out == n_out
    assert run("evaluate", f"{data}.safetensors", data)[0] == 0


@pytest.mark.parametrize("name", ["prelu", "rrelu", "leaky_relu"])
def test_activations_and_dropout(run, name):
    options = ["--activation", name, "--dropout", 0.2, "--layers", "6,5"]
    assert run("train", "xor", *SMALL, *options)[0] == 0
    net = cmlp.load("xor.safetensors")
    assert [layer.n_out for layer in net.layers if isinstance(layer, cmlp.Dense)] == [6, 5, 2]
    assert sum(isinstance(layer, cmlp.Dropout) for layer in net.layers) == 2


def test_early_stopping_ends_training(run):
    text = run("train", "circle", "--epochs", 500, "--early-stopping", 2, "--no-picture")[1]
    assert int(table(text)["epochs"]) < 500


def test_works_without_matplotlib(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, text = run("train", "--layers", 8, "--epochs", 2)
    assert code == 0
    assert "pip install cmlp[plots]" in text
    assert not (tmp_path / "digits.png").exists()
    assert (tmp_path / "digits.safetensors").exists()


def test_a_folder_of_idx_files(run, tmp_path, rng):
    folder = tmp_path / "shapes"
    folder.mkdir()
    for part, n in (("train", 80), ("t10k", 20)):
        labels = (np.arange(n) % 2).astype(np.uint8)
        images = rng.integers(0, 60, (n, 2, 3)).astype(np.uint8) + 150 * labels[:, None, None]
        header = b"\0\0\x08\x01" + n.to_bytes(4, "big")
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
        sizes = b"".join(size.to_bytes(4, "big") for size in images.shape)
        header = b"\0\0\x08\x03" + sizes
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.astype("u1").tobytes())
    code, text = run("train", folder, "--epochs", 30, "--no-picture")
    assert code == 0
    assert table(text)["test accuracy"] == "100.00 %"
    assert table(run("evaluate", "shapes.safetensors", folder)[1])["samples"] == "20"


def test_counts_are_predicted_as_rates(run, tmp_path, rng):
    x = rng.uniform(0, 1, (300, 1))
    np.savez(tmp_path / "visits.npz", x=x, y=rng.poisson(np.exp(1 + 2 * x)).astype(float))
    options = ["--loss", "poisson", "--task", "regression", "--layers", "none", "--lr", 0.05]
    assert run("train", "visits.npz", *options, "--no-picture")[0] == 0
    np.savez(tmp_path / "ends.npz", x=np.array([[0.0], [1.0]]))
    low, high = run("predict", "visits.safetensors", "ends.npz")[1].splitlines()[1:]
    assert float(low) == pytest.approx(np.exp(1), rel=0.2)
    assert float(high) == pytest.approx(np.exp(3), rel=0.2)


def test_a_terminal_gets_a_table(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    output.show("title", {"test accuracy": "98.00 %"})
    text = capsys.readouterr().out
    assert "title" in text
    assert "98.00 %" in text
    assert "test accuracy: " not in text


# ---- checkpoints -----------------------------------------------------------------------------


def interrupt_after(monkeypatch, epochs):
    def on_epoch_end(self, trainer, row):
        if row["epoch"] == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "on_epoch_end", on_epoch_end)


def test_ctrl_c_saves_a_checkpoint_that_goes_on_exactly(run, monkeypatch):
    options = [*SMALL, "--epochs", 12, "--schedule", "cosine", "--early-stopping", 100]
    assert run("train", *options, "--out", "whole")[0] == 0
    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)
        code, text = run("train", *options)
    assert code == 130
    assert "cmlp train --resume digits.checkpoint.safetensors" in text
    code, text = run("train", "--resume", "digits.checkpoint.safetensors", "--no-picture")
    assert code == 0
    assert table(text)["epochs"] == "12"
    whole, resumed = cmlp.load("whole"), cmlp.load("digits.safetensors")
    np.testing.assert_array_equal(resumed.get_flat(), whole.get_flat())


def test_training_can_be_prolonged(run, labelled):
    saved = ["--checkpoint", "c", "--checkpoint-every", 1]
    assert run("train", labelled, *SMALL, *saved)[0] == 0
    code, text = run("train", "--resume", "c", "--epochs", 6, "--no-picture")
    assert code == 0
    assert table(text)["epochs"] == "6"
    assert run("train", labelled, *SMALL, "--epochs", 6, "--out", "whole")[0] == 0
    resumed = cmlp.load("answers.safetensors")
    np.testing.assert_array_equal(resumed.get_flat(), cmlp.load("whole").get_flat())
    assert resumed.metadata == cmlp.load("whole").metadata


def test_resume_takes_no_other_settings(run):
    run("train", *SMALL, "--checkpoint", "c")
    code, text = run("train", "--resume", "c", "--lr", 1)
    assert code == 2
    assert "--lr" in text
    assert run("train", "--resume", "digits.safetensors")[0] == 2


def test_a_checkpoint_can_be_evaluated(run):
    run("train", "circle", *SMALL, "--checkpoint", "c")
    assert run("evaluate", "c", "circle")[0] == 0


# ---- predict ---------------------------------------------------------------------------------


def test_predictions_are_labels_with_probabilities(run, labelled, tmp_path):
    run("train", labelled, "--lr", 0.02, "--layers", 16, "--no-picture")
    inputs = tmp_path / "inputs.csv"
    lines = [line.rpartition(",")[0] for line in labelled.read_text().splitlines()]
    inputs.write_text("\n".join(lines) + "\n")
    code, text = run("predict", "answers.safetensors", inputs, "--proba", "--out", "out.csv")
    assert (code, text) == (0, "")
    header, *rows = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "prediction,p(no),p(yes)"
    assert len(rows) == 200
    cells = [row.split(",") for row in rows]
    p = np.array([cell[1:] for cell in cells], dtype=float)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    labels = np.array([cell[0] for cell in cells])
    np.testing.assert_array_equal(labels, np.where(p[:, 1] > p[:, 0], "yes", "no"))
    true = np.array([line.rpartition(",")[2] for line in labelled.read_text().splitlines()[1:]])
    assert np.mean(labels == true) > 0.9


def test_predict_one_output_agrees_with_evaluate(run):
    run("train", "circle", "--loss", "binary", "--epochs", 30, "--layers", 8, "--no-picture")
    rows = run("predict", "circle.safetensors", "circle", "--proba")[1].splitlines()[1:]
    labels, p0, p1 = np.array([row.split(",") for row in rows], dtype=float).T
    np.testing.assert_array_equal(labels, p1 > p0)
    accuracy = 100 * np.mean(labels == cmlp.datasets.load("circle").y)
    text = run("evaluate", "circle.safetensors", "circle", "--part", "all")[1]
    assert table(text)["accuracy"] == f"{accuracy:.2f} %"


def test_a_model_made_in_python_is_used_as_it_is(run, tmp_path):
    x, labels = np.array([[0.0, 0.0], [0.0, 1.0]]), np.array(["off", "on"])
    net = cmlp.Sequential(cmlp.Dense(2, 2), seed=0)
    cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(lr=5.0)).fit(x, labels, epochs=50)
    net.save(tmp_path / "switch.safetensors")
    np.savez(tmp_path / "x.npz", x=x)
    assert run("predict", "switch.safetensors", "x.npz") == (0, "prediction\noff\non\n")


# ---- playground-run, info, bench -------------------------------------------------------------


def test_playground_run_draws_an_experiment(run, tmp_path):
    code, text = run("playground-run", "gauss", "--epochs", 20, "--features", "x1,x2,x1x2")
    rows = table(text)
    assert code == 0
    assert float(rows["test accuracy"].removesuffix(" %")) > 95
    assert rows["picture"] == "gauss.png"
    assert (tmp_path / "gauss.png").stat().st_size > 10_000


def test_playground_run_makes_a_film(run, tmp_path):
    options = ["--epochs", 10, "--frames", 1, "--layers", "2", "--out", "plane.gif"]
    assert run("playground-run", "plane", *options)[0] == 0
    from PIL import Image

    with Image.open(tmp_path / "plane.gif") as film:
        assert film.n_frames == 2  # one of them before training


def test_info(run):
    code, text = run("info")
    assert code == 0
    assert table(text)["isa"] == cmlp.info()["isa"]


def test_bench_says_what_is_missing(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "cmlp.bench.__main__", None)
    code, text = run("bench", "--quick")
    assert code == 2
    assert "pip install cmlp[bench]" in text


def test_help_of_every_command(run):
    code, text = run()
    assert code == 0
    for name in ("train", "evaluate", "predict", "playground-run", "info", "bench"):
        assert name in text
        if name != "bench":  # which has its own parser
            assert run(name, "--help")[0] == 0


# ---- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["train", "nowhere"], "nowhere"),
        (["train", "broken.csv"], "line 3"),
        (["train", "digits", "--target", "x"], "target"),
        (["train", "--layers", "3,x"], "--layers"),
        (["train", "--layers", "0"], "--layers"),
        (["train", "--activation", "step"], "--activation"),
        (["train", "--loss", "poisson"], "--loss"),
        (["train", "plane", "--loss", "softmax"], "--loss"),
        (["train", "--lr", "0"], "--lr"),
        (["train", "--lr", "nan"], "lr"),
        (["train", "--momentum", "0.5"], "--momentum"),
        (["train", "--dropout", "1"], "--dropout"),
        (["train", "--schedule", "staircase"], "--schedule"),
        (["train", "--schedule", "step:2:1"], "factor"),
        (["train", "--schedule", "cosine:1"], "--schedule"),
        (["train", "--schedule", "plateau", "--validation", "0"], "validation"),
        (["train", "--epochs", "0"], "--epochs"),
        (["train", "--validation", "1"], "--validation"),
        (["train", "--threads", "0"], "--threads"),
        (["train", "--seed", str(2**64)], "seed"),
        (["train", "--checkpoint", "c", "--checkpoint-every", "often"], "often"),
        (["train", "--out", "no/such/folder"], "--out"),
        (["train", "--picture", "digits.txt"], "--picture"),
        (["train", "--picture", "."], "--picture"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["evaluate", "nowhere", "digits"], "nowhere"),
        (["evaluate", "broken.csv", "digits"], "broken.csv"),
        (["evaluate", "xor.safetensors", "digits"], "64 inputs"),
        (["evaluate", "xor.safetensors", "plane"], "numbers"),
        (["evaluate", "xor.safetensors", "abc.csv"], "label 'a'"),
        (["predict", "plane.safetensors", "plane", "--proba"], "--proba"),
        (["train", "--features", "a,,b"], "--features"),
        (["predict", "xor.safetensors", "digits"], "64 inputs"),
        (["predict", "xor.safetensors"], "DATA"),
        (["playground-run", "moon"], "moon"),
        (["playground-run", "--features", "x3"], "x3"),
        (["playground-run", "--noise", "2"], "--noise"),
        (["fly"], "fly"),
        (["--fly"], "--fly"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(run, tmp_path, args, word):
    (tmp_path / "broken.csv").write_text("a,b,y\n1,2,3\n4,oops,6\n")
    (tmp_path / "abc.csv").write_text("x1,x2,y\n1,2,a\n4,5,b\n")
    for name in ("xor", "plane"):
        if f"{name}.safetensors" in args:
            assert run("train", name, *SMALL)[0] == 0
    before = set(os.listdir(tmp_path))
    code, text = run(*args)
    assert code == 2
    assert text.startswith("cmlp: ")
    assert text.count("\n") == 1
    assert word in text
    assert set(os.listdir(tmp_path)) == before


def test_divergence_is_one_line_and_exit_code_1(run, tmp_path):
    code, text = run("train", "plane", *SMALL, "--optimizer", "sgd", "--lr", 1e9)
    assert code == 1
    *before, last = text.splitlines()
    assert before[-1] == "learning rate: 1e+09"
    assert last.startswith("cmlp: ")
    assert "NaN" in last
    assert os.listdir(tmp_path) == []


def test_a_fault_of_the_program_is_not_hidden(run, monkeypatch):
    def fail(*args):
        raise RuntimeError("a fault")

    monkeypatch.setattr(build, "make_trainer", fail)
    with pytest.raises(RuntimeError):
        CliRunner().invoke(app, ["train"], catch_exceptions=False)


@pytest.mark.parametrize(
    "metadata",
    [
        {"test_share": 1},
        {"image_shape": [2]},
        {"image_shape": [3, 3]},
        {"target": 3},
    ],
)
def test_metadata_that_do_not_fit_are_refused(metadata):
    net = cmlp.Sequential(cmlp.Dense(4, 1), seed=0)
    net.metadata = metadata
    with pytest.raises(FormatError, match=next(iter(metadata))):
        model.Origin.of(net)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(list(vars(model.Origin()))), JSON))
def test_metadata_are_not_trusted(metadata):
    net = cmlp.Sequential(cmlp.Dense(4, 1), seed=0)
    net.metadata = metadata
    try:
        origin = model.Origin.of(net)
    except FormatError as error:
        assert "\n" not in str(error)
    else:
        assert model.Origin(**origin.metadata()).metadata() == origin.metadata()


# ---- schedules -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cosine", [1.0, 0.50005, 1e-4]),
        ("exponential:0.5", [1.0, 0.5**5, 0.5**10]),
        ("step:0.5:4", [1.0, 0.5, 0.25]),
        ("inverse-time:5", [1.0, 0.5, 1 / 3]),
        ("inverse-sqrt:5", [1.0, 0.5**0.5, 3**-0.5]),
        ("plateau", [1.0, 1.0, 1.0]),
        ("halving", [1.0, 1.0, 1.0]),
    ],
)
def test_schedules_are_in_epochs(text, expected):
    schedule = build.make_schedule(text, lr=2.0, epochs=10, steps_per_epoch=20)
    rates = schedule.values(0, 201, 2.0)[[0, 100, 200]]
    np.testing.assert_allclose(rates, 2 * np.array(expected), atol=1e-12)


def test_constant_is_no_schedule():
    assert build.make_schedule("constant", 0.1, 10, 20) is None


# ---- as a process ----------------------------------------------------------------------------


def test_a_process_answers_ctrl_c_with_130(tmp_path):
    command = [sys.executable, "-m", "cmlp", "train", "--epochs", "10000000", "--no-picture"]
    process = subprocess.Popen(
        [*command, "--checkpoint", "c", "--checkpoint-every", "1"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for _ in range(600):
            if (tmp_path / "c").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out.splitlines()[-1] == "learning rate: 0.001"
    assert "--resume c" in err
    assert "Traceback" not in err
    assert not (tmp_path / "digits.safetensors").exists()
    assert cmlp.load(tmp_path / "c").n_in == 64


def test_without_click_it_says_what_to_install(monkeypatch, capsys):
    from cmlp import cli

    monkeypatch.setitem(sys.modules, "click", None)
    for name in [name for name in sys.modules if name.startswith("cmlp.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train"])
    assert stopped.value.code == 2
    assert "pip install cmlp[cli]" in capsys.readouterr().err
