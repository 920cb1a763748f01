"""Model files between Python and the C library: each reads what the other wrote."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import pairwise

import mutations
import numpy as np
import pytest
from native import PROGRAMS, ROOT, needs_compiler, program, run

import cmlp
from cmlp.layers.activations import activation_names

pytestmark = [
    *needs_compiler,
    pytest.mark.skipif(not PROGRAMS.exists(), reason="no sources beside the tests"),
]
DTYPES = ["float32", "float64"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def files(folder):
    """A program that reads models, predicts, and writes them again."""
    return program(folder / "files", PROGRAMS / "files.c")


def others():
    """A net for every other kind of layer, and every activation in both forms."""
    yield cmlp.Dropout(0.25)
    yield cmlp.PReLU(0.125)
    yield cmlp.RReLU(0.1, 0.3)
    yield cmlp.LeakyReLU(0.2)
    yield cmlp.ELU(0.7)
    yield cmlp.Dense(6, 6, bias=False)
    yield cmlp.Dense(6, 6, activation=cmlp.LeakyReLU(0.3))
    for name in activation_names():
        yield cmlp.Dense(6, 6, activation=name)
        yield {cls().activation: cls for cls in cmlp.layers.Activation.__subclasses__()}[name]()


def nets():
    for dtype in DTYPES:
        for layer in others():
            yield cmlp.Sequential(cmlp.Dense(4, 6), layer, cmlp.Dense(6, 3), dtype=dtype, seed=1)


def x_of(net):
    rng = np.random.default_rng(5)
    return rng.normal(size=(3, net.n_in)).astype(net.dtype)


def through_c(files, folder, net):
    """What the C library makes of a saved net: its outputs, and the file that it writes."""
    net.save(folder / "python.safetensors")
    x_of(net).tofile(folder / "x")
    run(
        files,
        "copy",
        folder / "python.safetensors",
        folder / "x",
        folder / "c.safetensors",
        cwd=folder,
    )
    y = np.fromfile(folder / "y", net.dtype).reshape(3, net.n_out)
    return y, cmlp.load(folder / "c.safetensors")


def test_every_kind_of_layer(files, folder):
    covered = set()
    for net in nets():
        covered |= {type(layer).__name__ for layer in net.layers}
        y, back = through_c(files, folder, net)
        assert np.array_equal(y, net.predict(x_of(net))), net
        assert repr(back) == repr(net)
        assert back.seed == net.seed
        assert np.array_equal(back.get_flat(), net.get_flat())
    from cmlp.layers.registry import _BUILT_IN

    assert covered == set(_BUILT_IN) - {
        "Conv2D", "MaxPool2D", "AvgPool2D", "SubSample2D", "Reshape", "Flatten",
    }  # fmt: skip


def test_what_else_a_net_has(files, folder):
    net = cmlp.Sequential(cmlp.Dense(4, 3), seed=2**64 - 1)
    net.classes, net.link = np.array(["a", "b\u00e4", "c\u2028"]), "softmax"
    net.metadata = {"a": [1, 2.5, None, "\ud800", {"x": 10**40}], "\u00e4": True}
    _, back = through_c(files, folder, net)
    assert back.classes.tolist() == net.classes.tolist()
    assert (back.link, back.metadata, back.seed) == (net.link, net.metadata, net.seed)


@pytest.mark.parametrize("frozen", [(), (0,), (0, 2)])
def test_frozen_layers(files, folder, frozen):
    net = cmlp.Sequential(cmlp.Dense(4, 3), cmlp.ReLU(), cmlp.Dense(3, 2), seed=0)
    for i in frozen:
        net.layers[i].trainable = False
    _, back = through_c(files, folder, net)
    assert [i for i, layer in enumerate(back.layers) if not layer.trainable] == list(frozen)


def test_checkpoints(files, folder):
    contents = mutations.checkpoints(folder)
    for content in contents[:2]:
        path = folder / "checkpoint"
        path.write_bytes(content)
        net = cmlp.load(path)
        x_of(net).tofile(folder / "x")
        run(files, "copy", path, folder / "x", folder / "c.safetensors", cwd=folder)
        assert np.array_equal(cmlp.load(folder / "c.safetensors").get_flat(), net.get_flat())


def test_a_net_made_in_c(files, folder):
    run(files, "make", folder / "made.safetensors")
    net = cmlp.load(folder / "made.safetensors")
    assert [type(layer).__name__ for layer in net.layers] == ["Dense", "Dropout", "Dense"]
    assert repr(net.layers[0]) == "Dense(4, 8, activation='elu', param=0.5)"
    assert (net.classes, net.link, net.metadata) == (None, None, {})
    assert 0.5 < net.layers[0].weight.std() < 0.9  # He: sqrt(2 / 4)


@cmlp.register_layer
class Own:
    """A layer written in Python."""

    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy

    def config(self):
        return {}


def test_a_layer_in_python_is_refused(files, folder):
    net = cmlp.Sequential(cmlp.Dense(4, 3), Own(), seed=0)
    net.save(folder / "own")
    done = subprocess.run([files, "read", folder / "own"], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search("own: class of layer 1 is not one of the library's own", done.stdout)


def verdicts(files, paths):
    """(refused, message) of the C library for each of the files; fails if it crashes."""
    done = subprocess.run([files, "read", *paths], capture_output=True, text=True, errors="replace")
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths)
    return [(not line.startswith("read "), line) for line in lines]


# What Python checks of labels, and C leaves to whom they concern.
ONLY_PYTHON = re.compile("classes is|link is")


def damaged(folder, seed, count):
    contents = {
        "model": mutations.models(folder)[:3],
        "checkpoint": mutations.checkpoints(folder)[:2],
    }
    for i in range(count):
        _, data = mutations.mutated(seed, i, contents)
        path = folder / f"damaged-{i}"
        path.write_bytes(data)
        yield path


def check_damaged(files, folder, seed, count):
    """C reads no file that Python refuses, and both read the same numbers."""
    paths = list(damaged(folder, seed, count))
    read = 0
    for path, (refused, line) in zip(paths, verdicts(files, paths), strict=True):
        try:
            net = cmlp.load(path)
        except cmlp.FormatError as error:
            assert refused or ONLY_PYTHON.search(str(error)), f"{path.name}: {error}"
        else:
            if not refused:
                read += 1
                assert line == f"read {len(net.layers)} {net.n_parameters}"
        path.unlink()
    return read


def test_damaged_files(files, folder):
    assert check_damaged(files, folder, 11, 1500) > 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_damaged_files(seed, files, folder):
    assert check_damaged(files, folder, 100 + seed, 10_000) > 100


def test_the_example(tmp_path):
    """A net trained in Python is used and trained in C, and comes back."""
    digits = cmlp.datasets.digits()
    net = cmlp.Sequential(*(cmlp.Dense(a, b) for a, b in pairwise((64, 32, 10))), seed=0)
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.Adam(0.01))
    trainer.fit(digits.x, digits.y, epochs=1, progress=False)
    net.metadata = {"data": "digits"}
    net.save(tmp_path / "old")
    np.savetxt(tmp_path / "digits.csv", np.c_[digits.x, digits.y], "%.9g", ",")
    saved = program(tmp_path / "saved", ROOT / "examples" / "c" / "saved.c")
    shown = run(saved, "old", "digits.csv", "new", cwd=tmp_path)
    before, after = map(float, re.findall(r"accuracy (\S+)", shown))
    assert abs(before - trainer.evaluate(digits.x, digits.y)["accuracy"]) < 6e-4
    assert after > max(before, 0.95)
    back = cmlp.load(tmp_path / "new")
    assert abs((back.predict(digits.x).argmax(1) == digits.y).mean() - after) < 6e-4
    assert back.metadata == net.metadata and back.link == net.link
    assert json.dumps(back.metadata) in shown
