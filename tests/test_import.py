import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cmlp

HEAVY = ["safetensors", "json", "numpy.random", "rich", "scipy", "sklearn", "matplotlib", "click"]


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout


def test_import_brings_in_nothing_heavy():
    program = "import numpy, sys; before = set(sys.modules)\nimport cmlp\n"
    program += f"print([m for m in {HEAVY} if m in sys.modules and m not in before])"
    assert run(program).strip() == "[]"


def test_later_names_are_found_at_first_use():
    program = "import sys, cmlp\nassert 'cmlp.export.files' not in sys.modules\ncmlp.load\n"
    program += "print(cmlp.load.__module__, 'load' in vars(cmlp))"
    assert run(program).split() == ["cmlp.export.files", "True"]


def test_unknown_names():
    with pytest.raises(AttributeError, match="module 'cmlp' has no attribute 'Transformer'"):
        cmlp.Transformer  # noqa: B018


def test_listing():
    assert set(cmlp.__all__) <= set(dir(cmlp))
    assert sorted(cmlp.__all__) == sorted(set(cmlp.__all__))


@pytest.mark.parametrize(
    "name",
    sorted(set(cmlp.__all__) - {"cli", "estimators", "plots", "models", "graph", "datasets"}),
)
def test_every_name_is_there(name):
    if name.startswith("MLP"):
        pytest.importorskip("sklearn")
    assert getattr(cmlp, name) is not None


# What each extra brings, by the names it is imported under.
EXTRAS = {
    "cli": ["click", "rich"],
    "sklearn": ["sklearn", "scipy", "joblib", "threadpoolctl"],
    "plots": ["matplotlib"],
    "data": ["pooch", "pyarrow"],
    "export": ["onnx", "onnxruntime"],
    "others": ["jax", "torch", "river", "pandas", "polars"],
}
EXTRAS["all"] = [name for names in EXTRAS.values() for name in names]
HIDING = """
import sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in NAMES:
            return self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


@pytest.mark.parametrize("extra", EXTRAS)
def test_everything_that_is_there_can_be_imported(extra):
    program = f"NAMES = {EXTRAS[extra]}{HIDING}before = set(globals()) | {{'before'}}\n"
    program += "from cmlp import *\nprint(*sorted(set(globals()) - before))"
    estimators = {"MLPClassifier", "MLPRegressor", "estimators"}
    expected = set(cmlp.__all__) - (estimators if "sklearn" in EXTRAS[extra] else set())
    assert set(run(program).split()) == expected


@pytest.mark.parametrize("name", ["MLPClassifier", "estimators"])
def test_what_is_not_there_says_what_to_install(name):
    program = "import sys\nsys.modules['sklearn'] = None\nimport cmlp\n"
    program += f"try: cmlp.{name}\nexcept ImportError as error: print(error)"
    assert "pip install cmlp[sklearn]" in run(program)


def test_a_checkout_that_is_not_compiled_says_what_to_do(tmp_path):
    package = Path(cmlp.__file__).parent
    copied = shutil.ignore_patterns("*.so", "*.pyd", "*.pyx", "__pycache__", "data")
    shutil.copytree(package, tmp_path / "cmlp", ignore=copied)
    paths = [str(tmp_path), str(Path(np.__file__).parent.parent)]
    program = f"import sys\nsys.path[:0] = {paths}\n"
    program += "try: import cmlp\nexcept ImportError as error: print(error)"
    text = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert text.startswith(f"cmlp is not compiled in {tmp_path / 'cmlp'}: install it (pip install")
    assert text.count("\n") == 1


def test_version():
    assert cmlp.__version__ == cmlp.info()["version"]


def test_documented():
    found = {name: vars(cmlp).get(name) for name in cmlp.__all__}
    assert [n for n, value in found.items() if callable(value) and not value.__doc__] == []
