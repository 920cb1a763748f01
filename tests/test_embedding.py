"""The C library in the package: programs and extension modules find it, build with it and run.

The commands are those of the page on embedding, run in a copy of the examples.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
from native import INCLUDE, LIBRARY, ROOT, needs_compiler, run, tool

import cmlp

PAGE = ROOT / "docs" / "embedding.md"
WORD = re.compile(r"\b(?:cmlp|CMLP)_\w+")

pytestmark = needs_compiler


def blocks(language: str, word: str) -> str:
    """The page's blocks of code in this language that have the word in them, in order."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    chosen = [block for block in found if word in block]
    assert chosen, f"no {language} block with {word}"
    return "".join(chosen)


def with_pkg_config() -> str:
    """The page's commands with pkg-config; eval reads a space in a path as pkg-config writes it."""
    return blocks("sh", "cc -std=c11").replace("cc -std", "eval cc -std")


XOR = "0 xor 0 = 0.00\n0 xor 1 = 1.00\n1 xor 0 = 1.00\n1 xor 1 = 0.00\n"


@pytest.fixture
def copy(tmp_path):
    """A folder out of the checkout with the examples in it."""
    folder = tmp_path / "copy"
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


def test_what_the_package_has():
    assert f'#define CMLP_VERSION "{cmlp.__version__}"' in (INCLUDE / "cmlp.h").read_text()
    assert list(LIBRARY.glob("*cmlp.*"))
    assert (LIBRARY / "cmake" / "cmlp" / "cmlpConfig.cmake").exists()
    assert (LIBRARY / "pkgconfig" / "cmlp.pc").exists()


def test_page_shows_the_output():
    assert XOR in blocks("text", "xor")


def test_cmake(copy):
    tool("cmake")
    assert run("bash", "-ec", blocks("sh", "-Dcmlp_DIR"), cwd=copy).endswith(XOR)


def test_pkg_config(copy):
    tool("pkg-config")
    tool("cc")
    shown = run("bash", "-ec", with_pkg_config(), cwd=copy)
    assert shown.startswith(XOR)
    assert "1438 images to train on, 359 to test\n" in shown
    accuracy = re.search(r"test accuracy (\S+)\n", shown)
    assert accuracy and float(accuracy[1]) > 0.95


@pytest.mark.parametrize(
    ("compiler", "name", "standard"),
    [("cc", "digits.c", "-std=c11"), ("c++", "app.cpp", "-std=c++11")],
)
def test_no_warnings(compiler, name, standard, copy):
    source = copy / "examples" / "c" / name
    if not source.exists():
        source.write_text("#include <cmlp.h>\nint main() { return cmlp_has_openmp() < 0; }\n")
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    run(tool(compiler), standard, *warnings, f"-I{INCLUDE}", source)


def test_a_program_s_own_short_names_stay_its_own(tmp_path):
    source = tmp_path / "app.c"
    source.write_text("#define T float\n#define R 1\n#include <cmlp.h>\nT x = R;\n")
    run(tool("cc"), "-Werror", "-fsyntax-only", f"-I{INCLUDE}", source)


def test_symbols_have_the_prefix():
    """Names without it would clash with those of a program that links the library."""
    if sys.platform != "linux":
        pytest.skip("other systems write symbols in other ways")
    shown = run(tool("nm"), "-g", "--defined-only", LIBRARY / "libcmlp.a")
    names = [line.split()[2] for line in shown.splitlines() if len(line.split()) == 3]
    assert len(names) > 100
    assert [name for name in names if not name.startswith("cmlp_")] == []


def test_versions(tmp_path):
    lines = "cmake_minimum_required(VERSION 3.20)\nproject(app LANGUAGES C)\n"
    (tmp_path / "CMakeLists.txt").write_text(f"{lines}find_package(cmlp 99 REQUIRED)\n")
    command = [tool("cmake"), "-S", tmp_path, "-B", tmp_path / "build"]
    done = subprocess.run(
        [*command, f"-Dcmlp_DIR={LIBRARY}/cmake/cmlp"], capture_output=True, text=True
    )
    assert done.returncode and "99" in done.stderr and cmlp.__version__ in done.stderr
    pkg_config = run(
        tool("pkg-config"), "--modversion", "cmlp", env={"PKG_CONFIG_PATH": f"{LIBRARY}/pkgconfig"}
    )
    assert pkg_config == f"{cmlp.__version__}\n"


def test_cython_declares_what_the_header_does():
    header = run(tool("cc"), "-E", "-P", INCLUDE / "cmlp.h")
    declared = (resources.files(cmlp) / "__init__.pxd").read_text()
    macros = {"CMLP_VERSION", "CMLP_NO_PARAM"}
    inside = {"CMLP_FROM_OUTPUT", "CMLP_FROM_INPUT"}  # of the table of activations
    assert set(WORD.findall(declared)) - macros == set(WORD.findall(header)) - inside


def test_cython_package(copy, monkeypatch):
    pytest.importorskip("Cython")
    tool("cc")
    try:
        pytest.importorskip("setuptools.command.bdist_wheel", reason="setuptools before 70.1")
    except pytest.skip.Exception:
        pytest.importorskip("wheel.bdist_wheel", reason="neither setuptools 70.1 nor wheel")
    package, target = copy / "examples" / "cython_package", copy / "installed"
    options = ["--no-build-isolation", "--no-index", "--no-deps", f"--target={target}"]
    run(sys.executable, "-m", "pip", "install", *options, package, env={"CFLAGS": "-O0 -g0"})
    monkeypatch.syspath_prepend(target)
    import tinynet

    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    t = np.array([[0], [1], [1], [0]], np.float32)
    net = tinynet.Net(2, 8, 1)
    losses = net.fit(x, t, epochs=500)
    assert losses.shape == (500,) and losses[-1] < 1e-3 < losses[0]
    np.testing.assert_allclose(net.predict(x), t, atol=0.05)
    with pytest.raises(ValueError, match="^x: "):
        net.predict(x[:, :1].copy())


def test_cimport_of_the_package_by_name(tmp_path):
    pytest.importorskip("Cython")
    source = tmp_path / "app.pyx"
    source.write_text("cimport cmlp\ndef isa():\n    return cmlp.cmlp_isa()\n")
    run(sys.executable, "-m", "cython", "-3", source)
    assert "cmlp_isa()" in source.with_suffix(".c").read_text()


@pytest.fixture(scope="module")
def sources():
    if not (ROOT / "src").exists():
        pytest.skip("no sources beside the tests")
    return ["CMakeLists.txt", "cmake", "src"]


@pytest.mark.slow
def test_without_python(copy, sources):
    tool("cmake")
    for name in sources:
        (copy / name).symlink_to(ROOT / name)
    assert run("bash", "-ec", blocks("sh", "-DCMLP_PYTHON=OFF"), cwd=copy).endswith(XOR)
    # All of it may be moved; and pkg-config finds it there.
    prefix = (copy / "prefix").rename(copy / "moved")
    pc = next(prefix.rglob("cmlp.pc"))
    commands = with_pkg_config().replace("export PKG_CONFIG_PATH", "unused")
    env = {"PKG_CONFIG_PATH": str(pc.parent)}
    assert XOR in run("bash", "-ec", commands, cwd=copy, env=env)


@pytest.mark.slow
def test_as_a_folder_of_a_project(tmp_path, sources):
    (tmp_path / "CMakeLists.txt").write_text(blocks("cmake", "add_subdirectory"))
    shutil.copy(ROOT / "examples" / "c" / "xor.c", tmp_path / "app.c")
    (tmp_path / "third_party").mkdir()
    (tmp_path / "third_party" / "cmlp").symlink_to(ROOT)
    build = tmp_path / "build"
    run(tool("cmake"), "-S", tmp_path, "-B", build)
    run(tool("cmake"), "--build", build, "-j2")
    assert run(build / "app") == XOR
