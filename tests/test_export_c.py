"""C files: they compile without a warning, and compute the same numbers."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess

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
from hypothesis import given
from hypothesis import strategies as st

import cmlp
from cmlp.export.c import _number, _string

COMPILER = shutil.which(os.environ.get("CC", "cc"))
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"]
CASES = [(make, dtype) for make in LAYERS for dtype in DTYPES]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


def compile_all(folder):
    """One library of all the files in a folder."""
    library = folder / "nets.so"
    sources = sorted(folder.glob("*.c"))
    subprocess.run(
        [COMPILER, *STRICT, "-fPIC", "-shared", "-o", library, *sources, "-lm"], check=True
    )
    return ctypes.CDLL(str(library))


def call(function, x, n_out):
    """What a function returns and writes for each row."""
    y = np.empty((len(x), n_out), x.dtype)
    pointers = zip(x.ctypes.data + x.strides[0] * np.arange(len(x)),
                   y.ctypes.data + y.strides[0] * np.arange(len(x)), strict=True)  # fmt: skip
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    returned = [function(int(a), int(b)) for a, b in pointers]
    return returned, y


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The nets of this file, each under a name of its own, in one library."""
    folder = tmp_path_factory.mktemp("library")
    for i, (make, dtype) in enumerate(CASES):
        between_dense(make, dtype).to_c(folder / f"net{i}.c", name=f"net{i}")
        alone(make, dtype).to_c(folder / f"alone{i}.c", name=f"alone{i}")
    for i, name in enumerate(CLASSIFIERS):
        net, _ = CLASSIFIERS[name]()
        net.to_c(folder / f"class{i}.c", task="classifier", name=f"class{i}")
    classifier(3, link="sigmoid").to_c(folder / "several.c", task="multilabel", name="several")
    return compile_all(folder)


@needs_compiler
@pytest.mark.parametrize("i", range(len(CASES)), ids=[f"{n}-{d}" for n in NAMES for d in DTYPES])
def test_every_layer(i, library):
    make, dtype = CASES[i]
    net = between_dense(make, dtype)
    x = rows(net, 2000)
    _, y = call(library[f"net{i}"], x, net.n_out)
    np.testing.assert_allclose(y, net.predict(x), rtol=0, atol=TOLERANCE[dtype])

    net, x = alone(make, dtype), far_values(dtype)
    _, y = call(library[f"alone{i}"], x, 4)
    t = TOLERANCE[dtype]
    np.testing.assert_allclose(y, net.predict(x), rtol=t, atol=t / 10)


@needs_compiler
def test_infinity_and_nan_pass_as_in_predict(library):
    x = np.array([[np.inf, -np.inf, np.nan, 1.0]], np.float32)
    for i, (make, dtype) in enumerate(CASES):
        if dtype == "float32" and make is not cmlp.Softmax:
            _, y = call(library[f"alone{i}"], x, 4)
            np.testing.assert_allclose(y, alone(make, dtype).predict(x), rtol=1e-6)


@needs_compiler
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name, library):
    net, labels = CLASSIFIERS[name]()
    i = list(CLASSIFIERS).index(name)
    x = surely(net, rows(net, 2000))
    returned, p = call(library[f"class{i}"], x, len(labels))
    np.testing.assert_allclose(p, probabilities(net, x), atol=1e-5)
    assert returned == places(net, x).tolist()
    kinds = {str: ctypes.c_char_p, float: ctypes.c_double}
    kind = kinds.get(type(labels[0]), ctypes.c_longlong) * len(labels)
    stored = list(kind.in_dll(library, f"class{i}_classes"))
    assert [s.decode() if isinstance(s, bytes) else s for s in stored] == labels


@needs_compiler
def test_multilabel(library):
    net = classifier(3, link="sigmoid")
    x = rows(net, 1000)
    _, p = call(library["several"], x, 3)
    np.testing.assert_allclose(p, net.predict_proba(x), atol=1e-5)


@needs_compiler
def test_results_may_overwrite_the_input(library):
    make, dtype = CASES[-1]
    net = alone(make, dtype)
    x = rows(net, 1)
    wanted = net.predict(x)
    library[f"alone{len(CASES) - 1}"](
        ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(x.ctypes.data)
    )
    np.testing.assert_allclose(x, wanted)


@needs_compiler
def test_the_program_in_the_file(tmp_path):
    net, labels = CLASSIFIERS["two, strings"]()
    net.to_c(tmp_path / "net.c", task="classifier", name="ask")
    program = tmp_path / "program"
    command = [COMPILER, *STRICT, "-Dask_MAIN", "-o", program, tmp_path / "net.c", "-lm"]
    subprocess.run(command, check=True)
    x = rows(net, 3)
    text = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in x)
    shown = subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in shown.splitlines()]
    assert [line[0] for line in lines] == [labels[i] for i in places(net, x)]
    found = np.array([line[1:] for line in lines], float)
    np.testing.assert_allclose(found, probabilities(net, x), atol=1e-5)


@needs_compiler
def test_fitted_estimators(tmp_path, points):
    pytest.importorskip("sklearn")
    x, y = points
    settings = {"hidden_layer_sizes": 8, "max_iter": 20, "tol": 0.1, "random_state": 0}
    ours = cmlp.MLPClassifier(**settings).fit(x, y)
    rates = cmlp.MLPRegressor(loss="poisson", **settings).fit(x, 1.0 + y)
    ours.to_c(tmp_path / "a.c", name="ours")
    rates.to_c(tmp_path / "b.c", name="rates")
    library = compile_all(tmp_path)
    returned, p = call(library["ours"], x, 3)
    assert ours.classes_[returned].tolist() == ours.predict(x).tolist()
    np.testing.assert_allclose(p, ours.predict_proba(x), atol=1e-12)
    np.testing.assert_allclose(call(library["rates"], x, 1)[1][:, 0], rates.predict(x))


# ---- the text --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_exact(dtype, tmp_path):
    net = cmlp.Sequential(cmlp.Dense(7, 3), dtype=dtype, seed=0)
    w = np.random.default_rng(1).normal(size=(3, 7)).astype(dtype)
    limits = np.finfo(dtype)
    w[0, :5] = [limits.max, -limits.tiny, limits.smallest_subnormal, 0.1, -0.0]
    net.layers[0].weight = w
    net.to_c(tmp_path / "net.c")
    text = (tmp_path / "net.c").read_text()
    body = re.search(r"predict_w0\[21\] = \{(.*?)\}", text, re.DOTALL)[1]
    found = np.array([float.fromhex(t.strip().rstrip("f")) for t in body.split(",")[:-1]])
    assert np.array_equal(found.astype(dtype).reshape(7, 3).T, w)
    assert np.signbit(found.reshape(7, 3)[4, 0])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_is_exact(value):
    text = _number(value, "double")
    assert float.fromhex(text) == value
    assert np.signbit(float.fromhex(text)) == np.signbit(value)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_label_is_a_string_of_c(label):
    text = _string(label)
    assert text.isascii() and text.isprintable()
    assert not set(text[1:-1]) & set('"?')
    read = re.sub(rb"\\(\d{3})", lambda found: bytes([int(found[1], 8)]), text[1:-1].encode())
    assert read.decode() == label


def test_the_comment_tells_what_there_is(tmp_path):
    net = between_dense(cmlp.ReLU, "float64")
    net.to_c(tmp_path / "net.c")
    comment = (tmp_path / "net.c").read_text().split("*/")[0]
    assert "void predict(const double *x, double *y);" in comment
    assert "x: 6 inputs; y: 4 outputs." in comment
    assert f"{(9 + 4) * 8} bytes of stack" in comment


@pytest.mark.parametrize(
    "name",
    ["", "2net", "a-b", "ü", "double", "main", "expf", "x", "a b", "round", "sin", "remove", "j0"],
)
def test_names_that_are_none(name, tmp_path):
    with pytest.raises(ValueError, match=f"name is {name!r}; expected letters"):
        classifier(3).to_c(tmp_path / "net.c", name=name)
    with pytest.raises(TypeError, match="name is 3"):
        classifier(3).to_c(tmp_path / "net.c", name=3)
    assert not (tmp_path / "net.c").exists()


@needs_compiler
@pytest.mark.parametrize("name", ["e", "most", "high", "mains", "sinus"])
def test_names_that_functions_in_the_file_use(name, tmp_path):
    layers = [cmlp.Dense(3, 3, f) for f in ("sigmoid", "softsign", "softmax")]
    cmlp.Sequential(*layers, seed=0).to_c(tmp_path / "net.c", "classifier", name)
    for extra in ([], [f"-D{name}_MAIN"]):
        command = [COMPILER, *STRICT, "-Wshadow", "-c", "-o", tmp_path / "net.o", *extra]
        subprocess.run([*command, tmp_path / "net.c"], check=True)


def test_layers_in_python_are_refused(tmp_path):
    net = cmlp.Sequential(cmlp.Dense(2, 2), Doubling(), seed=0)
    with pytest.raises(ValueError, match=r"layers\[1\], Doubling\(\), is written in Python"):
        net.to_c(tmp_path / "net.c")
    assert not (tmp_path / "net.c").exists()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        classifier(3).to_c(tmp_path / "missing" / "net.c")
