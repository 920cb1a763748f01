"""Decision regions of everything that predicts points of the plane."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

import cmlp
from cmlp import models, plots

matplotlib.use("Agg")
from matplotlib import pyplot

X = np.random.default_rng(0).normal(size=(60, 2)) * 2
NAMES = np.array(["left", "right"])
TWO = NAMES[(X[:, 0] > 0).astype(int)]
THREE = np.digitize(X[:, 0], [-1.0, 1.0])
NUMBERS = X[:, 0] - 0.5

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def net_of(n_out, loss, y, classes=None, preprocessing=None):
    net = cmlp.Sequential(cmlp.Dense(2, 8, "tanh"), cmlp.Dense(8, n_out), seed=0)
    net.classes, net.preprocessing = classes, preprocessing
    cmlp.Trainer(net, loss, cmlp.Adam(0.05)).fit(X, y, epochs=40, batch_size=16)
    return net


def command_line(folder, y, *options):
    """The net of ``cmlp train`` on a table of the points."""
    testing = pytest.importorskip("click.testing")
    from cmlp.cli.app import app

    table = folder / "t.csv"
    rows = [f"{a},{b},{label}" for (a, b), label in zip(X, y, strict=True)]
    table.write_text("\n".join(["x1,x2,y", *rows]))
    out = folder / "t.safetensors"
    few = ["--layers", "8", "--epochs", "40", "--lr", "0.05", "--batch-size", "16", "--no-picture"]
    run = testing.CliRunner().invoke(app, ["train", str(table), *few, *options, "--out", str(out)])
    assert run.exit_code == 0, run.output
    return cmlp.load(out)


def estimator(kind, y, **settings):
    pytest.importorskip("sklearn")
    settings = {"hidden_layer_sizes": 8, "random_state": 0, "learning_rate_init": 0.05, **settings}
    return kind(**settings).fit(X, y)


def of_scikit_learn(y):
    linear_model = pytest.importorskip("sklearn.linear_model")
    return linear_model.LogisticRegression().fit(X, y)


one_hot = np.eye(3)[THREE]
# name -> (what makes the model, the targets of the points)
MODELS = {
    "net, softmax": (lambda _: net_of(3, cmlp.SoftmaxCrossEntropy(), THREE), THREE),
    "net, names": (lambda _: net_of(2, cmlp.SoftmaxCrossEntropy(), TWO), TWO),
    "net, one output": (lambda _: net_of(1, cmlp.BinaryCrossEntropy(), TWO), TWO),
    "net, one for each": (lambda _: net_of(3, cmlp.BinaryCrossEntropy(), THREE), THREE),
    "net, squares": (lambda _: net_of(3, cmlp.SquaredError(), one_hot, [0, 1, 2]), THREE),
    "net, numbers": (lambda _: net_of(1, cmlp.SquaredError(), NUMBERS), NUMBERS),
    "net, standardised": (
        lambda _: net_of(1, cmlp.SquaredError(), NUMBERS, None, cmlp.Preprocessing.fit(X, NUMBERS)),
        NUMBERS,
    ),
    "command line, labels": (lambda folder: command_line(folder, TWO), TWO),
    "command line, one output": (lambda folder: command_line(folder, TWO, "--loss", "binary"), TWO),
    "command line, squares": (lambda folder: command_line(folder, TWO, "--loss", "squared"), TWO),
    "command line, numbers": (lambda folder: command_line(folder, NUMBERS), NUMBERS),
    "MLPClassifier, two": (lambda _: estimator(cmlp.MLPClassifier, TWO), TWO),
    "MLPClassifier, three": (lambda _: estimator(cmlp.MLPClassifier, THREE), THREE),
    "its net": (lambda _: estimator(cmlp.MLPClassifier, THREE).net_, THREE),
    "MLPRegressor": (lambda _: estimator(cmlp.MLPRegressor, NUMBERS), NUMBERS),
    "scikit-learn's": (lambda _: of_scikit_learn(TWO), TWO),
    "LinearRegression": (lambda _: models.LinearRegression().fit(X, NUMBERS), NUMBERS),
    "LogisticRegression": (lambda _: models.LogisticRegression(weight_decay=0.1).fit(X, TWO), TWO),
    "SoftmaxRegression": (
        lambda _: models.SoftmaxRegression(tol=1e-3).fit(X, THREE),
        THREE,
    ),
    "OneVsRest": (lambda _: models.OneVsRest(weight_decay=0.1).fit(X, THREE), THREE),
    "Perceptron": (lambda _: models.Perceptron().fit(X, TWO), TWO),
    "Adaline": (lambda _: models.Adaline(epochs=200).fit(X, TWO), TWO),
    "Adaline, 0 and 1": (lambda _: models.Adaline(epochs=200).fit(X, THREE > 0), THREE > 0),
}


def test_every_model_is_drawn():
    kinds = {name for name in models.__all__ if isinstance(getattr(models, name), type)}
    assert kinds <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_regions_are_what_the_model_predicts(name, tmp_path):
    make, y = MODELS[name]
    model = make(tmp_path)
    axes = pyplot.figure().subplots()
    plots.decision_regions(model, X, y, extent=(-6, 6, -6, 6), resolution=30, ax=axes)
    ground = np.asarray(axes.images[0].get_array())
    left, right = ground[15, 0], ground[15, -1]
    if y is NUMBERS:
        assert left < -2 and right > 2
    else:  # the colours of the lowest and the highest class
        colours = [np.array(c.get_facecolor()[0][:3]) for c in axes.collections[-len(set(y)) :]]
        for side, colour in ((left, colours[0]), (right, colours[-1])):
            nearest = min(colours, key=lambda c: abs((1 - c) / (1 - c).max() - unmixed(side)).max())
            np.testing.assert_array_equal(nearest, colour)
    pyplot.close("all")


def unmixed(colour):
    """A colour without the white that is mixed in."""
    return (1 - colour) / (1 - colour).max()


@pytest.mark.parametrize("name", ["MLPClassifier, three", "its net", "command line, labels"])
def test_hidden_units(name, tmp_path):
    axes = pyplot.figure().subplots()
    plots.hidden_units(MODELS[name][0](tmp_path), ax=axes)
    assert "8 units" in axes.get_title()
    pyplot.close("all")


def test_hidden_units_of_a_net_that_standardises():
    """What they respond to is drawn over the points as they are."""
    net = cmlp.Sequential(cmlp.Dense(2, 1, "relu"), cmlp.Dense(1, 1), seed=0)
    net.layers[0].weight = [[1.0, 0.0]]
    standardizer = cmlp.datasets.Standardizer(np.array([3.0, 0.0]), np.array([2.0, 1.0]))
    net.preprocessing = cmlp.Preprocessing(standardizer)
    axes = pyplot.figure().subplots()
    plots.hidden_units(net, ax=axes)
    tile = np.asarray(axes.images[0].get_array())
    expected = np.maximum((np.linspace(-6, 6, 60) - 3) / 2, 0) / 1.5
    np.testing.assert_allclose(tile[0], expected, atol=1e-6)
    pyplot.close("all")
