"""What .venv is made from, and what is said where nothing on the machine serves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / ".ci" / "environment"

pytestmark = pytest.mark.skipif(
    not SCRIPT.exists() or os.name != "posix" or not shutil.which("bash"),
    reason="no checkout, or no bash",
)
HERE = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with all that making an environment reads."""
    folder = tmp_path / "a check out"
    (folder / ".ci").mkdir(parents=True)
    for name in (".ci/environment", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def python(checkout: Path, version: str, place: str) -> str:
    """A command that says it is that Python, and makes environments without pip of the real one."""
    path = checkout / f"python-{version}"
    path.write_text(
        f'#!/bin/sh\n[ "$1" != -c ] || {{ echo "{version} {place}"; exit; }}\n'
        f'shift 2\nexec "{sys.executable}" -m venv --without-pip "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


def environment(checkout: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run the script, with no Python in the path but the system's."""
    variables.setdefault("PATH", "/usr/bin:/bin")
    return subprocess.run(
        [checkout / ".ci" / "environment", *arguments],
        cwd=checkout,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("version", ["3.10.13", "3.9.0", "2.7.18"])
def test_an_old_python_is_named_and_leaves_nothing(checkout: Path, version: str) -> None:
    done = environment(checkout, python(checkout, version, "/usr"))
    assert done.returncode == 1
    assert "needs Python 3.11 or later" in done.stderr and f"is {version}" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_not_there(checkout: Path) -> None:
    done = environment(checkout, "python3.99")
    assert done.returncode == 1 and "python3.99 does not run" in done.stderr
    assert not (checkout / ".venv").exists()


def test_without_a_compiler_it_says_what_to_install(checkout: Path) -> None:
    done = environment(checkout, sys.executable, CC="no-such-compiler -O2")
    assert done.returncode == 1
    assert "no-such-compiler" in done.stderr and "apt-get install gcc" in done.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.skipif(not shutil.which("cc", path="/usr/bin"), reason="no C compiler")
def test_an_environment_stays_unless_another_python_is_asked_for(checkout: Path) -> None:
    stamp, broken = checkout / ".venv" / "python.stamp", checkout / ".venv" / "bin" / "python"
    broken.parent.mkdir(parents=True)
    broken.write_text("what an interrupted try left behind")
    same = python(checkout, HERE, sys.base_prefix)
    assert environment(checkout, same).returncode == 0
    assert stamp.exists()
    made = subprocess.run([broken, "-V"], capture_output=True, text=True, check=True)
    assert made.stdout.split()[1].startswith(HERE)

    before = stamp.stat().st_mtime_ns
    (checkout / "build").mkdir()
    other = python(checkout, "3.99.0", "/elsewhere")
    for arguments in ([same], [same, "only"], [other], ["python3.99"]):
        assert environment(checkout, *arguments).returncode == 0
        assert stamp.stat().st_mtime_ns == before

    assert environment(checkout, other, "only").returncode == 0
    assert stamp.stat().st_mtime_ns > before
    assert not (checkout / "build").exists()


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize(
    ("arguments", "variable", "expected"),
    [
        ([], None, "'python3'"),
        (["PYTHON=python3.12"], None, "'python3.12' only"),
        ([], "python3.13", "'python3.13' only"),
    ],
)
def test_make_asks_for_the_python_that_was_named(
    checkout: Path, arguments: list[str], variable: str | None, expected: str
) -> None:
    variables = {
        k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "PYTHON", "MFLAGS"))
    }
    if variable:
        variables["PYTHON"] = variable
    done = subprocess.run(
        ["make", "--dry-run", ".venv/python.stamp", *arguments],
        cwd=checkout,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith(f".ci/environment {expected}")
