"""The program in the README runs and does what its output there says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def block(language: str) -> str:
    """The first block of the README in a language."""
    if not README.exists():
        pytest.skip("no README beside the tests")
    match = re.search(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert match is not None
    return match[1]


def test_program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(block("python"), "README.md", "exec"), {})
    got, want = shown.getvalue().splitlines(), block("text").splitlines()
    # The last digits of the accuracy may differ between instruction sets.
    accuracy = [float(lines.pop(0).removeprefix("accuracy ")) for lines in (got, want)]
    assert got == want
    assert accuracy[0] == pytest.approx(accuracy[1], abs=0.012)
