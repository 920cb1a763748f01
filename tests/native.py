"""Commands, and C programs built with the library that the package has in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import cmlp

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "tests" / "c" / "embedding"
INCLUDE = Path(cmlp.get_include())
LIBRARY = Path(cmlp.get_library_dir())
PATH = os.pathsep.join(
    [str(Path(sys.executable).parent), sysconfig.get_path("scripts"), os.environ["PATH"]]
)

# Programs would have to be linked with the sanitizer too.
SPECIAL = any(
    word in file.read_bytes() for file in LIBRARY.glob("*.a") for word in (b"__asan_", b"__gcov_")
)
needs_compiler = [
    pytest.mark.skipif(sys.platform == "win32", reason="the commands are for a shell"),
    pytest.mark.skipif(SPECIAL, reason="the library is built for a sanitizer or for coverage"),
]


def tool(name: str) -> str:
    """Where a command is; the test is skipped where there is none."""
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"no {name}")
    return found


def run(*command: str | Path, **settings) -> str:
    """What a command prints; fails with its errors if it fails."""
    settings["env"] = {**os.environ, "PATH": PATH, **settings.get("env", {})}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **settings
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}"
    return done.stdout


def flags() -> list[str]:
    """What pkg-config says of the library."""
    env = {"PKG_CONFIG_PATH": f"{LIBRARY}/pkgconfig"}
    return run(tool("pkg-config"), "--cflags", "--libs", "cmlp", env=env).split()


def program(target: Path, source: Path, *options: str) -> Path:
    """Compile a C program, or with -shared a library, that has the library in it."""
    warnings = ["-Wall", "-Wextra", "-Werror"]
    run(tool("cc"), "-std=c11", "-O1", "-g", *warnings, source, *options, "-o", target, *flags())
    return target
