"""Tables: CSV, TSV, NPZ and Parquet files, whole and broken."""

from __future__ import annotations

import io
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmlp.datasets import csv, load_inputs, load_table, tables
from cmlp.errors import FormatError


def csv_file(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def npz_file(folder: Path, **arrays: object) -> Path:
    path = folder / "table.npz"
    np.savez(path, **arrays)
    return path


# ---- CSV: what is read -----------------------------------------------------------------------


def test_csv_with_header_and_labels(tmp_path: Path) -> None:
    path = csv_file(tmp_path, 'a,"b, c",kind\n1,2.5,"u"\n-3e1, 4 ,v\n5,6,u\n')
    data = load_table(path)
    assert data.name == "table"
    assert data.x.tolist() == [[1, 2.5], [-30, 4], [5, 6]]
    assert data.x.dtype == np.float32
    assert data.feature_names == ("a", "b, c")
    assert data.classes == ("u", "v")
    assert data.y.tolist() == [0, 1, 0]
    assert data.y.dtype == np.int64


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "a,b,y\n1,2,p\n3,4,q\n"),
        ("t.csv", "a;b;y\n1;2;p\n3;4;q\n"),
        ("t.csv", "a\tb\ty\n1\t2\tp\n3\t4\tq\n"),
        ("t.tsv", "a\tb\ty\n1\t2\tp\n3\t4\tq\n"),
        ("T.CSV", "a,b,y\r\n1,2,p\r\n3,4,q"),
        ("t.csv", "\n\n  \na,b,y\n\n1,2,p\n\n3,4,q\n\n"),
        ("t.csv", "\ufeffa,b,y\n1,2,p\n3,4,q\n"),
        ("t.csv", '"a","b","y"\n"1","2","p"\n"3","4","q"\n'),
        ("t.csv", "a, b, y\n 1 , 2 , p \n 3 , 4 , q \n"),
    ],
)
def test_csv_dialects(tmp_path: Path, name: str, text: str) -> None:
    data = load_table(csv_file(tmp_path, text, name))
    assert data.feature_names == ("a", "b")
    assert data.x.tolist() == [[1, 2], [3, 4]]
    assert data.classes == ("p", "q")


def test_csv_without_header(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "5.1,3.5,setosa\n4.9,3.0,virginica\n")
    data = load_table(path)
    assert data.feature_names == ("1", "2")
    assert len(data) == 2
    assert load_table(path, "1", features=["2"]).y.ravel() == pytest.approx([5.1, 4.9])


def test_csv_header_can_be_forced(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "1,2,k\n3,4,k\n5,6,l\n")
    assert load_table(path).x.shape == (3, 2)
    with_header = load_table(path, header=True)
    assert with_header.feature_names == ("1", "2")
    assert with_header.x.shape == (2, 2)
    path = csv_file(tmp_path, "a,b\n1,2\n")
    with pytest.raises(FormatError, match="line 1, column '1': 'a' is not a number"):
        load_table(path, header=False)


def test_csv_target_and_features_by_name(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "y,a,note,b\nno,1,x,2\nyes,3,x,4\n")
    data = load_table(path, "y", features=["b", "a"])
    assert data.x.tolist() == [[2, 1], [4, 3]]
    assert data.feature_names == ("b", "a")
    assert data.classes == ("no", "yes")


@pytest.mark.parametrize(
    ("cells", "classes", "codes"),
    [
        ("b a b", ("a", "b"), [1, 0, 1]),
        ("10 9 10", (9, 10), [1, 0, 1]),
        ("1 -1 +1", (-1, 1), [1, 0, 1]),
        ("True False True", ("False", "True"), [1, 0, 1]),
    ],
)
def test_labels(tmp_path: Path, cells: str, classes: tuple, codes: list[int]) -> None:
    path = csv_file(tmp_path, "a,y\n" + "".join(f"0,{cell}\n" for cell in cells.split()))
    data = load_table(path)
    assert data.classes == classes
    assert data.y.tolist() == codes


def test_numbers_with_a_point_are_regression(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,y\n0,1.5\n0,2\n0,1.5\n")
    data = load_table(path)
    assert data.classes is None
    assert data.y.tolist() == [[1.5], [2], [1.5]]
    assert data.y.dtype == np.float32
    with pytest.raises(ValueError, match=r"task: \S+ has the target 1.5, expected labels"):
        load_table(path, task="classification")


def test_task_overrules_the_guess(tmp_path: Path) -> None:
    whole = csv_file(tmp_path, "a,y\n0,3\n0,4\n", "whole.csv")
    assert load_table(whole, task="regression").y.tolist() == [[3], [4]]
    points = csv_file(tmp_path, "a,y\n0,1.0\n0,0.0\n", "points.csv")
    assert load_table(points, task="classification").classes == (0, 1)
    mixed = csv_file(tmp_path, "a,y\n0,7\n0,A\n0,nan\n", "mixed.csv")
    assert load_table(mixed, task="classification").classes == ("7", "A", "nan")
    with pytest.raises(FormatError, match="line 3, column 'y': 'A' is not a number, as other"):
        load_table(mixed)
    words = csv_file(tmp_path, "a,y\n0,p\n0,q\n", "words.csv")
    with pytest.raises(ValueError, match="has the target 'p', expected numbers"):
        load_table(words, task="regression")
    with pytest.raises(ValueError, match="task: got 'ranking', expected one of auto"):
        load_table(words, task="ranking")


def test_prices_are_not_taken_for_labels(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,y\n" + "".join(f"0,{1000 + i}\n" for i in range(50)))
    with pytest.raises(ValueError, match="50 different whole numbers as targets of 50 rows"):
        load_table(path)
    assert load_table(path, task="regression").n_out == 1
    assert load_table(path, task="classification").n_out == 50


def test_classes_of_a_trained_network(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,y\n0,3\n0,1\n0,3\n")
    assert load_table(path, classes=(1, 2, 3)).y.tolist() == [2, 0, 2]
    assert load_table(path, classes=("3", "2", "1")).y.tolist() == [0, 2, 0]
    with pytest.raises(ValueError, match="has the label 3, expected one of 1, 2"):
        load_table(path, classes=(1, 2))
    one = csv_file(tmp_path, "a,y\n0,3\n")
    assert load_table(one, classes=(1, 3)).y.tolist() == [1]
    with pytest.raises(ValueError, match="has one class, 3, expected two"):
        load_table(one)


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b,y\n1,2,3.5\n")
    with pytest.raises(ValueError, match="target: .* has no column 'z', it has 'a', 'b', 'y'"):
        load_table(path, "z")
    with pytest.raises(ValueError, match="features: .* has no column 'z', it has 'a', 'b', 'y'"):
        load_table(path, features=["a", "z"])
    with pytest.raises(ValueError, match="features: 'b' is the target"):
        load_table(path, "b", features=["a", "b"])


@given(
    x=hnp.arrays(
        "f4",
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    delimiter=st.sampled_from(",;\t"),
)
@settings(max_examples=60, deadline=None)
def test_csv_gives_every_float_back(tmp_path_factory, x: np.ndarray, delimiter: str) -> None:
    lines = [delimiter.join([*map(repr, row), "0.5"]) for row in x.tolist()]
    path = csv_file(tmp_path_factory.getbasetemp(), "\n".join(lines))
    assert load_table(path).x.tobytes() == x.tobytes()


# ---- CSV: what is refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("a,y\n", "no rows below the header"),
        ("a,b,y\n1,2,3\n1,2\n", "line 3 has 2 cells, expected 3"),
        ("a,b,y\n1,2,3\n\n1,2,3,4\n", "line 4 has 4 cells, expected 3"),
        ("a,b,y\n1,x,3\n", "line 2, column 'b': 'x' is not a number"),
        ("a,b,y\n1,1_0,3\n", "line 2, column 'b': '1_0' is not a number"),
        ("a,b,y\n1,,3\n", "line 2, column 'b': the cell is empty, expected a number"),
        ("a,b,y\n1,2,3\nnan,2,3\n", "line 3, column 'a': 'nan' is not a finite float32"),
        ("a,b,y\n1,-inf,3\n", "line 2, column 'b': '-inf' is not a finite float32"),
        ("a,b,y\n1,1e39,3\n", "line 2, column 'b': '1e39' is not a finite float32"),
        ("a,b,y\n1,2,\n", "line 2, column 'y': the cell is empty, expected a target"),
        ("a,b,y\n1,2,3.5\n1,2,nan\n", "line 3, column 'y': 'nan' is not a finite float32"),
        ("a,a,y\n1,2,3\n", "the column 'a' is named twice"),
        ("y\n1\n", "no column is left for the inputs"),
        ('a,y\n1,"2\n', "after line 1: unexpected end of data"),
        ('a,y\n1,"2"3\n', "after line 1: ',' expected after '\"'"),
        ("a,y\n1," + "2" * 200_000, "after line 1: field larger than field limit"),
        ("a,y\n" + "x" * 1000 + ",1\n", "'x{40}... is not a number"),
        ("a,y\n\0,1\n", "is not a number"),
    ],
)
def test_csv_faults_are_placed(tmp_path: Path, text: str, message: str) -> None:
    path = csv_file(tmp_path, text)
    with pytest.raises(FormatError, match=message) as caught:
        load_table(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 150


def test_csv_must_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("größe,y\n1,2\n".encode("latin-1"))
    with pytest.raises(FormatError, match="not UTF-8 text"):
        load_table(path)


def test_missing_files_are_os_errors(tmp_path: Path) -> None:
    for suffix in (".csv", ".npz"):
        with pytest.raises(FileNotFoundError):
            load_table(tmp_path / f"none{suffix}")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OSError):
        load_table(tmp_path / "folder.csv")
    with pytest.raises(ValueError, match=r"expected a name that ends in \.csv, \.tsv"):
        load_table(tmp_path / "table.xls")


def peak_of_load(path: Path, task: str = "auto") -> int:
    """Most bytes of Python and NumPy at once while a table is read."""
    tracemalloc.start()
    try:
        assert len(load_table(path, task=task)) >= 1
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("auto", lambda i: f"0.125,0.25,0.5,{i % 2}"),
        ("auto", lambda i: f"{i % 10},{i % 2}"),
        ("auto", lambda i: f"{i % 10},{i % 9}.5"),
        ("regression", lambda i: f"{i % 10},{i}"),
        ("regression", lambda i: f"{i % 10},{i / 7}"),
    ],
)
def test_csv_takes_little_memory(
    tmp_path: Path, task: str, row: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv, "MAX_CLASSES", 100)
    path = csv_file(tmp_path, "".join(f"{row(i)}\n" for i in range(20_000)))
    assert peak_of_load(path, task) < 4 * path.stat().st_size + 100_000


@pytest.mark.parametrize("text", ["a,b,y\n" + "1,2,3\n" * 9, "1,2,p\n3,4,q\n"])
def test_csv_limits_the_cells_of_a_row(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv_file(tmp_path, text)
    monkeypatch.setattr(csv, "MAX_COLUMNS", 3)
    load_table(path, task="classification" if "p" in text else "regression")
    monkeypatch.setattr(csv, "MAX_COLUMNS", 2)
    with pytest.raises(FormatError, match="after line 0: a row of more than 2 cells"):
        load_table(path)


def test_csv_limits_rows_of_many_lines(tmp_path: Path) -> None:
    """Quoted ends of lines make one row of all the cells."""
    row = ",".join(["1"] * 999) + ',"\n",'
    path = csv_file(tmp_path, "a,b\n1,2\n" + row * 100)
    with pytest.raises(FormatError, match="after line 2: a row of more than 65536 cells"):
        load_table(path)


def test_csv_limits_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "_MAX_LINE", 9)
    with pytest.raises(FormatError, match="after line 2: .* a line of more than 9 characters"):
        load_table(csv_file(tmp_path, "a,y\n1,2\n1.0000000,2\n"))


def test_a_wide_header_of_one_name(tmp_path: Path) -> None:
    """Which name stands twice is found in one go over the names."""
    path = csv_file(tmp_path, ",".join(["a"] * 65_000) + "\n")
    with pytest.raises(FormatError, match="the column 'a' is named twice"):
        load_table(path)


class TestManyTargets:
    """More different targets than there may be labels are numbers, or are refused."""

    @pytest.fixture(autouse=True)
    def few_labels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (csv, tables):
            monkeypatch.setattr(module, "MAX_CLASSES", 3)

    @pytest.fixture(params=["csv", "npz"])
    def table(self, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
        def write(*y: object) -> Path:
            if request.param == "npz":
                return npz_file(tmp_path, x=np.zeros((len(y), 1)), y=np.array(y))
            return csv_file(tmp_path, "a,y\n" + "".join(f"0,{v}\n" for v in y))

        return write

    def test_three_are_labels(self, table: Callable[..., Path]) -> None:
        assert load_table(table("p", "q", "r", "q")).classes == ("p", "q", "r")

    def test_numbers(self, table: Callable[..., Path]) -> None:
        data = load_table(table(0.5, 1.5, 0.5, 2.5, 3.5, 4.0, 0.5))
        assert data.classes is None
        assert data.y.ravel().tolist() == [0.5, 1.5, 0.5, 2.5, 3.5, 4.0, 0.5]

    def test_whole_numbers(self, table: Callable[..., Path]) -> None:
        path = table(4, 1, 4, 2, 3, 1)
        with pytest.raises(ValueError, match="has more than 3 different whole numbers as targets"):
            load_table(path)
        with pytest.raises(ValueError, match="has more than 3 different targets, expected one la"):
            load_table(path, task="classification")
        assert load_table(path, task="regression").y.ravel().tolist() == [4, 1, 4, 2, 3, 1]

    def test_text(self, table: Callable[..., Path]) -> None:
        with pytest.raises(FormatError, match="more than 3 (labels|different targets)"):
            load_table(table("p", "q", "r", "s", "t"))

    def test_text_late(self, tmp_path: Path) -> None:
        path = csv_file(tmp_path, "a,y\n" + "".join(f"0,{v}\n" for v in (1, 2, 3, 4, 5, "p")))
        with pytest.raises(FormatError, match="line 7, column 'y': 'p' is not a number, and more"):
            load_table(path)


# ---- NPZ -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f2", "f4", ">f8", "i1", ">i4", "u8", "?"])
@pytest.mark.parametrize("compressed", [False, True])
def test_npz_types(tmp_path: Path, kind: str, compressed: bool) -> None:
    x = (np.arange(12).reshape(4, 3) % 5).astype(kind)
    path = tmp_path / "table.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=np.asfortranarray(x), y=list("abab"))
    data = load_table(path)
    assert data.x.tolist() == x.astype("f4").tolist()
    assert data.x.dtype == np.float32
    assert data.x.flags.c_contiguous
    assert data.classes == ("a", "b")
    assert data.feature_names is None


@pytest.mark.parametrize(
    ("y", "classes", "expected"),
    [
        (np.array([5, 3, 5]), (3, 5), [1, 0, 1]),
        (np.array([[5], [3], [5]], np.uint8), (3, 5), [1, 0, 1]),
        (np.array([True, False, True]), ("False", "True"), [1, 0, 1]),
        (np.array([0.5, 1, 0.5]), None, [[0.5], [1], [0.5]]),
        (np.array([[1, 2], [3, 4], [5, 6]]), None, [[1, 2], [3, 4], [5, 6]]),
    ],
)
def test_npz_targets(tmp_path: Path, y: np.ndarray, classes, expected: list) -> None:
    data = load_table(npz_file(tmp_path, x=np.eye(3), y=y))
    assert data.classes == classes
    assert data.y.tolist() == expected
    assert data.y.dtype == (np.float32 if classes is None else np.int64)


def test_npz_pictures_are_unrolled(tmp_path: Path) -> None:
    path = npz_file(tmp_path, x=np.arange(24).reshape(2, 3, 4), labels=[1, 0], y=[0.5, 1.5])
    data = load_table(path, "labels")
    assert data.image_shape == (3, 4)
    assert data.x[1].tolist() == list(range(12, 24))
    assert data.classes == (0, 1)
    assert load_inputs(path).shape == (2, 12)
    assert len(load_table(path, features=[str(i) for i in range(12)])) == 2
    with pytest.raises(ValueError, match="features: .* has 12 columns in x, expected 1"):
        load_table(path, features=["a"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.eye(2)}, "no array 'x', it has 'z'"),
        ({}, "no array 'x', it has none"),
        ({"x": np.eye(2), "z": [1, 2]}, "target: .* has no array 'y', it has 'x', 'z'"),
        ({"x": np.ones(3), "y": [1, 2, 3]}, r"x is float64 of shape \(3,\), expected"),
        ({"x": np.eye(2), "y": [1, 2, 3]}, r"y is int64 of shape \(3,\), expected 2 rows"),
        ({"x": np.eye(2), "y": np.eye(2)[None]}, r"y is float64 of shape \(1, 2, 2\)"),
        ({"x": np.eye(2), "y": 3}, r"shape \(\), expected"),
        ({"x": np.empty((0, 2)), "y": []}, r"shape \(0, 2\), expected"),
        ({"x": [["a", "b"]], "y": [1]}, "x is str32 of shape"),
        ({"x": np.eye(2), "y": [["a", "b"]] * 2}, "expected one label a row"),
        ({"x": np.eye(2) * 1j, "y": [1, 2]}, "x is of type complex128, expected numbers"),
        ({"x": np.eye(2), "y": np.array([1, None])}, "y is of type object, expected numbers"),
        ({"x": [[1, np.nan], [0, 1]], "y": [1, 2]}, "x, row 1: nan is no finite float32"),
        ({"x": [[1, 0], [0, 1e39]], "y": [1, 2]}, r"x, row 2: 1e\+39 is no finite float32"),
        ({"x": np.eye(2), "y": [0.5, np.inf]}, "y, row 2: inf is no finite float32"),
        ({"x": np.eye(2), "y": [[0.5, np.inf], [1, 1]]}, "target, row 1: inf is no finite"),
    ],
)
def test_npz_faults(tmp_path: Path, arrays: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_table(npz_file(tmp_path, **arrays))


def test_names_from_a_file_are_shown_harmless(tmp_path: Path) -> None:
    name = "\n\x1b[2J" + "z" * 1000
    csv = csv_file(tmp_path, f'a,"{name}",y\n1,x,2\n')
    npz = tmp_path / "table.npz"
    with zipfile.ZipFile(npz, "w") as archive:
        archive.writestr(f"{name}.npy", b"")
    for path in (csv, npz):
        with pytest.raises(ValueError) as caught:
            load_table(path, "none")
        message = str(caught.value)
        assert message.isprintable()
        assert len(message) < len(str(path)) + 150


def test_npz_several_targets_are_no_labels(tmp_path: Path) -> None:
    path = npz_file(tmp_path, x=np.eye(2), y=np.eye(2))
    with pytest.raises(ValueError, match="several targets a row, expected one label"):
        load_table(path, task="classification")


def test_npz_header_of_the_second_version(tmp_path: Path) -> None:
    path = tmp_path / "second.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in (("x", np.eye(2)), ("y", np.array([0.5, 1.5]))):
            content = io.BytesIO()
            np.lib.format.write_array(content, values, version=(2, 0))
            archive.writestr(f"{name}.npy", content.getvalue())
    assert load_table(path).x.tolist() == [[1, 0], [0, 1]]


def test_npz_never_unpickles(tmp_path: Path) -> None:
    path = npz_file(tmp_path, x=np.array([[{"a": 1}]], dtype=object), y=[1])
    with pytest.raises(FormatError, match="x is of type object"):
        load_table(path)


def crafted_npz(path: Path, header: str, data: bytes, packing: int = zipfile.ZIP_DEFLATED) -> Path:
    """An archive with an array x of any header and data."""
    text = header.encode() + b"\n"
    content = b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + data
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("x.npy", content)
        archive.writestr("y.npy", content)
    return path


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ("{'descr':'<f8','fortran_order':False,'shape':(100000,100000)}", bytes(800), "claims"),
        ("{'descr':'<f8','fortran_order':False,'shape':(2**62,2**62)}", bytes(80), "readable"),
        ("{'descr':'<f8','fortran_order':False,'shape':(-2,-2)}", bytes(32), "shape"),
        ("{'descr':'<f8','fortran_order':False,'shape':(2,2)}", bytes(33), "33 bytes"),
        ("{'descr':'<f8','fortran_order':False,'shape':(2,2)}", bytes(31), "31 bytes|32 bytes"),
        ("{'descr':'<U0','fortran_order':False,'shape':(2,2)}", b"", "shape"),
        ("__import__('os').abort()", b"", "no readable NumPy header"),
        ("(" * 300, b"", "no readable NumPy header"),
        ("{" * 9000, b"", "no readable NumPy header"),
        ("", b"", "no readable NumPy header"),
    ],
)
def test_npz_headers_are_not_believed(
    tmp_path: Path, header: str, data: bytes, message: str
) -> None:
    path = crafted_npz(tmp_path / "crafted.npz", header, data)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=message):
            load_table(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800, 0xDFFF])
@pytest.mark.parametrize("order", "<>")
def test_npz_text_of_no_characters(tmp_path: Path, code: int, order: str) -> None:
    path = npz_file(tmp_path, x=np.ones((2, 1)), y=np.array(["a", "b"], f"{order}U1"))
    a, bad = ("a".encode(f"utf-32-{'lb'[order == '>']}e"), np.array(code, f"{order}u4").tobytes())
    spoilt = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(spoilt, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(a, bad))
    path.write_bytes(spoilt.getvalue())
    with pytest.raises(FormatError, match="y has text with numbers that are no characters"):
        load_table(path)


def test_npz_packed_another_way_is_refused(tmp_path: Path) -> None:
    header = "{'descr':'<f8','fortran_order':False,'shape':(2,2)}"
    path = crafted_npz(tmp_path / "bz2.npz", header, bytes(32), zipfile.ZIP_BZIP2)
    with pytest.raises(FormatError, match="packed in a way"):
        load_table(path)


def test_npz_damage_is_found(tmp_path: Path) -> None:
    path = npz_file(tmp_path, x=np.eye(4), y=[0, 1, 0, 1])
    content = bytearray(path.read_bytes())
    content[content.index(np.eye(4).tobytes()) + 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"not a whole NPZ file \(Bad CRC-32"):
        load_table(path)
    for content in (b"", b"PK\3\4", b"not a zip file"):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="not a whole NPZ file"):
            load_table(path)


# ---- Parquet ---------------------------------------------------------------------------------


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
    assert data.x.dtype == np.float32
    assert data.feature_names == ("b", "a", "on")
    assert data.classes == ("p", "q")
    assert data.y.tolist() == [1, 0, 0]
    assert load_table(path, "kind", features=["a"]).classes == ("u", "v")
    assert load_table(path, "on", features=["a"]).classes == ("False", "True")
    assert load_table(path, "b", features=["a"]).y.tolist() == [[0.5], [1.5], [2.5]]
    assert load_inputs(path, features=["a"]).tolist() == [[1], [2], [3]]
    with pytest.raises(FormatError, match="column 'kind' is text, expected numbers"):
        load_table(path)
    with pytest.raises(ValueError, match="has no column 'c', it has 'a', 'b', 'on'"):
        load_table(path, "c")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0, None], "y": [1, 2]}, "column 'a' has 1 empty cells"),
        ({"a": [1.0, float("nan")], "y": [1, 2]}, "column 'a', row 2: nan is no finite"),
        ({"a": [[1.0], [2.0]], "y": [1, 2]}, "column 'a' is of type 'list"),
        ({"a": [1.0], "y": [float("inf")]}, "target, row 1: inf is no finite"),
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
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install cmlp\[data\]"):
        load_table(tmp_path / "table.parquet")


# ---- mutation --------------------------------------------------------------------------------

EDITS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=4)
CUT = st.one_of(st.just(0), st.integers(-40, 40))


def npz_bytes(compressed: bool) -> bytes:
    stream = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(stream, x=np.arange(12.0).reshape(4, 3), y=np.array(["a", "b", "a", "b"]))
    return stream.getvalue()


def parquet_bytes() -> bytes:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    stream = io.BytesIO()
    parquet.write_table(pa.table({"a": np.arange(5.0), "y": list("uvuvu")}), stream)
    return stream.getvalue()


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


@given(edits=EDITS, cut=CUT)
@settings(max_examples=300, deadline=None)
def test_csv_survives_mutation(tmp_path_factory, edits, cut: int) -> None:
    content = b'a,"b c",y\n1,2.5,u\n-3e1,"4",v\n5,6,u\n'
    survives(tmp_path_factory.getbasetemp() / "mutated.csv", content, edits, cut)


@pytest.mark.parametrize("compressed", [False, True])
@given(edits=EDITS, cut=CUT)
@settings(max_examples=300, deadline=None)
def test_npz_survives_mutation(tmp_path_factory, compressed: bool, edits, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.npz"
    survives(path, npz_bytes(compressed), edits, cut)


@given(edits=EDITS, cut=CUT)
@settings(max_examples=100, deadline=None)
def test_parquet_survives_mutation(tmp_path_factory, edits, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.parquet"
    survives(path, parquet_bytes(), edits, cut)
