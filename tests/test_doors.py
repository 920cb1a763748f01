"""What one door knows, every door knows: classes, names and preprocessing of a net, whichever way
it was trained and wherever it goes."""

from __future__ import annotations

import copy
import ctypes
import json
import os
import pickle
import shutil
import subprocess

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
import pandas
from click.testing import CliRunner

import cmlp
from cmlp import models
from cmlp.cli.app import app
from cmlp.cli.model import classes_of, predictions

COMPILER = shutil.which(os.environ.get("CC", "cc"))
NAMES = ("size", "weight", 'ä "b"')
# inputs of very different scales, as they are in the data
X = np.random.default_rng(0).normal(size=(80, 3)) * [1.0, 100.0, 1e4] + [5.0, 0.0, -1e5]
Z = (X - X.mean(axis=0)) / X.std(axis=0)
FRAME = pandas.DataFrame(X, columns=NAMES)
LABELS = np.array(["no", "yes"])[(Z[:, 0] + Z[:, 1] > 0).astype(int)]
THREE = np.digitize(Z[:, 2], [-0.5, 0.5]) * 10
NUMBERS = 2e5 + 5000.0 * Z[:, 0] - 3000.0 * Z[:, 1]
PAIRS = np.stack([NUMBERS, -10 * Z[:, 2]], axis=1)
COUNTS = np.round(np.exp(1.0 + Z[:, 0])).clip(0, 50)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# ---- doors: name -> net that was trained on the data as they are --------------------------------


def trainer(y, n_out, loss, targets=False, dtype="float64"):
    net = cmlp.Sequential(
        cmlp.Dense(3, 6, "tanh"), cmlp.Dropout(0.1), cmlp.Dense(6, n_out), dtype=dtype, seed=0
    )
    net.preprocessing = cmlp.Preprocessing.fit(X, y if targets else None)
    if y is THREE:
        net.classes = [0, 10, 20]
    cmlp.Trainer(net, loss, cmlp.Adam(0.05)).fit(FRAME, y, epochs=5, batch_size=16)
    return net


def command_line(folder, y, *options):
    FRAME.assign(y=y).to_csv(folder / "t.csv", index=False)
    few = ["--layers", "6", "--activation", "tanh", "--epochs", "5", "--no-picture", *options]
    run = CliRunner().invoke(
        app, ["train", str(folder / "t.csv"), *few, "--out", str(folder / "m")]
    )
    assert run.exit_code == 0, run.output
    return cmlp.load(folder / "m")


def estimator(kind, y, **settings):
    return kind(
        hidden_layer_sizes=6, activation="tanh", max_iter=5, random_state=0, **settings
    ).fit(FRAME, y)


def binary():
    return cmlp.BinaryCrossEntropy()


DOORS = {
    "Trainer, labels": lambda _: trainer(LABELS, 2, cmlp.SoftmaxCrossEntropy()),
    "Trainer, three": lambda _: trainer(THREE, 3, cmlp.SoftmaxCrossEntropy(), dtype="float32"),
    "Trainer, one output": lambda _: trainer(LABELS, 1, binary()),
    "Trainer, number": lambda _: trainer(NUMBERS, 1, cmlp.Huber(), targets=True),
    "Trainer, numbers": lambda _: trainer(PAIRS, 2, cmlp.SquaredError(), targets=True),
    "Trainer, counts": lambda _: trainer(COUNTS, 1, cmlp.Poisson()),
    "command line, labels": lambda folder: command_line(folder, LABELS),
    "command line, three": lambda folder: command_line(folder, THREE),
    "command line, one output": lambda folder: command_line(folder, LABELS, "--loss", "binary"),
    "command line, number": lambda folder: command_line(folder, NUMBERS, "--dtype", "float64"),
    "command line, counts": lambda folder: command_line(
        folder, COUNTS, "--loss", "poisson", "--task", "regression"
    ),
    "MLPClassifier, labels": lambda _: estimator(cmlp.MLPClassifier, LABELS).net_,
    "MLPClassifier, three": lambda _: estimator(cmlp.MLPClassifier, THREE).net_,
    "MLPRegressor": lambda _: estimator(cmlp.MLPRegressor, PAIRS).net_,
    "MLPRegressor, counts": lambda _: estimator(cmlp.MLPRegressor, COUNTS, loss="poisson").net_,
    "LogisticRegression": lambda _: models.LogisticRegression(epochs=3).fit(FRAME, LABELS).net,
    "SoftmaxRegression": lambda _: models.SoftmaxRegression(epochs=3).fit(FRAME, THREE).net,
    "LinearRegression": lambda _: models.LinearRegression().fit(FRAME, PAIRS).net,
}


@pytest.fixture(scope="module", params=DOORS)
def net(request, tmp_path_factory):
    return DOORS[request.param](tmp_path_factory.mktemp("door"))


# ---- ways: what comes back from elsewhere --------------------------------------------------------


def by_file(net, folder):
    net.save(folder / "net")
    return cmlp.load(folder / "net")


def by_checkpoint(net, folder):
    cmlp.Trainer(net, cmlp.SquaredError()).save_checkpoint(folder / "checkpoint")
    return cmlp.load(folder / "checkpoint")


def by_resuming(net, folder):
    cmlp.Trainer(net, cmlp.SquaredError()).save_checkpoint(folder / "checkpoint")
    return cmlp.Trainer.load_checkpoint(folder / "checkpoint").net


def by_torch(net, folder):
    torch = pytest.importorskip("torch")
    module = pickle.loads(pickle.dumps(cmlp.to_torch(net)))
    given = torch.tensor(X, dtype=getattr(torch, net.dtype))
    np.testing.assert_allclose(
        module(given).detach().numpy(), net.predict(X.astype(net.dtype)), rtol=2e-4
    )
    return cmlp.from_torch(module)


def by_scikit_learn(net, folder):
    neural_network = pytest.importorskip("sklearn.neural_network")
    if net.link == "exp" and "loss" not in neural_network.MLPRegressor().get_params():
        pytest.skip("scikit-learn before 1.7 predicts no counts")
    made = pickle.loads(pickle.dumps(cmlp.to_sklearn(net)))
    if net.preprocessing.feature_names is not None:
        assert tuple(made.feature_names_in_) == net.preprocessing.feature_names
    found = made.predict(FRAME.astype(net.dtype))
    wanted = predictions(net, X.astype(net.dtype))
    assert agree(found.reshape(wanted.shape), wanted)
    return cmlp.from_sklearn(made)


WAYS = {
    "save": by_file,
    "checkpoint": by_checkpoint,
    "resume": by_resuming,
    "copy": lambda net, folder: net.copy(),
    "deepcopy": lambda net, folder: copy.deepcopy(net),
    "pickle": lambda net, folder: pickle.loads(pickle.dumps(net)),
    "Sequential": lambda net, folder: joined(net),
    "torch": by_torch,
    "scikit-learn": by_scikit_learn,
}


def joined(net):
    """The net as the only part of another."""
    made = cmlp.Sequential(net, dtype=net.dtype)
    made.classes, made.link = net.classes, net.link
    return made


@pytest.mark.parametrize("way", WAYS)
def test_what_is_known_comes_back(net, way, tmp_path):
    again = WAYS[way](net, tmp_path)
    assert again.preprocessing.feature_names == net.preprocessing.feature_names == NAMES
    for name in ("inputs", "targets"):
        mine, theirs = getattr(net.preprocessing, name), getattr(again.preprocessing, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            np.testing.assert_array_equal(mine.mean, theirs.mean)
            np.testing.assert_array_equal(mine.scale, theirs.scale)
    assert classes_of(again) == classes_of(net)
    assert agree(predictions(again, X), predictions(net, X))
    with pytest.raises(ValueError, match="x has the columns"):
        again.predict(FRAME[list(NAMES[::-1])])


def agree(found, wanted):
    """Numbers to rounding, far from 0 as the inputs are; labels but for ties."""
    if wanted.dtype.kind == "f" and wanted.ndim == 2:
        return np.allclose(found, wanted, rtol=2e-3, atol=1e-3 * abs(wanted).max())
    return np.mean(found == wanted) > 0.95


def test_the_command_line_takes_it(net, tmp_path):
    net.save(tmp_path / "net")
    FRAME.to_csv(tmp_path / "x.csv", index=False)
    run = CliRunner().invoke(app, ["predict", str(tmp_path / "net"), str(tmp_path / "x.csv")])
    assert run.exit_code == 0, run.output
    rows = [line.split(",") for line in run.output.splitlines()[1:]]
    wanted = predictions(net, FRAME.to_numpy().astype(np.float32))
    if classes_of(net) is None:
        assert agree(np.array(rows, float), wanted)
    else:
        assert [row[0] for row in rows] == [str(label) for label in wanted]
    other = FRAME.rename(columns={"size": "length"})
    other.to_csv(tmp_path / "x.csv", index=False)
    run = CliRunner().invoke(app, ["predict", str(tmp_path / "net"), str(tmp_path / "x.csv")])
    assert run.exit_code == 2 and "'size'" in run.output


def test_onnx(net, tmp_path):
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    net.to_onnx(tmp_path / "net.onnx")
    props = {p.key: p.value for p in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert tuple(json.loads(props["feature_names"])) == NAMES
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    x = X.astype(net.dtype)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], net.predict(x), rtol=2e-3)
    if classes_of(net) is not None:
        net.to_onnx(tmp_path / "net.onnx", task="classifier")
        session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
        assert agree(session.run(["label"], {"x": x})[0], predictions(net, x))
    elif net.preprocessing.targets is not None or net.link == "exp":
        with pytest.raises(ValueError, match="task is|trained for counts"):
            net.to_onnx(tmp_path / "net.onnx", task="classifier")


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_c(net, tmp_path):
    net.to_c(tmp_path / "net.c")
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fPIC", "-shared"]
    subprocess.run(
        [COMPILER, *strict, "-o", tmp_path / "net.so", tmp_path / "net.c", "-lm"], check=True
    )
    library = ctypes.CDLL(str(tmp_path / "net.so"))
    names = (ctypes.c_char_p * 3).in_dll(library, "predict_features")
    assert tuple(name.decode() for name in names) == NAMES
    x = X.astype(net.dtype)
    y = np.empty((len(x), net.n_out), net.dtype)
    for row, result in zip(x, y, strict=True):
        library.predict(ctypes.c_void_p(row.ctypes.data), ctypes.c_void_p(result.ctypes.data))
    np.testing.assert_allclose(y, net.predict(x), rtol=2e-3)


def test_training_goes_on_from_data_as_they_are(net):
    """A net of any door, trained again in Python on raw rows, gets better and keeps its scales."""
    again = net.copy()
    before = again.preprocessing
    if classes_of(net) is not None:
        y = LABELS if "yes" in classes_of(net) else THREE
        binary = "sigmoid" in (again.link, again.output_activation)
        loss = cmlp.BinaryCrossEntropy() if binary else cmlp.SoftmaxCrossEntropy()
    else:
        y = COUNTS if again.link == "exp" else NUMBERS if again.n_out == 1 else PAIRS
        loss = cmlp.Poisson() if again.link == "exp" else cmlp.SquaredError()
    trainer = cmlp.Trainer(again, loss, cmlp.SGD(1e-2 if before.inputs else 1e-12))
    first = trainer.evaluate(FRAME, y)
    history = trainer.fit(FRAME, y, epochs=3, batch_size=None, validation=(FRAME, y))
    assert history["validation_loss"][-1] <= first["loss"]
    assert again.preprocessing.inputs is before.inputs
    if "mean_absolute_error" in first:  # in the units of the data
        t = y[:, np.newaxis] if y.ndim == 1 else y
        error = abs(net.predict(X) - t).mean()
        assert first["mean_absolute_error"] == pytest.approx(error, rel=1e-4)
    with pytest.raises(ValueError, match="x has the columns"):
        trainer.fit(FRAME[list(NAMES[::-1])], y)
