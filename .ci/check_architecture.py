"""check_architecture.py [FOLDER]: what each file may know, and how long it may be.

The import order of cmlp/ is checked by import-linter, stack frames by the compiler.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

LONGEST = 600  # lines of a file


@dataclass(frozen=True)
class Rule:
    """A pattern that may occur, comments aside, in some files of src/ alone."""

    what: str
    pattern: str
    only: tuple[str, ...] = ()


def kinds(header: Path) -> str:
    """A pattern of the names of all kinds of layers."""
    found = re.search(r"typedef enum \{([^}]*)\} cmlp_layer_kind;", header.read_text())
    if found is None:
        sys.exit(f"{header} has no cmlp_layer_kind")
    names = re.findall(r"\bCMLP_\w+", without_comments(found[1]))
    return rf"\b({'|'.join(names)})\b"


def rules(root: Path) -> list[Rule]:
    """Who may know what."""
    return [
        Rule(
            "a layer's kind is asked for outside of src/layers/",
            kinds(root / "src" / "cmlp.h"),
            ("src/layers/*", "src/cmlp.h"),
        ),
        # arrays.c packs what it is given for one call: those panels are stored nowhere.
        Rule(
            "the order of packed weights is used outside of src/panels.*",
            r"(->|\.)(un)?pack\(|(->|\.)transpose\(|\bnr_t\b",
            ("src/panels.[ch]", "src/kernels/*", "src/arrays.c"),
        ),
        Rule(
            "threads are used outside of src/threads.c",
            r"#\s*pragma omp|\bpthread|\bthreads\.h\b",
            ("src/threads.c",),
        ),
        Rule(
            "OpenMP's settings are read outside of src/processors.c",
            r"\bomp\.h|\bomp_\w+\(",
            ("src/processors.c", "src/threads.c"),
        ),
        Rule("the C library knows Python", r"\bPython\.h\b|\bPyObject\b"),
    ]


def without_comments(text: str) -> str:
    """C without comments, its lines where they were."""
    return re.sub(
        r"/\*.*?\*/|//[^\n]*", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL
    )


def broken_rules(root: Path) -> list[str]:
    """The lines of src/ that know what they may not."""
    found = []
    listed = rules(root)
    for path in sorted((root / "src").rglob("*.[ch]")):
        name = path.relative_to(root).as_posix()
        lines = without_comments(path.read_text(encoding="utf-8")).splitlines()
        for rule in listed:
            if any(fnmatch(name, allowed) for allowed in rule.only):
                continue
            found += [
                f"{name}:{number}: {rule.what}: {line.strip()}"
                for number, line in enumerate(lines, 1)
                if re.search(rule.pattern, line)
            ]
    return found


def tracked(root: Path, *options: str) -> list[str]:
    """Files under version control."""
    command = ["git", "ls-files", "-z", *options]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True)
    return [name for name in done.stdout.decode().split("\0") if name]


def long_files(root: Path) -> list[str]:
    """Files of code that are too long."""
    found = []
    for name in tracked(root, "--", "src", "cmlp", "tests", "bench", ".ci"):
        if not (root / name).is_file():  # deleted, and not yet told to git
            continue
        lines = (root / name).read_bytes().count(b"\n")
        if lines > LONGEST and not name.endswith((".npz", ".png")):
            found.append(f"{name}: {lines} lines, expected at most {LONGEST}")
    return found


def made_files(root: Path) -> list[str]:
    """Files that a tool makes and .gitignore names, but that are under version control."""
    listed = tracked(root, "--cached", "--ignored", "--exclude-standard")
    return [f"{name}: is made by a tool, and under version control" for name in listed]


def problems(root: Path) -> list[str]:
    """Everything that is wrong, a line each."""
    return [*broken_rules(root), *long_files(root), *made_files(root)]


if __name__ == "__main__":
    found = problems(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    sys.exit("\n".join(found) or 0)
