"""Imports within cmlp go one way: the contracts of import-linter that stand in pyproject.toml.

import-linter takes the compiled `cmlp._core` for the whole package, so that the contracts leave
imports of the package out; here it is checked that there are none.
"""

import ast
import sys
from pathlib import Path

from importlinter.cli import lint_imports

PACKAGE = Path("cmlp")


def parent_of(path: Path, node: ast.ImportFrom) -> Path:
    """The folder that ``from .`` or ``from ..`` names in a file."""
    return path.parents[node.level - 1]


def is_part(name: str) -> bool:
    """Whether the package has a room or a module of this name."""
    return (PACKAGE / name).is_dir() or any(PACKAGE.glob(f"{name}.py*"))


def imports_of_package(path: Path) -> list[str]:
    """Lines of a file that import from the package what is neither a module nor a room of it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "cmlp"]
        elif not isinstance(node, ast.ImportFrom):
            continue
        elif node.level == 0:
            names = [node.module] if node.module and node.module.split(".")[0] == "cmlp" else []
        elif node.module is None and parent_of(path, node) == PACKAGE:
            names = [alias.name for alias in node.names if not is_part(alias.name)]
        else:
            names = []
        found += [f"{path}:{node.lineno}: {name}" for name in names]
    return found


wrong = [line for path in sorted(PACKAGE.rglob("*.py")) for line in imports_of_package(path)]
if wrong:
    sys.exit(
        "imports of the package itself; expected relative ones of its parts:\n" + "\n".join(wrong)
    )

# The checkout is to be read, and not what the finder of an editable install adds to it.
sys.meta_path = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]
sys.exit(lint_imports())
