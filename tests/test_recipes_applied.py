"""CONTRIBUTING's worked examples, done literally in a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from recipe_diffs import apply, changed, recipes

ROOT = Path(__file__).parents[1]
if not (ROOT / "src").is_dir():
    pytest.skip("no sources here", allow_module_level=True)
RECIPES = recipes((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
NAMES = {"An activation": "mish", "A loss": "log_cosh", "An optimizer": "signum"}
CLASSES = {
    "An activation": "cmlp/layers/activations.py",
    "A loss": "cmlp/losses.py",
    "An optimizer": "cmlp/optimizers.py",
}
CHECKED = ["test_recipes.py", "test_typing.py", "test_import.py", "test_kernels.py"]
CHECKED += ["test_attributes.py"]
CHECKED += ["test_core_layers.py", "test_estimators.py", "test_cli.py"]
ALSO = {
    "An activation": ["activations", "numbers", "layers", "export_c", "export_onnx", "gradients"],
    "A loss": ["losses", "gradients"],
    "An optimizer": ["optimizers"],
}


def test_there_is_a_recipe_for_each():
    assert set(RECIPES) == set(NAMES)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_fits_the_sources(recipe):
    files = {path: (ROOT / path).read_text(encoding="utf-8") for path, _ in RECIPES[recipe]}
    for path, place in RECIPES[recipe]:
        files[path] = changed(files[path], place, path)
        if path.endswith(".py"):
            compile(files[path], path, "exec")


# ---- slow ----


class Copy:
    """The checkout's files elsewhere, and a Python that has them as its package."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("cmake", "cmlp", "docs", "examples", "src", "tests"):
            leave = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(ROOT / name, folder / name, ignore=leave)
        for file in ROOT.iterdir():
            if file.is_file():
                shutil.copy(file, folder)
        env = folder / "env"
        self.run(sys.executable, "-m", "venv", "--without-pip", env)
        self.python = env / "bin" / "python"
        # Only what these .pth files name is found, and not an editable cmlp among it.
        packages = [path for path in sys.path if path.endswith("-packages")]
        (where,) = env.glob("lib/python*/site-packages")
        (where / "copy.pth").write_text("\n".join([str(folder), *packages]))

    def run(self, *command: str | Path, **settings: object) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        env = {**os.environ, "PATH": path}
        if command[0] != "cmake" and " " in env.get("CC", ""):
            del env["CC"]  # the tests take it for a program's name
        return subprocess.run(
            command, cwd=self.folder, env=env, text=True, stdin=subprocess.DEVNULL, **settings
        )

    def succeed(self, *command: str | Path) -> None:
        done = self.run(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout[-6000:]

    def build(self) -> None:
        options = ["-DCMLP_TESTS=ON", "-DCMLP_WERROR=ON", f"-DPython_EXECUTABLE={self.python}"]
        if include := os.environ.get("SKBUILD_CMAKE_DEFINE"):  # where Python.h was unpacked
            options.append(f"-D{include}")
        self.succeed("cmake", "-S", ".", "-B", "build", "-G", "Ninja", *options)
        self.succeed("cmake", "--build", "build")
        for module in (self.folder / "build").glob("_core*.so"):
            shutil.copy(module, self.folder / "cmlp")

    def tests(self, *files: str) -> subprocess.CompletedProcess[str]:
        paths = [f"tests/{file}" for file in files]
        command = [self.python, "-m", "pytest", "-q", "--no-header", *paths]
        return self.run(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def headers():
    """Python.h, as `make` finds it."""
    if Path(sysconfig.get_path("include"), "Python.h").exists():
        yield
        return
    script = ROOT / ".venv" / "headers" / "env.sh"
    if not script.exists() or not script.read_text():
        pytest.skip("no Python.h")
    shown = subprocess.run(
        ["bash", "-c", f'. "{script}" && env'], capture_output=True, text=True, check=True
    ).stdout
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CPATH", "SKBUILD_CMAKE_DEFINE"):
            patch.setenv(name, re.search(rf"^{name}=(.*)$", shown, re.MULTILINE)[1])
        yield


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_done_literally(recipe, tmp_path, headers):
    for tool in ("cmake", "ninja"):
        if shutil.which(tool, path=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}") is None:
            pytest.skip(f"no {tool}")
    copy, name, places = Copy(tmp_path / "copy"), NAMES[recipe], RECIPES[recipe]
    core = [place for place in places if place[0].startswith(("src/", "cmlp/_core"))]

    # The core alone: the enumerating test says what is missing.
    apply(copy.folder, core)
    copy.build()
    shown = copy.tests("test_recipes.py")
    assert shown.returncode == 1, shown.stdout[-6000:]
    sweep = ["tests/c/sweep.c"] if recipe == "An activation" else []
    for missing in ("cmlp/__init__.pxd", "tests/formulas.py", CLASSES[recipe], *sweep):
        assert re.search(rf"'{name}' is missing: add it to .*{missing}", shown.stdout), missing

    # All of it.
    apply(copy.folder, [place for place in places if place not in core])
    copy.build()
    done = copy.tests(*CHECKED, *(f"test_{part}.py" for part in ALSO[recipe]))
    assert done.returncode == 0, done.stdout[-6000:]
    copy.succeed("ctest", "--test-dir", "build", "--output-on-failure")
