"""What the tests of tables share: files, what reading them takes, damage."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from cmlp.datasets import load_table
from cmlp.errors import FormatError


def csv_file(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def npz_file(folder: Path, **arrays: object) -> Path:
    path = folder / "table.npz"
    np.savez(path, **arrays)
    return path


def peak_of_load(path: Path, task: str = "auto") -> tuple[int, int]:
    """Most bytes of Python and NumPy at once while a table is read, and those of its arrays."""
    tracemalloc.start()
    try:
        data = load_table(path, task=task)
        return tracemalloc.get_traced_memory()[1], data.x.nbytes + data.y.nbytes
    finally:
        tracemalloc.stop()


EDITS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=4)


CUT = st.one_of(st.just(0), st.integers(-40, 40))


def survives(path: Path, content: bytes, edits: list[tuple[int, int]], cut: int) -> None:
    """Overwrite bytes, shorten or lengthen; the file is read or refused, and little is taken."""
    data = bytearray(content)
    for place, value in edits:
        data[place % len(data)] = value
    path.write_bytes(bytes(data[:cut]) if cut < 0 else bytes(data) + bytes(cut))
    try:
        load_table(path)
    except FormatError as error:
        assert str(path) in str(error)
    except ValueError as error:
        # What a whole file can be refused for: it lacks a column, or does not fit the task.
        assert str(error).startswith(("target: ", "task: "))
