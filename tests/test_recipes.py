"""Everything that the core has is in every table, as CONTRIBUTING's "How to add" says.

A failure here names what is missing and where it belongs.
"""

from __future__ import annotations

import ctypes
import inspect
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from export_nets import DTYPES, alone, between_dense, rows
from formulas import ACTIVATIONS, LOSSES, RULES

import cmlp
from cmlp import _core, layers, losses, models, optimizers
from cmlp.export import model as plain
from cmlp.layers import registry
from cmlp.layers.activations import KINDS
from cmlp.layers.window import Window

ROOT = Path(__file__).parents[1]
NAMES = list(_core.activations())
COMPILER = shutil.which("cc") or shutil.which("gcc")
# Losses without a class of `cmlp.losses`: those of the models.
OF_MODELS = {"perceptron": models.units}


def source(path):
    """A file of the checkout; the wheel's tests run without the sources."""
    if not (ROOT / "src").is_dir():
        pytest.skip("no sources here")
    return (ROOT / path).read_text(encoding="utf-8")


def identifier(name):
    return f"CMLP_{name.upper()}"


def says(condition, name, place):
    everywhere(name, {place: condition})


def everywhere(name, places):
    """Fail with all the places, given as place -> whether it is there, that lack the name."""
    lines = [f"{name!r} is missing: add it to {p}" for p, there in places.items() if not there]
    assert not lines, "\n".join([*lines, "See CONTRIBUTING, 'How to add'."])


def declared(name):
    """Whether Cython knows the core's number of that name."""
    return identifier(name) in re.findall(r"\w+", source("cmlp/__init__.pxd"))


def is_public(kind):
    """Whether a class is a name of its module and of the package."""
    modules = [cmlp, layers if issubclass(kind, layers.Layer) else None]
    return all(kind.__name__ in module.__all__ for module in modules if module is not None)


# ---- activations -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_activation_has_a_class(name):
    says(name in KINDS, name, "cmlp/layers/activations.py, a class with `activation` and `forms`")
    kind = KINDS[name]
    says(is_public(kind), kind.__name__, "__all__ of cmlp/layers/__init__.py and cmlp/__init__.py")
    layer = kind()
    assert repr(registry.from_config(registry.to_config(layer))) == repr(layer)
    default = _core.activations()[name]["param"]
    assert layer.param == default, f"{kind.__name__}() has not the core's default parameter"


@pytest.mark.parametrize("name", NAMES)
def test_activation_has_formulas_for_the_tests(name):
    if name != "softmax":
        says(name in ACTIVATIONS, name, "ACTIVATIONS of tests/formulas.py")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_that_rectifies_says_so(name):
    """It decides the initial weights of the layer before it."""
    below, above = ACTIVATIONS[name].slopes or (0, 0)
    assert KINDS[name].rectifies == (below < above == 1), f"rectifies of {KINDS[name].__name__}"


@pytest.mark.parametrize("name", NAMES)
def test_activation_is_in_the_sweep_and_in_cython(name):
    in_sweep = name == "softmax" or f"[{identifier(name)}]" in source("tests/c/sweep.c")
    places = {
        "the promises of tests/c/sweep.c": in_sweep,
        "cmlp_activation of cmlp/__init__.pxd": declared(name),
    }
    everywhere(name, places)


@pytest.mark.parametrize("name", [n for n in NAMES if _core.activations()[n]["trainable"]])
def test_activation_can_be_chosen_by_name(name):
    """In `Dense`, the estimators and the command line."""
    net = cmlp.Sequential(cmlp.Dense(3, 4, name), cmlp.Dense(4, 2), seed=0)
    assert np.isfinite(net.predict(np.ones((2, 3)))).all()
    parameters = pytest.importorskip("cmlp.estimators.parameters", exc_type=ImportError)
    says(name in parameters.ACTIVATIONS, name, "ACTIVATIONS of cmlp/estimators/parameters.py")
    pytest.importorskip("click")
    from cmlp.cli.options import HIDDEN_ACTIVATIONS

    if name != "softmax":
        says(name in HIDDEN_ACTIVATIONS, name, "HIDDEN_ACTIVATIONS of cmlp/cli/options.py")


def export_or_refuse(write, path):
    """True if a file was written; otherwise there is one clear error and no file."""
    try:
        write(path)
    except ValueError as error:
        assert re.search(r"the net has the activation '\w+', which .* cannot express", str(error))
        assert not path.exists()
        return False
    return True


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_activation_in_c_gives_what_predict_gives(name, dtype, tmp_path):
    net = between_dense(KINDS[name], dtype)
    if not export_or_refuse(net.to_c, tmp_path / "net.c"):
        return
    library = tmp_path / "net.so"
    command = [COMPILER, "-std=c99", "-shared", "-fPIC", "-o", library, tmp_path / "net.c", "-lm"]
    subprocess.run(command, check=True)
    x = rows(net, 100)
    y = np.empty((100, net.n_out), dtype)
    function = ctypes.CDLL(str(library)).predict
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    for a, b in zip(x, y, strict=True):
        function(a.ctypes.data, b.ctypes.data)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(y, net.predict(x), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_activation_in_onnx_gives_what_predict_gives(name, dtype, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    net, path = between_dense(KINDS[name], dtype), tmp_path / "net.onnx"
    if not export_or_refuse(net.to_onnx, path):
        return
    x = rows(net, 100)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    np.testing.assert_allclose(y, net.predict(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_activation_in_torch_goes_there_and_back(name):
    pytest.importorskip("torch")
    net = between_dense(KINDS[name], "float64")
    if KINDS[name].forms.torch is None:
        with pytest.raises(ValueError, match=r"layers\[1\] is .*; PyTorch has no such layer"):
            cmlp.to_torch(net)
        return
    back, x = cmlp.from_torch(cmlp.to_torch(net)), rows(net, 100)
    assert [repr(layer) for layer in back.layers] == [repr(layer) for layer in net.layers]
    assert np.array_equal(back.predict(x), net.predict(x))


@pytest.mark.parametrize("name", NAMES)
def test_activation_in_sklearn_or_refused(name):
    pytest.importorskip("sklearn")
    net = cmlp.Sequential(cmlp.Dense(3, 4, name), cmlp.Dense(4, 1), dtype="float64", seed=0)
    x = np.random.default_rng(0).normal(size=(20, 3))
    try:
        theirs = cmlp.to_sklearn(net)
    except ValueError as error:
        assert name in str(error)
        return
    np.testing.assert_allclose(theirs.predict(x), net.predict(x)[:, 0], rtol=1e-10)


@pytest.mark.parametrize("form", ["c", "onnx"])
def test_a_form_that_is_missing_is_refused_before_a_file_is_written(form, tmp_path, monkeypatch):
    """In a layer, in a `Dense`, and as what turns outputs into probabilities."""
    if form == "onnx":
        pytest.importorskip("onnx")
    monkeypatch.setattr(cmlp.Sigmoid, "forms", replace(cmlp.Sigmoid.forms, **{form: None}))
    nets = [
        alone(cmlp.Sigmoid, "float32"),
        cmlp.Sequential(cmlp.Dense(2, 2, "sigmoid"), seed=0),
        cmlp.Sequential(cmlp.Dense(2, 1), seed=0),
    ]
    nets[2].link = "sigmoid"
    path = tmp_path / "net"
    for net, task in zip(nets, (None, None, "classifier"), strict=True):
        with pytest.raises(ValueError, match="the net has the activation 'sigmoid', which"):
            getattr(net, f"to_{form}")(path, task)
        assert not path.exists()


# ---- losses and optimizers -------------------------------------------------------------------


@pytest.mark.parametrize("name", _core.losses())
def test_loss(name):
    places = {
        "LOSSES of tests/formulas.py": name in LOSSES,
        "cmlp_loss of cmlp/__init__.pxd": declared(name),
        "cmlp/losses.py, a class and its place in _BUILT_IN": name in losses.KINDS
        or name in OF_MODELS,
    }
    everywhere(name, places)
    if name in OF_MODELS:
        return
    kind = losses.KINDS[name]
    says(kind.__name__ in losses.__all__, kind.__name__, "__all__ of cmlp/losses.py")
    says(is_public(kind), kind.__name__, "__all__ of cmlp/__init__.py")
    loss = kind()
    assert losses.from_config(losses.to_config(loss)).config() == loss.config()
    default = _core.losses()[name]["param"]
    assert (loss.param or 0.0) == (default or 0.0), f"{loss!r} has not the core's parameter"


@pytest.mark.parametrize("name", losses.KINDS)
def test_loss_can_be_chosen_by_name(name):
    kind = losses.KINDS[name]
    parameters = pytest.importorskip("cmlp.estimators.parameters", exc_type=ImportError)
    assert (name in parameters.LOSSES) == kind.of_numbers
    pytest.importorskip("click")
    from cmlp.cli.build import LOSSES as CHOICES

    says(kind in CHOICES.values(), name, "LOSSES of cmlp/cli/build.py")


@pytest.mark.parametrize("name", losses.KINDS)
def test_link_of_a_loss_can_be_exported(name):
    link = losses.KINDS[name].link
    if link is not None:
        forms = plain.Function(link).forms
        says(forms.c is not None, link, "Function.forms of cmlp/export/model.py, in C")
        says(forms.onnx is not None, link, "Function.forms of cmlp/export/model.py, in ONNX")


@pytest.mark.parametrize("name", _core.optimizers())
def test_optimizer(name):
    places = {
        "RULES of tests/formulas.py": name in RULES,
        "cmlp_optimizer_kind of cmlp/__init__.pxd": declared(name),
        "cmlp/optimizers.py, a class and its place in _BUILT_IN": name in optimizers.KINDS,
    }
    everywhere(name, places)
    assert list(RULES[name].slots) == _core.optimizers()[name]["slots"]
    kind = optimizers.KINDS[name]
    says(kind.__name__ in optimizers.__all__, kind.__name__, "__all__ of cmlp/optimizers.py")
    says(is_public(kind), kind.__name__, "__all__ of cmlp/__init__.py")
    optimizer = kind()
    assert optimizers.from_config(optimizers.to_config(optimizer)).config() == optimizer.config()
    for setting, value in RULES[name].defaults.items():
        assert getattr(optimizer, setting) == value, f"{setting} differs in tests/formulas.py"


@pytest.mark.parametrize("name", optimizers.KINDS)
def test_optimizer_can_be_chosen_by_name(name, points):
    estimators = pytest.importorskip("cmlp.estimators", exc_type=ImportError)
    net = estimators.MLPClassifier((4,), solver=name, max_iter=2, tol=1.0, random_state=0)
    net.set_params(n_iter_no_change=10, max_iter=1).partial_fit(*points, classes=[0, 1, 2])
    assert np.isfinite(net.loss_)
    pytest.importorskip("click")
    from cmlp.cli.build import OPTIMIZERS

    says(name in OPTIMIZERS, name, "OPTIMIZERS of cmlp/cli/build.py")


# ---- names that docstrings list by hand ----


def listed(owner, parameter):
    """The names between quotes in a docstring's text on a parameter."""
    text = re.search(rf"^{parameter} : .*?(?=^\S)", inspect.getdoc(owner), re.M | re.S)
    return set(re.findall(r'"(\w+)"', text[0]))


@pytest.mark.parametrize(
    ("function", "parameter", "names"),
    [
        (cmlp.kernels.loss_delta, "loss", losses.KINDS),
        (cmlp.kernels.update, "kind", optimizers.KINDS),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_docstrings_of_the_kernels_list_what_there_is(function, parameter, names):
    assert listed(function, parameter) == set(names), f"{parameter} of cmlp/kernels.py"


def test_docstrings_of_the_estimators_list_what_there_is():
    estimators = pytest.importorskip("cmlp.estimators", exc_type=ImportError)
    parameters = estimators.parameters
    classifier = estimators.MLPClassifier
    for found, expected, place in (
        (listed(classifier, "activation"), parameters.ACTIVATIONS, "activation of MLPClassifier"),
        (listed(classifier, "solver"), {"lbfgs", *optimizers.KINDS}, "solver of MLPClassifier"),
        (listed(estimators.MLPRegressor, "loss"), parameters.LOSSES, "loss of MLPRegressor"),
    ):
        assert found == set(expected), place


# ---- kinds of layers -------------------------------------------------------------------------


ARGUMENTS = {
    cmlp.Dense: {"n_in": 3, "n_out": 3},
    cmlp.Conv2D: {"channels_in": 1, "channels_out": 2, "kernel": 2, "padding": 1},
    cmlp.MaxPool2D: {"kernel": (1, 2)},
    cmlp.AvgPool2D: {"kernel": (1, 2)},
    cmlp.SubSample2D: {"kernel": (1, 2)},
    cmlp.Reshape: {"shape": (3, 1, 1)},
}
WITHOUT_EXPORT = ["conv", "max_pool", "average_pool", "subsample", "reshape"]


def n_in_of(layer):
    """What the layer can be built for: planes, and for those that take none a number."""
    return (1, 1, 3) if isinstance(layer, Window) else 3


@pytest.mark.parametrize("layer", [cmlp.Conv2D(1, 2, 2), cmlp.MaxPool2D(2)], ids=repr)
def test_layers_that_no_export_has_yet_are_refused(layer, tmp_path):
    net = cmlp.Sequential(layer, n_in=(1, 4, 4), seed=0)
    with pytest.raises(ValueError, match=r"layers\[0\], \w+2D.*cannot be exported"):
        net.to_c(tmp_path / "net.c")
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"layers\[0\] is \w+2D.*; PyTorch has no such layer"):
        cmlp.to_torch(net)


@pytest.mark.parametrize("kind", _core.layer_kinds())
def test_layer_kind(kind):
    made = {core.kind for layer in every_layer() for core in layer.build(n_in_of(layer)).cores}
    places = {
        "STEPS of cmlp/export/model.py": kind in plain.STEPS or kind in WITHOUT_EXPORT,
        "cmlp_layer_kind of cmlp/__init__.pxd": declared(kind),
        "a file of cmlp/layers/, a class and its place in _BUILT_IN of registry.py": kind in made,
    }
    everywhere(kind, places)


def every_layer():
    """One of each class of layer."""
    kinds = registry.from_config
    names = [name for name in layers.__all__ if isinstance(vars(layers)[name], type)]
    classes = [vars(layers)[name] for name in names]
    return [
        kinds({"class": kind.__name__, **ARGUMENTS.get(kind, {})})
        for kind in classes
        if issubclass(kind, layers.Layer) and kind not in (layers.Layer, layers.Activation)
    ]


@pytest.mark.parametrize("layer", every_layer(), ids=repr)
def test_layer_is_public_and_goes_into_files(layer, tmp_path):
    says(type(layer).__name__ in cmlp.__all__, type(layer).__name__, "__all__ of cmlp/__init__.py")
    net = cmlp.Sequential(layer, n_in=n_in_of(layer), seed=0)
    net.save(tmp_path / "net.safetensors")
    assert repr(cmlp.load(tmp_path / "net.safetensors").layers[0]) == repr(layer)


def test_a_kind_without_export_is_refused_before_a_file_is_written(tmp_path, monkeypatch):
    monkeypatch.delitem(plain.STEPS, "dropout")
    net = cmlp.Sequential(cmlp.Dense(2, 2), cmlp.Dropout(0.5), seed=0)
    with pytest.raises(ValueError, match=r"layers\[1\], Dropout.*cannot be exported"):
        net.to_c(tmp_path / "net.c")
    assert not (tmp_path / "net.c").exists()


# ---- instruction sets ------------------------------------------------------------------------


def isas_of_cmake():
    return sorted(set(re.findall(r'(?m)(?:^ +|CMLP_ISA_TABLE )"(\w+)\|', source("CMakeLists.txt"))))


def test_instruction_sets_are_everywhere():
    tiles, dispatch = source("src/kernels/tiles.h"), source("src/dispatch.c")
    sweep, found = source("tests/c/sweep.c"), isas_of_cmake()
    assert set(_core.available_isas()) <= set(found)
    for isa in found:
        says(f"can_run_{isa}(" in dispatch, isa, "src/dispatch.c, as can_run_" + isa)
        says(f'"{isa}"' in sweep, isa, "the sets and the bounds of tests/c/sweep.c")
        if isa != "reference":
            says(f"CMLP_ISA_{isa}" in tiles, isa, "src/kernels/tiles.h")
