"""NPZ files, whole and broken."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from table_files import CUT, EDITS, csv_file, npz_file, survives

from cmlp.datasets import load_inputs, load_table
from cmlp.errors import FormatError


@pytest.mark.parametrize("kind", ["f2", "f4", ">f8", "i1", ">i4", "u8", "?"])
@pytest.mark.parametrize("compressed", [False, True])
def test_npz_types(tmp_path: Path, kind: str, compressed: bool) -> None:
    x = (np.arange(12).reshape(4, 3) % 5).astype(kind)
    path = tmp_path / "table.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=np.asfortranarray(x), y=list("abab"))
    data = load_table(path)
    assert data.x.tolist() == x.tolist()
    # Nothing is rounded before it is scaled.
    assert data.x.dtype == (np.float32 if kind in ("f2", "f4", "i1", "?") else np.float64)
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
    assert data.y.dtype == (np.float64 if classes is None else np.int64)


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
        ({"x": [[1, np.nan], [0, 1]], "y": [1, 2]}, "x, row 1: nan is no finite number"),
        ({"x": [[1, 0], [0, -np.inf]], "y": [1, 2]}, r"x, row 2: -inf is no finite number"),
        ({"x": np.eye(2), "y": [0.5, np.inf]}, "y, row 2: inf is no finite number"),
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


def npz_bytes(compressed: bool) -> bytes:
    stream = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(stream, x=np.arange(12.0).reshape(4, 3), y=np.array(["a", "b", "a", "b"]))
    return stream.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@given(edits=EDITS, cut=CUT)
@settings(max_examples=300, deadline=None)
def test_npz_survives_mutation(tmp_path_factory, compressed: bool, edits, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.npz"
    survives(path, npz_bytes(compressed), edits, cut)
