"""check_coverage.py REPORT FOLDER...: lines of cmlp/ and src/ that the tests run and do not run.

REPORT is coverage's JSON for Python; in the folders lie the counts of gcc's programs (.gcda).
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

LEAST = 95.0  # per cent of the lines of each folder

Lines = dict[str, dict[int, bool]]


def python_lines(report: Path) -> Lines:
    """The lines that Python ran or did not run."""
    files = json.loads(report.read_text())["files"]
    return {
        name: dict.fromkeys(found["executed_lines"], True)
        | dict.fromkeys(found["missing_lines"], False)
        for name, found in files.items()
    }


def c_lines(folders: list[Path]) -> Lines:
    """A line counts as run if it is in any of the objects that hold it."""
    lines: Lines = defaultdict(lambda: defaultdict(bool))
    for counts in sorted(path for folder in folders for path in folder.rglob("*.gcda")):
        command = ["gcov", "--json-format", "--stdout", counts.name]
        text = subprocess.run(command, cwd=counts.parent, stdout=subprocess.PIPE, check=True).stdout
        report = json.loads(text)
        for file in report["files"]:
            path = Path(report["current_working_directory"], file["file"]).resolve()
            place = cython_places(path) if path.name == "_core.c" else None
            for line in file["lines"]:
                number, name = line["line_number"], str(path)
                if place is not None:
                    name, number = place[number]
                lines[name][number] |= line["count"] > 0
    here = f"{Path.cwd()}/"
    return {name.removeprefix(here): found for name, found in lines.items()}


def cython_places(path: Path) -> list[tuple[str, int]]:
    """For each line of generated C, counted from 1, the file and line that it was made of.

    Cython says so in a comment above what it makes of a line; what comes before the first comment,
    and after the code of the last function, is of its own making.
    """
    places, place = [("", 0)], ("", 0)
    for text in path.read_text().splitlines():
        if found := re.match(r'\s*/\* "(?:.*/)?(cmlp/_core\w*\.(?:pyx|pxi))":(\d+)$', text):
            place = (found[1], int(found[2]))
        elif re.match(r"\s*/\* \"|}$|static |/\*", text):
            place = ("", 0)
        places.append(place)
    return places


def spans(numbers: list[int]) -> str:
    """[3, 4, 5, 9] as "3-5, 9"."""
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][1] + 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def show(folder: str, lines: Lines) -> float:
    """Print the files of a folder; the per cent of its lines that ran."""
    run = total = 0
    for name in sorted(name for name in lines if name.startswith(folder)):
        missing = sorted(n for n, ran in lines[name].items() if not ran)
        run, total = run + len(lines[name]) - len(missing), total + len(lines[name])
        share = 100 - 100 * len(missing) / max(1, len(lines[name]))
        print(f"{name:32} {share:6.1f} %  {spans(missing)}")
    share = 100 * run / max(1, total)
    print(f"{folder:32} {share:6.1f} %  of {total} lines\n")
    return share


lines = {**c_lines([Path(folder) for folder in sys.argv[2:]]), **python_lines(Path(sys.argv[1]))}
shares = [show(folder, lines) for folder in ("src/", "cmlp/")]
if min(shares) < LEAST:
    sys.exit(f"less than {LEAST} % of the lines of a folder run in the tests")
