"""What tests of the command line on tables share."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from cmlp.cli.app import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder: (exit code, output, what went to standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*args, **settings):
        result = CliRunner().invoke(app, [str(arg) for arg in args], **settings)
        return result.exit_code, result.stdout, result.stderr

    return call


def told(text):
    """The lines "name: value" of an output."""
    return dict(line.split(": ", 1) for line in text.splitlines())
