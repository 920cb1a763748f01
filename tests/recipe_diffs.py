"""The worked examples of CONTRIBUTING as changes of files."""

from __future__ import annotations

import re
from pathlib import Path

_BLOCK = re.compile(r"^```diff\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", re.DOTALL | re.MULTILINE)

# A place of a file: (" ", "-" or "+", line) of each line.
Place = list[tuple[str, str]]


def recipes(text: str) -> dict[str, list[tuple[str, Place]]]:
    """Heading -> (path, place) of every place that the diffs below it change."""
    found = {}
    for heading, body in _SECTION.findall(text):
        places = [place for block in _BLOCK.findall(body) for place in _places(block)]
        if places:
            found[heading] = places
    return found


def _places(block: str) -> list[tuple[str, Place]]:
    found: list[tuple[str, Place]] = []
    path = ""
    for line in block.splitlines():
        if line.startswith("--- "):
            path = line[4:]
        if line.startswith("--- ") or line == "@@":
            found.append((path, []))
        else:
            found[-1][1].append((line[:1] or " ", line[1:]))
    return found


def _plain(line: str) -> str:
    """A line without its spaces, which a formatter may have moved."""
    return "".join(line.split())


def changed(text: str, place: Place, path: str) -> str:
    """The text of a file after the change.

    Raises
    ------
    ValueError
        If the lines that stay or go are not in it, or are in it more than once.
    """
    lines = text.splitlines()
    old = [_plain(line) for sign, line in place if sign != "+"]
    plain = [_plain(line) for line in lines]
    starts = [i for i in range(len(lines)) if plain[i : i + len(old)] == old]
    if len(starts) != 1:
        first = next(line for sign, line in place if sign != "+")
        raise ValueError(
            f"CONTRIBUTING changes {path} at {first.strip()!r}, which is there {len(starts)} times"
        )
    kept = iter(lines[starts[0] : starts[0] + len(old)])
    new = []
    for sign, line in place:
        if sign == "+":
            new.append(line)
        elif sign == "-":
            next(kept)
        else:
            new.append(next(kept))
    lines[starts[0] : starts[0] + len(old)] = new
    return "\n".join(lines) + "\n"


def apply(root: Path, places: list[tuple[str, Place]]) -> None:
    """Change the files below a folder."""
    for path, place in places:
        file = root / path
        file.write_text(changed(file.read_text(encoding="utf-8"), place, path), encoding="utf-8")
