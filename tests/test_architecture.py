"""The checks of what each file may know find what they are there for."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / ".ci" / "check_architecture.py"

pytestmark = pytest.mark.skipif(
    not SCRIPT.exists() or not shutil.which("git"), reason="no checkout, or no git"
)
HEADER = """
typedef enum { CMLP_DENSE, /* not CMLP_OTHER */ CMLP_NEW } cmlp_layer_kind;
"""


@pytest.fixture(scope="module")
def checks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_architecture", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up there
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository in which nothing is wrong."""
    for name, text in {
        "src/cmlp.h": HEADER,
        "src/layers/dense.c": "int is = CMLP_DENSE;\n",
        "src/panels.c": "void f(void) { k->pack(1); k->transpose(2); }\n",
        "src/threads.c": "#include <omp.h>\n#include <pthread.h>\n",
        "src/plan.c": "/* CMLP_DENSE, k->pack(), pthread\n and Python.h */ int n; // CMLP_NEW\n",
        "cmlp/a.py": "\n" * 600,
        ".gitignore": "__pycache__/\n",
    }.items():
        write(tmp_path, name, text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    return tmp_path


def write(tree: Path, name: str, text: str) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text(text)


def test_a_sound_tree(checks: ModuleType, tree: Path) -> None:
    assert checks.problems(tree) == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("src/plan.c", "\n\nif (kind == CMLP_DENSE)\n", "src/plan.c:3: a layer's kind"),
        ("src/plan.h", "case CMLP_NEW:\n", "src/plan.h:1: a layer's kind"),
        ("src/kernels/a.c", "case CMLP_NEW:\n", "src/kernels/a.c:1: a layer's kind"),
        ("src/plan.c", "/* a\n b */ k->pack(w);\n", "src/plan.c:2: the order of packed weights"),
        ("src/layers/b.c", "p->k->unpack(w);\n", "src/layers/b.c:1: the order of packed weights"),
        ("src/plan.c", "k.transpose(w);\n", "src/plan.c:1: the order of packed weights"),
        ("src/plan.c", "#include <omp.h>\n", "src/plan.c:1: OpenMP's settings are read"),
        ("src/plan.c", "# pragma omp parallel\n", "src/plan.c:1: threads are used"),
        ("src/kernels/a.c", "pthread_t t;\n", "src/kernels/a.c:1: threads are used"),
        ("src/threads.c", "#include <Python.h>\n", "src/threads.c:1: the C library knows Python"),
        ("cmlp/b.py", "\n" * 601, "cmlp/b.py: 601 lines, expected at most 600"),
        ("bench/__pycache__/a.pyc", "\0", "bench/__pycache__/a.pyc: is made by a tool"),
    ],
)
def test_what_may_not_be_is_found(
    checks: ModuleType, tree: Path, name: str, text: str, message: str
) -> None:
    write(tree, name, text)
    subprocess.run(["git", "add", "--force", name], cwd=tree, check=True)
    [found] = checks.problems(tree)
    assert found.startswith(message)


def test_a_deleted_file_is_not_read(checks: ModuleType, tree: Path) -> None:
    (tree / "cmlp" / "a.py").unlink()
    assert checks.problems(tree) == []
