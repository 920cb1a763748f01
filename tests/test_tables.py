"""Tables as they come: how they are laid out, what their columns are, packed files, frames."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from table_files import csv_file

from cmlp.datasets import csv, load, load_inputs, load_table, read_table, rows
from cmlp.datasets.dialect import Format, Layout
from cmlp.errors import FormatError
from cmlp.table import Table

WILD = Path(__file__).parent / "data" / "tables"

# name -> separator, header, decimal, columns, kinds by their first letters (timE)
FOUND = {
    "dates.csv": ("comma", True, ".", "day when value y", "eent"),
    "excel_utf16.txt": ("tab", True, ".", "Größe Gewicht Güte", "nnt"),
    "iris_without_header.csv": ("comma", False, ".", "1 2 3 4", "nnnt"),
    "long_ids.csv": ("comma", True, ".", "a id", "nn"),
    "no_name_twice.csv": ("comma", True, ".", "1 2 3 4 y", "nnnnt"),
    "numbers_in_header.csv": ("comma", True, ".", "0 1 2 grade", "nnnt"),
    "pandas_index.csv": ("comma", True, ".", "1 size weight kind", "nnnt"),
    "quoted_lines.csv": ("comma", True, ".", "id note y", "ntt"),
    "r_rownames.csv": ("comma", True, ".", "1 len supp dose", "nntn"),
    "semicolons.csv": ("semicolon", True, ",", "Temp,_C Press,_hPa state", "nnt"),
    "sep_line.csv": ("semicolon", True, ",", "a b y", "nnt"),
    "truths.csv": ("comma", True, ".", "paid late y", "rrr"),
    "twice.csv": ("comma", True, ".", "a note note y", "nttt"),
    "uci_question_marks.data.csv": ("comma", True, ".", "age bp rate sick", "nnnt"),
    "wavelengths.tsv": ("tab", True, ".", "400 410 420 430", "nnnn"),
    "years.csv": ("comma", True, ".", "1990 1991 1992 class", "nnnt"),
    "zip_codes.csv": ("comma", True, ".", "rooms zip", "nt"),
}
LETTERS = {"number": "n", "text": "t", "truth": "r", "time": "e"}


def test_every_file_of_the_wild_is_listed() -> None:
    assert {path.name for path in WILD.iterdir()} == {*FOUND, "excel_cp1252.csv"}


@pytest.mark.parametrize("name", FOUND)
def test_layout_and_kinds(name: str) -> None:
    separator, header, decimal, columns, kinds = FOUND[name]
    table = read_table(WILD / name)
    assert len(table) == 12
    assert table.about["separator"] == separator
    assert table.about["header"] == ("the first row" if header else "none")
    assert table.about.get("decimal") == (None if decimal == "." else "comma")
    assert " ".join(name.replace(" ", "_") for name in table.names) == columns
    assert "".join(LETTERS[column.kind] for column in table) == kinds


# ---- header ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("0,1,2,grade\n5,3,1,bad\n4,3,1,good\n4,2,1,bad\n", True),
        ("1990,1991,y\n0.5,0.25,1\n0.5,0.5,2\n", True),
        ("400,410,420\n0.1,0.2,0.3\n", True),
        ("a,b\n1,2\n", True),
        ("a,b\nx,y\nz,w\n", True),
        ("day,x\n2024-01-01,1\n", True),
        ("paid,x\nTrue,1\n", True),
        (",a\n1,2\n", True),
        ("a,\n1,2\n", True),
        ("1,2,k\n3,4,k\n5,6,l\n", False),
        ("1,2,3\n4,5,6\n7,8,9\n", False),
        ("5.1,3.5,setosa\n4.9,3.0,virginica\n", False),
        ("p,q\nq,p\np,p\n", False),
        ("7,8\n0.5,0.25\n8,0.5\n", True),
        ("7,9\n0.5,0.25\n", False),
        ("2024-01-01,1\n2024-01-02,2\n", False),
    ],
)
def test_header_is_told_from_the_rows_below(tmp_path: Path, text: str, header: bool) -> None:
    path = csv_file(tmp_path, text)
    n = text.count("\n")
    assert len(read_table(path)) == n - header
    for told in (True, False):
        assert len(read_table(path, header=told)) == n - told
    assert len(load_inputs(csv_file(tmp_path, "1,2\n3,4\n"), header=True)) == 1


def test_columns_without_a_name_get_a_new_one(tmp_path: Path) -> None:
    for head, names in {
        "a,,c": ("a", "2", "c"),
        "2,,y": ("2", "column 2", "y"),
        "2,,column 2": ("2", "column 3", "column 2"),
        ",,": ("1", "2", "3"),
    }.items():
        path = csv_file(tmp_path, f"{head}\n1.5,2.5,3.5\n4.5,5.5,6.5\n")
        assert read_table(path, header=True).names == names


# ---- labels ----------------------------------------------------------------------------------

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(labels=st.lists(INT64, min_size=2, max_size=6, unique=True))
@settings(max_examples=60, deadline=None)
def test_whole_labels_come_back_exactly(tmp_path_factory, labels: list[int]) -> None:
    body = "".join(f"0.5,{label}\n" for label in labels)
    path = csv_file(tmp_path_factory.getbasetemp(), f"a,y\n{body}", "labels.csv")
    data = load_table(path)
    assert [data.classes[i] for i in data.y] == labels


@pytest.mark.parametrize(
    "labels",
    [
        ["007", "7"],
        ["0010", "10", "10"],
        ["+1", "1", "-1"],
        ["-0", "0"],
        ["1.0", "1"],
        ["1e3", "1000"],
        [str(2**63), str(2**63 + 1)],
        ["9" * 30, "9" * 31],
        ["True", "FALSE", "true"],
        ["NA", "nan", "?"],
        ["ä", "a\u0308", "\u200b", "日本"],
    ],
)
def test_a_label_reads_back_as_it_was_written(tmp_path: Path, labels: list[str]) -> None:
    path = csv_file(tmp_path, "a,y\n" + "".join(f"0.5,{label}\n" for label in labels))
    data = load_table(path, task="classification")
    assert [str(data.classes[i]) for i in data.y] == labels


def test_whole_targets_of_many_values_ask_for_the_task(tmp_path: Path) -> None:
    for n in (20, 21):
        body = "".join(f"0.5,{i % n}\n" for i in range(1000))
        path = csv_file(tmp_path, f"a,y\n{body}")
        if n == 20:
            assert load_table(path).n_out == 20
            continue
        with pytest.raises(ValueError, match="task: .* has 21 different whole numbers"):
            load_table(path)
        assert load_table(path, task="regression").n_out == 1


# ---- separators and what is given -------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("quotes", [False, True])
@pytest.mark.parametrize("header", [False, True])
def test_layouts_are_guessed(
    tmp_path: Path, delimiter: str, decimal: str, quotes: bool, header: bool
) -> None:
    if decimal == delimiter:
        return
    lines = [["Temp, C; |", "b", "y"]] if quotes and header else [["a", "b", "y"]][: int(header)]
    for i in range(9):
        lines.append(
            [f"{i}{decimal}5", f"{2 * i}{decimal}25", "u; v, w" if quotes else "uv"[i % 2]]
        )
    mark = '"' if quotes else ""
    text = "".join(delimiter.join(f"{mark}{c}{mark}" for c in line) + "\n" for line in lines)
    path = csv_file(tmp_path, text)
    layout = Layout.of(path, text.encode(), Format())
    assert (layout.delimiter, layout.decimal, layout.header) == (delimiter, decimal, header)
    x = read_table(path).columns[1].numbers()
    assert x.tolist() == [2 * i + 0.25 for i in range(9)]


def test_what_is_given_goes_before_the_guess(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a:b\n1,5:weg\n2,5:-99\n")
    table = read_table(path, delimiter=":", decimal=",", na_values=["weg", "-99"])
    assert table["a"].numbers().tolist() == [1.5, 2.5]
    assert table["b"].n_missing == 2
    data = load_table(WILD / "excel_cp1252.csv", encoding="cp1252")
    assert data.feature_names == ("Größe", "Gewicht")
    assert data.classes == ("schön", "übel")
    assert data.x[1].tolist() == [1.5, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": ""}, "delimiter: got ''"),
        ({"delimiter": '"'}, "delimiter: got"),
        ({"delimiter": ";;"}, "delimiter: got ';;'"),
        ({"decimal": "x"}, "decimal: got 'x', expected '.' or ','"),
        ({"decimal": ",", "delimiter": ","}, "decimal: got ',', which is the delimiter"),
        ({"encoding": "klingon"}, "encoding: got 'klingon'"),
    ],
)
def test_wrong_layouts_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_table(csv_file(tmp_path, "a,y\n1,2.5\n"), **options)


def test_text_of_another_encoding_says_what_to_do() -> None:
    with pytest.raises(FormatError, match="not UTF-8 text .*; give its encoding, such as cp1252"):
        load_table(WILD / "excel_cp1252.csv")
    with pytest.raises(FormatError, match="not ascii text"):
        load_table(WILD / "excel_cp1252.csv", encoding="ascii")


# ---- digits ----------------------------------------------------------------------------------


def test_seconds_since_1970_keep_every_value(tmp_path: Path) -> None:
    times = 1_700_000_000 + np.arange(100)
    path = csv_file(tmp_path, "t,y\n" + "".join(f"{t},0.5\n" for t in times))
    data = load_table(path)
    assert data.x.ravel().tolist() == times.tolist()
    scaled = load(path).x - times.mean()
    assert len(np.unique(scaled.astype("f4"))) == 100


# ---- columns that are chosen ------------------------------------------------------------------


def test_an_index_is_no_feature() -> None:
    for name, features in (("pandas_index.csv", ("size", "weight")), ("r_rownames.csv", None)):
        path = WILD / name
        if features:
            assert load_table(path).feature_names == features
        assert load_table(path, target="kind" if features else "supp", features=["1"]).n_in == 1


def test_names_that_stand_twice_do_no_harm_where_they_are_not_used() -> None:
    path = WILD / "twice.csv"
    assert load_table(path, features=["a"]).n_in == 1
    for used in ({}, {"features": ["a", "note"]}, {"target": "note"}):
        with pytest.raises(FormatError, match="the column 'note' is named twice"):
            load_table(path, **used)


def test_several_targets(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b,c\n1,2,3.5\n4,5,6.5\n")
    data = load_table(path, ["c", "b"])
    assert data.y.tolist() == [[3.5, 2], [6.5, 5]]
    assert data.feature_names == ("a",)
    with pytest.raises(ValueError, match="several targets a row, expected one label"):
        load_table(path, ["c", "b"], task="classification")


# ---- other files and memory ---------------------------------------------------------------------

TEXT = "a,b,y\n1,2.5,u\n3,4.5,v\n"


PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("ending", PACKED)
def test_packed_files(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"table.csv{ending}"
    whole = PACKED[ending](TEXT.encode())
    path.write_bytes(whole)
    data = load(path)
    assert (data.name, data.x.tolist()) == ("table", [[1, 2.5], [3, 4.5]])
    for broken in (b"", whole[:-9], b"junk" + whole):
        path.write_bytes(broken)
        with pytest.raises(FormatError, match=r"not a whole \.\w+ file|the file is empty"):
            load(path)
    path.write_bytes(PACKED[ending](bytes(1 << 27)))
    with pytest.raises(FormatError, match="unpacks to more than"):
        load(path)


def test_zstd(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.zst"
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(TEXT.encode())
    assert load(path).x.tolist() == [[1, 2.5], [3, 4.5]]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FormatError):
        load(path)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    data = load("-")
    assert (data.name, data.classes) == ("stdin", ("u", "v"))


def columns() -> dict[str, list]:
    return {"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "on": [True, False, True], "y": ["u", "v", "u"]}


def frames(folder: Path) -> dict[str, object]:
    import pyarrow.feather
    import pyarrow.parquet

    table = pa.table(columns())
    pyarrow.parquet.write_table(table, folder / "t.parquet")
    pyarrow.feather.write_feather(table, folder / "t.feather")
    lines = [
        dict(zip(columns(), row, strict=True)) for row in zip(*columns().values(), strict=True)
    ]
    (folder / "t.jsonl").write_text(
        "\n".join(
            str(line).replace("'", '"').replace("True", "true").replace("False", "false")
            for line in lines
        )
    )
    found: dict[str, object] = {
        name: folder / name for name in ("t.parquet", "t.feather", "t.jsonl")
    }
    found["arrow"] = table
    found["batch"] = table.to_batches()[0]
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    found["pandas"] = pandas.DataFrame(columns(), index=[7, 8, 9])
    found["pandas categories"] = pandas.DataFrame(columns()).astype({"y": "category"})
    found["polars"] = polars.DataFrame(columns())
    return found


def test_files_and_frames_give_the_same(tmp_path: Path) -> None:
    for source in frames(tmp_path).values():
        data = load(source)
        assert data.x.tolist() == [[1, 0.5, 1], [2, 1.5, 0], [3, 2.5, 1]]
        assert data.feature_names == ("a", "b", "on")
        assert (data.classes, data.y.tolist()) == (("u", "v"), [0, 1, 0])


def test_what_is_no_table_is_refused() -> None:
    for wrong in (np.zeros(3), "x", object()):
        with pytest.raises(TypeError, match="x is no table"):
            Table.of(wrong)
    mixed = pytest.importorskip("pandas").DataFrame({"a": [1, "b", 2.5]})
    with pytest.raises(TypeError, match="x is no table .*a"):
        Table.of(mixed)


# ---- two readers, one answer ---------------------------------------------------------------------

CELLS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    st.sampled_from(["1", "-2.5", "1e3", "", "NA", '"', 'a"b', "x,y", "x\ny", " p ", "True"]),
)


@given(
    cells=st.integers(2, 4).flatmap(
        lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=6)
    ),
    quoting=st.sampled_from([0, 1]),
)
@settings(max_examples=150, deadline=None)
def test_the_quick_reader_gives_what_the_strict_one_gives(
    cells: list[list[str]], quoting: int
) -> None:
    import csv as python

    stream = io.StringIO(newline="")
    python.writer(stream, quoting=quoting, lineterminator="\n").writerows(cells)
    text = stream.getvalue().encode()
    path = Path("t.csv")
    try:
        layout = Layout.of(path, text, Format(header=False, delimiter=","))
        strict = [column.to_pylist() for column in csv._strictly(path, text, layout)]
    except FormatError:
        return  # a row that is blank as a whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv, "_BYTES_A_COLUMN", 0)
        quick = csv._quickly(text, layout)
    if quick is not None:
        assert [column.to_pylist() for column in quick] == strict


@given(st.binary(max_size=60) | st.text(',;"\n\r\t 1a', max_size=40).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_alike_or_refused(text: bytes) -> None:
    path = Path("t.csv")
    try:
        layout = Layout.of(path, text, Format())
    except FormatError:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv, "_BYTES_A_COLUMN", 0)
        quick = csv._quickly(text, layout)
    if quick is None:
        return
    strict = csv._strictly(path, text, layout)
    assert [c.to_pylist() for c in quick] == [c.to_pylist() for c in strict]
    assert len(quick[0]) == len(list(rows.rows(path, text, layout.delimiter, layout.skip)))
