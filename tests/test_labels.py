"""Labels: every kind at every door, and what becomes of them in files."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess

import numpy as np
import pytest

import cmlp
from cmlp import models

COMPILER = shutil.which(os.environ.get("CC", "cc"))
N = 60

# ---- kinds: name -> (three labels in ascending order, what they are as plain Python) ---------

KEPT = {
    "text": (np.array(["a", 'b"\\', "ü??/"]), ["a", 'b"\\', "ü??/"]),
    "text as objects": (np.array(["a", "b", "c"], object), ["a", "b", "c"]),
    "int8": (np.array([-5, 0, 5], np.int8), [-5, 0, 5]),
    "big-endian": (np.array([1, 2, 3], ">i4"), [1, 2, 3]),
    "int64, the ends": (np.array([-(2**63), 0, 2**63 - 1]), [-(2**63), 0, 2**63 - 1]),
    "uint64": (np.array([1, 2, 2**63 - 1], np.uint64), [1, 2, 2**63 - 1]),
    "integers as objects": (np.array([3, 5, 7], object), [3, 5, 7]),
    "float32": (np.array([1.0, 2.0, 30.0], np.float32), [1.0, 2.0, 30.0]),
    "float64": (np.array([-1e15, 0.0, 1e15]), [-1e15, 0.0, 1e15]),
}
if hasattr(np.dtypes, "StringDType"):
    KEPT["StringDType"] = (np.array(["a", "b", "c"], np.dtypes.StringDType()), ["a", "b", "c"])

REFUSED = {
    "bytes": np.array([b"a", b"b", b"c"]),
    "bytes as objects": np.array([b"a", b"b", b"c"], object),
    "dates": np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[D]"),
    "durations": np.array([1, 2, 3], "m8[s]"),
    "uint64 beyond int64": np.array([0, 1, 2**63], np.uint64),
    "integers beyond 64 bits": np.array([0, 1, 2**70], object),
    "nothing": np.array(["a", "b", None], object),
    "text and numbers": np.array([1, 2, "a"], object),
    "text that is none": np.array(["a", "b", "\ud800"]),
}


def samples(labels):
    """Points (n, 2), and a label for each, by turns."""
    x = np.random.default_rng(0).normal(size=(N, 2))
    return x, labels[np.arange(N) % len(labels)]


# ---- doors: name -> (number of classes, what takes x, y and the classes and gives a net) -----


def trainer_of(n_out, loss):
    net = cmlp.Sequential(cmlp.Dense(2, n_out), dtype="float64", seed=0)
    return cmlp.Trainer(net, loss)


def by_fit(x, y, classes):
    trainer = trainer_of(3, cmlp.SoftmaxCrossEntropy())
    if np.asarray(y).dtype.kind in "iuf" or np.asarray(y).dtype == object:
        trainer.net.classes = classes
    trainer.fit(x, y, epochs=1)
    return trainer.net


def by_step(x, y, classes):
    trainer = trainer_of(3, cmlp.BinaryCrossEntropy())
    trainer.net.classes = classes
    trainer.train_step(x, y)
    return trainer.net


def by_one_output(x, y, classes):
    trainer = trainer_of(1, cmlp.BinaryCrossEntropy())
    trainer.net.classes = classes
    trainer.fit(x, y, epochs=1)
    return trainer.net


def by_the_setter(x, y, classes):
    net = trainer_of(len(classes), cmlp.SoftmaxCrossEntropy()).net
    net.classes = classes
    return net


def by_estimator(x, y, classes):
    pytest.importorskip("sklearn")
    return estimator().fit(x, y).net_


def by_partial_fit(x, y, classes):
    pytest.importorskip("sklearn")
    return estimator().partial_fit(x, y, classes=classes).net_


def by_declaring(x, y, classes):
    pytest.importorskip("sklearn")
    net = estimator().declare(classes)
    net.learn_one(x[0], y[0])
    return net.net_


def estimator():
    return cmlp.MLPClassifier(2, solver="lbfgs", max_iter=1, random_state=0).set_params(
        solver="adam", max_iter=1
    )


DOORS = {
    "Trainer.fit": (3, by_fit),
    "Trainer.train_step": (3, by_step),
    "Trainer, one output": (2, by_one_output),
    "Sequential.classes": (3, by_the_setter),
    "MLPClassifier.fit": (3, by_estimator),
    "MLPClassifier.partial_fit": (3, by_partial_fit),
    "MLPClassifier.declare": (3, by_declaring),
}
for kind, n in [
    (models.Perceptron, 2),
    (models.Adaline, 2),
    (models.LogisticRegression, 2),
    (models.SoftmaxRegression, 3),
    (models.OneVsRest, 3),
]:
    DOORS[kind.__name__] = (
        n,
        lambda x, y, classes, kind=kind: kind(lr=0.01, epochs=1).fit(x, y).net,
    )

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:y_pred:UserWarning"
)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", KEPT)
def test_every_door_keeps_them(kind, door):
    labels, plain = KEPT[kind]
    n, enter = DOORS[door]
    net = enter(*samples(labels[:n]), labels[:n])
    assert net.classes.tolist() == plain[:n]
    assert {type(v) for v in net.classes.tolist()} == {type(v) for v in plain}


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", REFUSED)
def test_every_door_refuses_them(kind, door, as_list):
    n, enter = DOORS[door]
    x, y = samples(REFUSED[kind][-n:])
    labels = REFUSED[kind][-n:]
    if as_list:
        y, labels = list(y), list(labels)
    with pytest.raises(ValueError, match="^(y|classes) (has labels|has the label|is)") as caught:
        enter(x, y, labels)
    assert "expected" in str(caught.value)


def test_a_door_that_refuses_changes_nothing():
    trainer = trainer_of(3, cmlp.SoftmaxCrossEntropy())
    before = trainer.net.get_flat()
    for labels in REFUSED.values():
        with pytest.raises(ValueError, match="y has"):
            trainer.fit(*samples(labels))
    assert trainer.net.classes is None and trainer.step_count == 0
    np.testing.assert_array_equal(trainer.net.get_flat(), before)


@pytest.mark.parametrize("labels", [[0, 1, 2**63], [0.0, 1e30, 7.0]], ids=str)
def test_the_command_line_refuses_them_in_one_line(labels, tmp_path, monkeypatch):
    click_testing = pytest.importorskip("click.testing")
    from cmlp.cli.app import app

    monkeypatch.chdir(tmp_path)
    x, y = samples(np.array(labels, np.uint64 if 2**63 in labels else np.float64))
    np.savez("data.npz", x=x, y=y)
    arguments = ["train", "data.npz", "--task", "classification", "--no-picture"]
    result = click_testing.CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.output.startswith("cmlp: ") and len(result.output.splitlines()) == 1
    assert os.listdir() == ["data.npz"]


# ---- ways out ----------------------------------------------------------------------------------


def net_with(labels):
    net = cmlp.Sequential(cmlp.Dense(2, 3), dtype="float64", seed=0)
    net.layers[0].weight = [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]
    net.classes = labels
    return net


X = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])  # a sample of each class


@pytest.mark.parametrize("kind", KEPT)
def test_model_files(kind, tmp_path):
    labels, plain = KEPT[kind]
    net_with(labels).save(tmp_path / "m")
    assert cmlp.load(tmp_path / "m").classes.tolist() == plain


@pytest.mark.parametrize("kind", KEPT)
def test_onnx_files(kind, tmp_path):
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    labels, plain = KEPT[kind]
    net_with(labels).to_onnx(tmp_path / "m.onnx", task="classifier")
    session = ort.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    assert session.run(["label"], {"x": X})[0].tolist() == plain


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize("kind", KEPT)
def test_c_files(kind, tmp_path):
    """The labels in the library, and those that the program prints, are the same values."""
    labels, plain = KEPT[kind]
    net_with(labels).to_c(tmp_path / "m.c", task="classifier")
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    build = [COMPILER, *strict, tmp_path / "m.c", "-lm", "-o"]
    subprocess.run([*build, tmp_path / "m.so", "-fPIC", "-shared"], check=True)
    library = ctypes.CDLL(str(tmp_path / "m.so"))
    held = {str: ctypes.c_char_p, float: ctypes.c_double}.get(type(plain[0]), ctypes.c_longlong)
    stored = list((held * 3).in_dll(library, "predict_classes"))
    assert [s.decode() if isinstance(s, bytes) else s for s in stored] == plain
    subprocess.run([*build, tmp_path / "m", "-Dpredict_MAIN"], check=True)
    rows = "\n".join(" ".join(map(str, row)) for row in X)
    shown = subprocess.run(
        [tmp_path / "m"], input=rows.encode(), capture_output=True, check=True
    ).stdout
    words = [line.split()[0] for line in shown.decode().splitlines()]
    assert [type(plain[0])(word) for word in words] == plain
