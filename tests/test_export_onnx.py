"""ONNX files: the same numbers in onnxruntime."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from export_nets import (
    CLASSIFIERS,
    DTYPES,
    LAYERS,
    NAMES,
    Doubling,
    alone,
    between_dense,
    classifier,
    far_values,
    places,
    probabilities,
    rows,
    surely,
)

import cmlp
from cmlp.export import onnx as writer

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def run(path, x):
    """What onnxruntime makes of a file: outputs by their names."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": x}), strict=True))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


# ---- outputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", LAYERS, ids=NAMES)
def test_every_layer_in_a_net(make, dtype, path):
    net = between_dense(make, dtype)
    net.to_onnx(path)
    x = rows(net)
    y = run(path, x)["y"]
    assert y.dtype == dtype
    exact = dtype == "float64" and "gelu" not in repr(net).lower()
    np.testing.assert_allclose(y, net.predict(x), rtol=0, atol=1e-12 if exact else 1e-5)
    one = run(path, x[:1])["y"]
    np.testing.assert_allclose(one, y[:1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", LAYERS, ids=NAMES)
def test_every_layer_at_far_values(make, dtype, path):
    net = alone(make, dtype)
    net.to_onnx(path)
    x = far_values(dtype)
    np.testing.assert_allclose(run(path, x)["y"], net.predict(x), rtol=1e-5, atol=1e-6)


def test_a_deep_net_with_activations_in_dense(path):
    names = ["gelu", "softplus", "elu", "leaky_relu", "softmax"]
    layers = [cmlp.Dense(8, 8, activation=name) for name in names]
    net = cmlp.Sequential(*layers, seed=0)
    net.to_onnx(path)
    x = rows(net)
    np.testing.assert_allclose(run(path, x)["y"], net.predict(x), atol=1e-5)


def test_the_file_is_valid_and_says_what_it_is(path):
    net = between_dense(cmlp.Tanh, "float32")
    net.to_onnx(path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version <= 17) for o in model.opset_import] == [("", True)]
    assert (model.producer_name, model.producer_version) == ("cmlp", cmlp.__version__)
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_param, shape[1].dim_value) == ("batch", 6)
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    assert any(np.array_equal(a, net.layers[0].weight) for a in weights.values())


def test_the_same_net_gives_the_same_bytes(tmp_path):
    net = between_dense(cmlp.GELU, "float64")
    for name in ("a", "b"):
        net.to_onnx(str(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# ---- classifiers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, path):
    net, labels = CLASSIFIERS[name]()
    net.to_onnx(path, task="classifier")
    x = surely(net, rows(net))
    found = run(path, x)
    assert list(found) == ["label", "probabilities"]
    np.testing.assert_allclose(found["probabilities"], probabilities(net, x), atol=1e-5)
    assert found["label"].shape == (len(x),)
    assert found["label"].tolist() == [labels[i] for i in places(net, x)]
    assert set(found["label"].tolist()) == set(labels)


def test_multilabel(path):
    net = classifier(3, link="sigmoid")
    net.to_onnx(path, task="multilabel")
    x = rows(net)
    found, p = run(path, x), net.predict_proba(x)
    np.testing.assert_allclose(found["probabilities"], p, atol=1e-5)
    clear = abs(p - 0.5) > 1e-4
    assert found["label"].dtype == np.int64
    assert np.array_equal(found["label"][clear], p[clear] > 0.5)


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 5, 9], ["a", "b", "c"]])
def test_fitted_classifiers(labels, path, points):
    pytest.importorskip("sklearn")
    x, y = points
    names = np.array(labels)[y % len(labels)]
    net = cmlp.MLPClassifier((8,), max_iter=50, tol=0.1, random_state=0).fit(x, names)
    net.to_onnx(path)
    found = run(path, x)
    np.testing.assert_allclose(found["probabilities"], net.predict_proba(x), atol=1e-5)
    assert found["label"].tolist() == net.predict(x).tolist()


def test_fitted_multilabel_classifier(path, points):
    pytest.importorskip("sklearn")
    x, y = points
    t = np.stack([y == 0, y > 0, x[:, 0] > 0], axis=1).astype(int)
    net = cmlp.MLPClassifier((8,), max_iter=50, tol=0.1, random_state=0).fit(x, t)
    net.to_onnx(path)
    found = run(path, x)
    np.testing.assert_allclose(found["probabilities"], net.predict_proba(x), atol=1e-5)
    assert np.array_equal(found["label"], net.predict(x))


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_fitted_regressors(loss, path, points):
    pytest.importorskip("sklearn")
    x, y = points
    net = cmlp.MLPRegressor(loss, 8, max_iter=20, tol=0.1, random_state=0).fit(x, 1.0 + y)
    net.to_onnx(path)
    np.testing.assert_allclose(run(path, x)["y"][:, 0], net.predict(x), atol=1e-5)


def test_weights_assigned_to_an_estimator_are_written(path, points):
    pytest.importorskip("sklearn")
    x, y = points
    net = cmlp.MLPRegressor(hidden_layer_sizes=8, max_iter=20, tol=0.1, random_state=0).fit(x, y)
    net.coefs_[0] = -net.coefs_[0]
    net.to_onnx(path)
    np.testing.assert_allclose(run(path, x)["y"][:, 0], net.predict(x), atol=1e-5)


def test_an_estimator_that_is_not_fitted(path):
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="not fitted"):
        cmlp.MLPClassifier().to_onnx(path)


# ---- errors ----------------------------------------------------------------------------------


def test_layers_in_python_are_refused_and_the_old_file_stays(path):
    path.write_text("old")
    net = cmlp.Sequential(cmlp.Dense(2, 2), Doubling(), seed=0)
    with pytest.raises(ValueError, match=r"layers\[1\], Doubling\(\), is written in Python"):
        net.to_onnx(path)
    assert path.read_text() == "old"


def test_without_onnx(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install cmlp\[export\]"):
        classifier(3).to_onnx(path)


@pytest.mark.parametrize(
    ("settings", "task", "error", "match"),
    [
        ({}, "regressor", ValueError, "task is 'regressor'; expected one of classifier, multi"),
        ({}, 1, TypeError, "task is 1"),
        ({"classes": ["a", "b"]}, "classifier", ValueError, "has 2 classes; expected 3 for 3 out"),
        ({"link": "exp"}, "classifier", ValueError, "trained for counts"),
        ({"activation": "softmax"}, "multilabel", ValueError, "not by softmax"),
        ({"link": "softmax"}, "multilabel", ValueError, "not by softmax"),
    ],
)
def test_tasks_that_make_no_sense(settings, task, error, match, path):
    with pytest.raises(error, match=match):
        classifier(3, **settings).to_onnx(path, task)
    assert not path.exists()


def test_a_net_too_large_for_the_format(path, monkeypatch):
    monkeypatch.setattr(writer, "_MOST_BYTES", 100)
    with pytest.raises(ValueError, match="ONNX files hold 100"):
        classifier(3).to_onnx(path)
    assert not path.exists()
