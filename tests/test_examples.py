"""The examples run, and print the lecture notes' own numbers."""

import doctest
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples"

NUMBERS = {
    "boolean_nets": [
        " and: 0.00000, 0.00005, 0.00005, 0.99995 for [0, 0, 0, 1]",
        "xnor: 0.99995, 0.00005, 0.00005, 0.99995 for [1, 0, 0, 1]",
        "w = [2.0, -4.0], b = -1, output: identity",
        "x = (0, 0)  h = (0, 0)  y = -1",
        "x = (0, 1)  h = (1, 0)  y = 1",
        "x = (1, 0)  h = (1, 0)  y = 1",
        "x = (1, 1)  h = (2, 1)  y = -1",
        "w = [1.0, -2.0], b = 0, output: relu",
        "x = (1, 1)  h = (2, 1)  y = 0",
    ],
    "classification": ["gradient (y - t) x + lambda w at the end", "OneVsRest"],
    "digits": ["1438 images of (8, 8) pixels to train on, 359 to test"],
    "graph_basics": [
        "f = -12, df/dx = -4, df/dy = -4, df/dz = 3",
        "f = 0.7311, and f (1 - f) = 0.1966",
        "du/dr = 1.379093, 2 r sin^2 t      = 1.379093",
        "du/dt = 9.256181, (r^2 + 2) sin 2t = 9.256181",
    ],
    "layers_by_hand": ["weights apart: less than 1e-12", "by backpropagation"],
    "optimisation": [
        "Normal(std=0.01): 0.0100",
        "fan='in'): 0.0500",
        "He(distribution='normal'): 0.0707",
        "1 warning; units still alike after 20 epochs: True",
    ],
    "points_2d": ["4 units, learning rate 0.03", "sin x1, sin x2: right"],
    "regression": [
        "dE/db   = -0.147124, (y - t) y (1 - y)   = -0.147124",
        "dE/dw   = (-0.073562, 0.147124), delta x = (-0.073562, 0.147124)",
    ],
    "rosenbrock": ["f = 12.5000, ", "g = 0.5: w = 0.614000, by hand 0.614000", "w = 0.205560"],
    "several_starts": ["<- the best"],
    "softmax_jacobian": [
        "   0.08193  -0.02203  -0.05989\n  -0.02203   0.18484  -0.16280\n",
        "   0.09003   0.24473  -0.33476\nh - t\n   0.09003   0.24473  -0.33476\n",
        "softmax(u + 100)\n   0.09003   0.24473   0.66524\n",
        "0.26894   0.73106   0.26894",
    ],
    "vanishing_gradients": ["sigmoid: ", "tanh: ", "relu: "],
    "xor_by_least_squares": [
        "closed form: w = (0.0000, 0.0000), b = 0.5000",
        "gradient: w = (0.0000, 0.0000), b = 0.5000",
        "ADALINE: w = (0.0000, 0.0000), b = 0.5000",
        "and, Perceptron      : 100%",
        " or, batch Perceptron: 100%",
        "xor, Perceptron      : 50%",
    ],
}
PICTURES = ["digits", "points_2d", "vanishing_gradients"]
# Of no lecture.
OTHERS = ["cartpole"]


def run(name, monkeypatch, capsys, *arguments):
    """What an example prints."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def test_every_example_is_here():
    assert sorted([*NUMBERS, *OTHERS]) == sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", sorted(set(NUMBERS) - set(PICTURES)))
def test_numbers(name, monkeypatch, capsys):
    printed = run(name, monkeypatch, capsys)
    for number in NUMBERS[name]:
        assert number in printed


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name, monkeypatch, capsys, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    path = tmp_path / "picture.png"
    printed = run(name, monkeypatch, capsys, str(path))
    pyplot.close("all")
    for number in [*NUMBERS[name], f"picture: {path}"]:
        assert number in printed
    assert path.stat().st_size > 5000


def test_pole_is_kept_upright(monkeypatch, capsys):
    """The mean of the last twenty episodes is 195 of 200 steps, and the same each time."""
    first, again = (run("cartpole", monkeypatch, capsys) for _ in range(2))
    assert int(re.search(r"cmlp: \d+ steps at first, (\d+) after", first)[1]) >= 195
    episodes = r"^  \d+ episodes"
    assert re.findall(episodes, first, re.MULTILINE) == re.findall(episodes, again, re.MULTILINE)


@pytest.mark.parametrize("seed", range(1, 6))
def test_pole_is_kept_upright_from_any_start(seed):
    example = runpy.run_path(str(FOLDER / "cartpole.py"))
    lengths, _ = example["train"](example["Policy"](seed), seed)
    assert np.mean(lengths[-20:]) >= 195


def test_page_of_the_lecture_notes():
    page = ROOT / "docs" / "from-the-lecture-notes.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert tried > 20 and not failed


def test_page_names_every_example():
    page = (ROOT / "docs" / "from-the-lecture-notes.md").read_text(encoding="utf-8")
    for name in NUMBERS:
        assert f"`{name}.py`" in page
