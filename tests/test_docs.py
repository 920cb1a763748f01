"""The programs on the pages of the documentation run and print what the pages say."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import cmlp

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="no documentation beside the tests")


class Block(NamedTuple):
    """A block of code, and the block of text right behind it, which is what it prints."""

    language: str
    line: int
    code: str
    printed: str | None


def blocks(page: Path, *languages: str) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    result = []
    for i, match in enumerate(found):
        behind = found[i + 1] if i + 1 < len(found) else None
        if match[1] not in languages:
            continue
        follows = behind is not None and not text[match.end() : behind.start()].strip()
        printed = behind[2] if behind and behind[1] == "text" and follows else None
        line = text.count("\n", 0, match.start(2))
        result.append(Block(match[1], line, match[2], printed))
    return result


def pages_with(*languages: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, *languages)]


def few_digits(folder: str, *, download: bool = False) -> cmlp.datasets.Dataset:
    """Stands for MNIST, which a test does not fetch."""
    x = np.random.default_rng(0).random((200, 784), dtype=np.float32)
    y = np.arange(200) % 10
    return cmlp.datasets.Dataset("mnist", x, y, tuple(range(10)), None, (28, 28), n_test=40)


@pytest.mark.parametrize("page", pages_with("python", "pycon"), ids=lambda page: page.stem)
def test_programs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cmlp.datasets, "mnist", few_digits)
    text = page.read_text(encoding="utf-8")
    if "plots." in text:
        pytest.importorskip("matplotlib").use("Agg")
    if "to_onnx" in text:
        pytest.importorskip("onnxruntime")
    names: dict[str, object] = {}
    runners = {"python": run_program, "pycon": run_session, "console": run_commands}
    for block in blocks(page, *runners):
        if "import torch" in block.code and find_spec("torch") is None:
            continue  # only those who run the benchmarks have it
        runners[block.language](block, page, names)


def run_program(block: Block, page: Path, names: dict[str, object]) -> None:
    program = compile("\n" * block.line + block.code, str(page), "exec")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(program, names)
    if block.printed is not None:
        assert shown.getvalue() == block.printed, f"{page.name}, line {block.line}"


def run_session(block: Block, page: Path, names: dict[str, object]) -> None:
    session = doctest.DocTestParser().get_doctest(
        block.code, names, page.stem, str(page), block.line
    )
    names.update(session.globs)
    session.globs = names
    result = doctest.DocTestRunner(verbose=False).run(session, clear_globs=False)
    assert result.attempted and not result.failed


def run_commands(block: Block, page: Path, names: dict[str, object]) -> None:
    """Those of cmlp itself; benchmarks have tests of their own."""
    for line in block.code.splitlines():
        words = shlex.split(line.removeprefix("$ "))
        if words[0] == "cmlp" and words[1] != "bench":
            pytest.importorskip("rich")
            subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True)


def compiler() -> str:
    found = shutil.which(os.environ.get("CC", "cc"))
    if found is None:
        pytest.skip("no C compiler")
    return found


def c_programs() -> list[object]:
    return [
        pytest.param(block.code, id=page.stem)
        for page in pages_with("c")
        for block in blocks(page, "c")
        if "--8<--" not in block.code
    ]


@pytest.mark.parametrize("code", c_programs())
def test_c_compiles(code, tmp_path):
    source = tmp_path / "program.c"
    source.write_text(code)
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    subprocess.run([compiler(), *warnings, f"-I{cmlp.get_include()}", source], check=True)


def test_every_page_is_in_the_navigation():
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES:
        name = page.relative_to(DOCS).as_posix()
        assert f" {name}\n" in listed, f"{name} is not in mkdocs.yml"
