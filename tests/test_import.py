import subprocess
import sys

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


def test_version():
    assert cmlp.__version__ == cmlp.info()["version"]


def test_documented():
    found = {name: vars(cmlp).get(name) for name in cmlp.__all__}
    assert [n for n, value in found.items() if callable(value) and not value.__doc__] == []
