"""Parquet files, whole and broken."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from table_files import CUT, EDITS, survives

from cmlp.datasets import load_inputs, load_table
from cmlp.errors import FormatError


def parquet_file(folder: Path, columns: dict[str, object]) -> Path:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = folder / "table.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    path = parquet_file(
        tmp_path,
        {
            "a": pa.array([1, 2, 3], pa.int16()),
            "b": [0.5, 1.5, 2.5],
            "on": [True, False, True],
            "kind": pa.array(["u", "v", "u"]).dictionary_encode(),
            "word": ["q", "p", "p"],
        },
    )
    data = load_table(path, features=["b", "a", "on"])
    assert data.x.tolist() == [[0.5, 1, 1], [1.5, 2, 0], [2.5, 3, 1]]
    assert data.x.dtype == np.float64
    assert data.feature_names == ("b", "a", "on")
    assert data.classes == ("p", "q")
    assert data.y.tolist() == [1, 0, 0]
    assert load_table(path, "kind", features=["a"]).classes == ("u", "v")
    assert load_table(path, "on", features=["a"]).classes == ("False", "True")
    assert load_table(path, "b", features=["a"]).y.tolist() == [[0.5], [1.5], [2.5]]
    assert load_inputs(path, features=["a"]).tolist() == [[1], [2], [3]]
    with pytest.raises(FormatError, match="row 1, column 'kind': 'u' is not a number"):
        load_table(path)
    with pytest.raises(ValueError, match="has no column 'c', it has 'a', 'b', 'on'"):
        load_table(path, "c")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"a": [1.0, None], "y": [1, 2]},
            "row 2, column 'a': the cell is empty, expected a number",
        ),
        ({"a": [1.0, float("nan")], "y": [1, 2]}, "row 2, column 'a': nan is not a finite number"),
        ({"a": [[1.0], [2.0]], "y": [1, 2]}, "column 'a' is of type 'list"),
        ({"a": [1.0], "y": [float("inf")]}, "row 1, column 'y': inf is not a finite number"),
        ({"y": [1, 2]}, "no column is left for the inputs"),
    ],
)
def test_parquet_faults(tmp_path: Path, columns: dict, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        load_table(parquet_file(tmp_path, columns))


def test_parquet_damage_and_absence(tmp_path: Path) -> None:
    path = parquet_file(tmp_path, {"a": [1.0, 2.0], "y": [1, 2]})
    content = path.read_bytes()
    for broken in (b"", content[:-5], content[:4] + bytes(20) + content[24:], b"PAR1PAR1"):
        path.write_bytes(broken)
        with pytest.raises(FormatError, match="not a whole Parquet file"):
            load_table(path)
    with pytest.raises(FileNotFoundError):
        load_table(tmp_path / "none.parquet")


def test_parquet_that_claims_too_much(tmp_path: Path) -> None:
    path = parquet_file(tmp_path, dict.fromkeys("abcdefgh", np.zeros(10**6, np.int8)))
    with pytest.raises(FormatError, match="claims 1000000 rows of 8 columns in"):
        load_table(path)


def test_parquet_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install cmlp\[data\]"):
        load_table(tmp_path / "table.parquet")


def parquet_bytes() -> bytes:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    stream = io.BytesIO()
    parquet.write_table(pa.table({"a": np.arange(5.0), "y": list("uvuvu")}), stream)
    return stream.getvalue()


@given(edits=EDITS, cut=CUT)
@settings(max_examples=100, deadline=None)
def test_parquet_survives_mutation(tmp_path_factory, edits, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.parquet"
    survives(path, parquet_bytes(), edits, cut)
