"""CSV and TSV files, whole and broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from table_files import CUT, EDITS, csv_file, npz_file, peak_of_load, survives

from cmlp.datasets import csv, load_table, npz, rows, targets
from cmlp.errors import FormatError


def test_csv_with_header_and_labels(tmp_path: Path) -> None:
    path = csv_file(tmp_path, 'a,"b, c",kind\n1,2.5,"u"\n-3e1, 4 ,v\n5,6,u\n')
    data = load_table(path)
    assert data.name == "table"
    assert data.x.tolist() == [[1, 2.5], [-30, 4], [5, 6]]
    assert data.x.dtype == np.float64
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
        ("1 -1 1", (-1, 1), [1, 0, 1]),
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
    assert data.y.dtype == np.float64
    with pytest.raises(ValueError, match=r"task: \S+ has the target 1.5, expected labels"):
        load_table(path, task="classification")


def test_task_overrules_the_guess(tmp_path: Path) -> None:
    whole = csv_file(tmp_path, "a,y\n0,3\n0,4\n", "whole.csv")
    assert load_table(whole, task="regression").y.tolist() == [[3], [4]]
    points = csv_file(tmp_path, "a,y\n0,1.0\n0,0.0\n", "points.csv")
    assert load_table(points, task="classification").classes == ("0.0", "1.0")
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
        "f8",
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    ),
    delimiter=st.sampled_from(",;\t"),
)
@settings(max_examples=60, deadline=None)
def test_csv_gives_every_float_back(tmp_path_factory, x: np.ndarray, delimiter: str) -> None:
    lines = [delimiter.join([*map(repr, row), "0.5"]) for row in x.tolist()]
    path = csv_file(tmp_path_factory.getbasetemp(), "\n".join(lines))
    assert load_table(path).x.tobytes() == x.tobytes()


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
        ("a,b,y\n1,2,3\nnan,2,3\n", "line 3, column 'a': 'nan' is not a finite"),
        ("a,b,y\n1,-inf,3\n", "line 2, column 'b': '-inf' is not a finite"),
        ("a,b,y\n1,1e309,3\n", "line 2, column 'b': '1e309' is not a finite"),
        ("a,b,y\n1,2,\n", "line 2, column 'y': the cell is empty, expected a target"),
        ("a,b,y\n1,2,3.5\n1,2,nan\n", "line 3, column 'y': 'nan' is not a finite"),
        ("a,a,y\n1,2,3\n", "the column 'a' is named twice"),
        ("y\n1\n", "no column is left for the inputs"),
        ('a,y\n1,"2\n', "after line 1: unexpected end of data"),
        ('a,y\n1,"2"3\n', "after line 1: ',' expected after '\"'"),
        ("a,y\n1,0.5\n1," + "2" * 200_000, "after line 2: field larger than field limit"),
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
    monkeypatch.setattr(targets, "MAX_CLASSES", 100)
    path = csv_file(tmp_path, "".join(f"{row(i)}\n" for i in range(20_000)))
    peak, arrays = peak_of_load(path, task)
    assert peak < 4 * max(arrays, path.stat().st_size) + 100_000


@pytest.mark.parametrize("text", ["a,b,y\n" + "1,2,3\n" * 9, "1,2,p\n3,4,q\n"])
def test_csv_limits_the_cells_of_a_row(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv_file(tmp_path, text)
    monkeypatch.setattr(rows, "MAX_COLUMNS", 3)
    load_table(path, task="classification" if "p" in text else "regression")
    monkeypatch.setattr(rows, "MAX_COLUMNS", 2)
    with pytest.raises(FormatError, match="after line 0: a row of more than 2 cells"):
        load_table(path)


def test_csv_limits_rows_of_many_lines(tmp_path: Path) -> None:
    """Quoted ends of lines make one row of all the cells."""
    row = ",".join(["1"] * 999) + ',"\n",'
    path = csv_file(tmp_path, "a,b\n1,2\n" + row * 100)
    with pytest.raises(FormatError, match="after line 2: a row of more than 65536 cells"):
        load_table(path)


def test_csv_limits_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (csv, rows):
        monkeypatch.setattr(module, "MAX_LINE", 9)
    with pytest.raises(FormatError, match="after line 2: .* a line of more than 9 characters"):
        load_table(csv_file(tmp_path, "a,y\n1,2\n1.0000000,2\n"))


def test_a_wide_header_of_one_name(tmp_path: Path) -> None:
    """Which name stands twice is found in one go over the names."""
    path = csv_file(tmp_path, ",".join(["a"] * 65_000) + "\n" + ",".join("1" * 65_000))
    with pytest.raises(FormatError, match="the column 'a' is named twice"):
        load_table(path)


class TestManyTargets:
    """More different targets than there may be labels are numbers, or are refused."""

    @pytest.fixture(autouse=True)
    def few_labels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (npz, targets):
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


@given(edits=EDITS, cut=CUT)
@settings(max_examples=300, deadline=None)
def test_csv_survives_mutation(tmp_path_factory, edits, cut: int) -> None:
    content = b'a,"b c",y\n1,2.5,u\n-3e1,"4",v\n5,6,u\n'
    survives(tmp_path_factory.getbasetemp() / "mutated.csv", content, edits, cut)
