"""The file that mypy checks names all of the public API, and is a program that runs."""

import ast
import importlib
import runpy
from pathlib import Path

import pytest

import cmlp

FILE = Path(__file__).parent / "typing" / "public_api.py"
TREE = ast.parse(FILE.read_text(encoding="utf-8"))
PROGRAMS = [node.name for node in TREE.body if isinstance(node, ast.FunctionDef)]
NEEDS = {
    "command_line": "rich",
    "exports": "onnx",
    "for_river": "river",
    "for_sklearn": "sklearn",
    "lbfgs": "scipy",
    "peers": "sklearn",
    "pictures": "matplotlib",
    "torch": "torch",
}
PACKAGE = Path(cmlp.__file__).parent
# The modules and rooms that list their names; the others are parts.
MODULES = [
    path.stem
    for path in sorted([*PACKAGE.glob("[!_]*.py"), *PACKAGE.glob("[!_]*/")])
    for file in [path / "__init__.py" if path.is_dir() else path]
    if file.is_file() and "__all__" in file.read_text(encoding="utf-8")
]


def names_in_use() -> set[str]:
    """`name` of the package, `module.name`, however either was imported."""
    used = {ast.unparse(node) for node in ast.walk(TREE) if isinstance(node, ast.Attribute)}
    for node in TREE.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cmlp"):
            used |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("cmlp.") for name in used}


def test_every_name_of_the_package():
    assert set(cmlp.__all__) - names_in_use() == set()


@pytest.mark.parametrize("module", MODULES)
def test_every_name_of_a_module(module):
    if module == "estimators":
        pytest.importorskip("sklearn")
    if module == "plots":
        pytest.importorskip("matplotlib")
    found, used = importlib.import_module(f"cmlp.{module}"), names_in_use()
    of_package = {
        n for n in cmlp.__all__ if n in found.__all__ and vars(found)[n] is getattr(cmlp, n)
    }
    assert {n for n in found.__all__ if f"{module}.{n}" not in used} - of_package == set()


def test_every_member():
    """Of the classes that people call most."""
    used = {name.rpartition(".")[2] for name in names_in_use()}
    kinds = [cmlp.Sequential, cmlp.Trainer, cmlp.History, cmlp.Restarts, cmlp.datasets.Dataset]
    for kind in [*kinds, cmlp.datasets.Split, cmlp.datasets.Standardizer]:
        members = {*vars(kind), *vars(kind).get("__annotations__", {})}
        assert {name for name in members if not name.startswith("_")} - used == set(), kind


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_it_runs(name, tmp_path, monkeypatch):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    if name == "pictures":
        pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(FILE))[name]()
