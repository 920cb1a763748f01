"""`cmlp export`: files that give what `cmlp predict` gives."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess

import numpy as np
import pytest

pytest.importorskip("click")
from click.testing import CliRunner

import cmlp
from cmlp.cli.app import app
from cmlp.cli.export import whole
from cmlp.cli.model import classes_of, predictions

COMPILER = shutil.which(os.environ.get("CC", "cc"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder: (exit code, all output)."""
    monkeypatch.chdir(tmp_path)

    def call(*args):
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        return result.exit_code, result.output

    return call


def trained(path, y, *, loss, n_out, classes=None):
    """A model file as `cmlp train` writes it, of inputs of very different scales; the samples."""
    x = np.random.default_rng(0).normal(size=(len(y), 3)) * [1, 100, 1e4] + [5, 0, -1e6]
    x = x.astype(np.float32)
    net = cmlp.Sequential(cmlp.Dense(3, 8, activation="tanh"), cmlp.Dense(8, n_out), seed=0)
    numbers = y.ndim == 2 and loss.link is None
    net.classes, net.preprocessing = classes, cmlp.Preprocessing.fit(x, y if numbers else None)
    cmlp.Trainer(net, loss, cmlp.SGD(0.05)).fit(x, y, epochs=3, progress=False)
    net.save(path)
    return x


CASES = {
    "labels": lambda path: trained(
        path,
        np.array(["a", "b", "c"])[np.arange(300) % 3],
        loss=cmlp.SoftmaxCrossEntropy(),
        n_out=3,
        classes=["a", "b", "c"],
    ),
    "two": lambda path: trained(path, np.arange(300) % 2, loss=cmlp.BinaryCrossEntropy(), n_out=1),
    "numbers": lambda path: trained(
        path, 1e5 + 300.0 * np.arange(600.0).reshape(300, 2), loss=cmlp.SquaredError(), n_out=2
    ),
    "counts": lambda path: trained(
        path, 1.0 + np.arange(300.0)[:, np.newaxis] % 4, loss=cmlp.Poisson(), n_out=1
    ),
}


def wanted(path, x):
    """What `cmlp predict` gives: labels (n,), or numbers (n, n_out)."""
    net = cmlp.load(path)
    return classes_of(net), predictions(net, x)


@pytest.mark.parametrize("name", CASES)
def test_onnx(name, run):
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    x = CASES[name]("m.safetensors")
    code, text = run("export", "m.safetensors", "--format", "onnx", "-o", "m.onnx")
    assert (code, text.splitlines()[0]) == (0, "file: m.onnx")
    session = ort.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    first = session.run(None, {"x": x})[0]
    classes, y = wanted("m.safetensors", x)
    if classes is None:
        np.testing.assert_allclose(first, y, rtol=1e-5)
    else:
        assert np.mean(first == y) > 0.995  # a tie of two classes may fall either way


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize("name", CASES)
def test_c(name, run, tmp_path):
    x = CASES[name]("m.safetensors")
    code, _ = run("export", "m.safetensors", "--format", "c", "--out", "m.c", "--name", "mine")
    assert code == 0
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([COMPILER, *strict, "-fPIC", "-shared", "-o", "m.so", "m.c", "-lm"], check=True)
    mine = ctypes.CDLL(str(tmp_path / "m.so")).mine
    classes, y = wanted("m.safetensors", x)
    out = np.empty((len(x), 3), np.float32)
    returned = [
        mine(ctypes.c_void_p(row.ctypes.data), ctypes.c_void_p(result.ctypes.data))
        for row, result in zip(x, out, strict=True)
    ]
    if classes is None:
        np.testing.assert_allclose(out[:, : y.shape[1]], y, rtol=1e-5)
    else:
        assert np.mean(np.array(classes)[returned] == y) > 0.995


def test_inputs_far_from_zero_keep_their_digits():
    """The means are taken away in float64."""
    mean, scale = np.full(3, 1e6), np.ones(3)
    net = cmlp.Sequential(cmlp.Identity(), n_in=3, seed=0)
    net.preprocessing = cmlp.Preprocessing(cmlp.datasets.Standardizer(mean, scale))
    made = whole(net)
    assert made.steps[0].mean.dtype == np.float64


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["m.safetensors", "-o", "m.c"], "Missing option '--format'"),
        (["m.safetensors", "--format", "c"], "Missing option '-o' / '--out'"),
        (["m.safetensors", "--format", "pdf", "-o", "m.pdf"], "'pdf' is not one of"),
        (["none.safetensors", "--format", "c", "-o", "m.c"], "none.safetensors: No such file"),
        (["text", "--format", "c", "-o", "m.c"], "text: not a safetensors file"),
        (["m.safetensors", "--format", "c", "-o", "none/m.c"], "--out: none/m.c is in none"),
        (["m.safetensors", "--format", "c", "-o", "m.c", "--name", "a b"], "name is 'a b'"),
        (["m.safetensors", "--format", "onnx", "-o", "m.onnx", "--name", "a"], "--name: only"),
    ],
)
def test_wrong_input_is_one_line(args, message, run, tmp_path):
    cmlp.Sequential(cmlp.Dense(2, 1), seed=0).save("m.safetensors")
    (tmp_path / "text").write_text("no model")
    before = set(tmp_path.iterdir())
    code, text = run("export", *args)
    assert code == 2
    assert message in text
    assert len(text.splitlines()) == 1
    assert set(tmp_path.iterdir()) == before
