"""Prints the changelog's entry of a version: python3 .ci/release_notes.py v0.1.0.

Refuses a tag that is not the version of src/cmlp.h, and an entry that has no date.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def header_version() -> str:
    """Return the version that the C header states."""
    return re.search(r'#define CMLP_VERSION "([^"]+)"', (ROOT / "src/cmlp.h").read_text())[1]


def entry(version: str) -> tuple[str, str]:
    """Return what follows the version in its heading, and the text below."""
    parts = re.split(r"^## (\S+), (.+)\n", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    entries = {
        name: (note, text.strip()) for name, note, text in zip(*[iter(parts[1:])] * 3, strict=True)
    }
    if version not in entries:
        sys.exit(f"CHANGELOG.md has no entry of {version}; it has {', '.join(entries)}")
    return entries[version]


def main(tag: str) -> None:
    """Print the notes of the release that a tag names."""
    if tag != f"v{header_version()}":
        sys.exit(f"the tag is {tag}; expected v{header_version()}, the version in src/cmlp.h")
    date, text = entry(tag[1:])
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
        sys.exit(
            f"the entry of {tag[1:]} says {date!r}; expected the day of the release, as 2026-12-31"
        )
    print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
