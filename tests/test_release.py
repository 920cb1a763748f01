"""What a release needs: one version everywhere, its notes from the changelog."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / ".ci/release_notes.py"

if not (SCRIPT.exists() and (ROOT / "src/cmlp.h").exists()):
    pytest.skip("no sources beside the tests", allow_module_level=True)


def version():
    return re.search(r'#define CMLP_VERSION "([^"]+)"', (ROOT / "src/cmlp.h").read_text())[1]


@pytest.fixture
def checkout(tmp_path):
    """The files that the script reads, with a changelog of its own."""
    for name in (".ci/release_notes.py", "src/cmlp.h"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())

    def run(tag, changelog):
        (tmp_path / "CHANGELOG.md").write_text(changelog)
        command = [sys.executable, str(tmp_path / ".ci/release_notes.py"), tag]
        return subprocess.run(command, capture_output=True, text=True)

    return run


def test_notes_are_the_entry_of_the_version(checkout):
    changelog = (
        f"# Changes\n\n## {version()}, 2026-12-31\n\n- new\n\n## 0.0.1, 2026-01-01\n\n- old\n"
    )
    run = checkout(f"v{version()}", changelog)
    assert (run.returncode, run.stdout) == (0, "- new\n")


@pytest.mark.parametrize(
    ("tag", "changelog", "says"),
    [
        ("v99.0.0", "## 99.0.0, 2026-12-31\n\n- new\n", "the tag is v99.0.0; expected"),
        (f"v{version()}", "## 0.0.1, 2026-12-31\n\n- old\n", "CHANGELOG.md has no entry of"),
        (
            f"v{version()}",
            f"## {version()}, not released\n\n- new\n",
            "expected the day of the release",
        ),
    ],
    ids=["another version", "no entry", "no date"],
)
def test_what_does_not_fit_is_refused(checkout, tag, changelog, says):
    run = checkout(tag, changelog)
    assert run.returncode == 1
    assert says in run.stderr


def test_citation_and_changelog_name_the_version():
    assert f"\nversion: {version()}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version()}, " in (ROOT / "CHANGELOG.md").read_text()
