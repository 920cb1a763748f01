"""check_demo.py OUTPUT: the table that `cmlp train` ends with; every row, at least 97 % right."""

import re
import sys
from pathlib import Path

ROWS = {
    "test accuracy": r"\d+\.\d+ %",
    "epochs": r"\d+",
    "seconds": r"\d+(\.\d+)?",
    "samples per second": r"\d+",
    "threads": r"\d+",
    "instruction set": r"avx512|avx2|v2|neon|reference",
    "model": r"digits\.safetensors",
    "picture": r"digits\.png",
}

text = Path(sys.argv[1]).read_text()
found = {}
for row, pattern in ROWS.items():
    match = re.search(rf"^{row}: ({pattern})$", text, re.MULTILINE)
    if match is None:
        sys.exit(f"no row {row!r} that reads {pattern!r} in:\n{text}")
    found[row] = match[1]
if float(found["test accuracy"].removesuffix(" %")) < 97:
    sys.exit(f"test accuracy: {found['test accuracy']}, expected at least 97 %")
print(f"demo: {found['test accuracy']} in {found['seconds']} s")
