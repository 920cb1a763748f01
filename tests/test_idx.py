"""The IDX format, MNIST's files and their download."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import os
import struct
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmlp import datasets
from cmlp.datasets import idx
from cmlp.errors import FormatError

MNIST = Path(os.environ.get("CMLP_MNIST", Path(__file__).parents[2] / "shared" / "data" / "mnist"))
needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason=f"no MNIST files in {MNIST}; CMLP_MNIST names another folder"
)
TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(values: np.ndarray) -> bytes:
    """`values` in the IDX format."""
    code = TYPES[values.dtype.str[1:]]
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, code, values.ndim, *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def write_set(
    folder: Path, images: np.ndarray, labels: np.ndarray, part: str, suffix: str = ""
) -> None:
    pack = gzip.compress if suffix == ".gz" else bytes
    (folder / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(idx_bytes(images)))
    (folder / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx_bytes(labels)))


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """A folder with 6 training and 4 test images of 3x2 pixels, labels 3, 5 and 9."""
    images = np.arange(60, dtype=np.uint8).reshape(10, 3, 2)
    labels = np.array([3, 5, 9, 3, 5, 9, 9, 9, 3, 5], np.uint8)
    write_set(tmp_path, images[:6], labels[:6], "train")
    write_set(tmp_path, images[6:], labels[6:], "t10k", ".gz")
    return tmp_path


# ---- IDX -------------------------------------------------------------------------------------


@given(
    values=st.sampled_from(list(TYPES)).flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(max_dims=4, max_side=5))
    ),
    zipped=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_idx_comes_back_as_written(tmp_path_factory, values: np.ndarray, zipped: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "roundtrip.idx"
    content = idx_bytes(values)
    path.write_bytes(gzip.compress(content) if zipped else content)
    back = datasets.read_idx(path)
    assert back.dtype == values.dtype
    assert back.dtype.isnative
    assert back.tobytes() == values.tobytes()
    assert back.flags.writeable


GOOD = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "which no IDX file does"),
        (b"\0\0\x08", "which no IDX file does"),
        (b"\1" + GOOD[1:], "which no IDX file does"),
        (GOOD[:2] + b"\x0a" + GOOD[3:], "which no IDX file does"),
        (b"PK\3\4" + GOOD[4:], "which no IDX file does"),
        (GOOD[:9], "ends within its header of 3 dimensions"),
        (GOOD[:-1], "states 24 bytes of data, 23 are there"),
        (GOOD + b"\0", "states 24 bytes of data, (25|more) are there"),
        (b"\0\0\x08\0", "shape"),
        (b"\0\0\x08\1\0\0\0\0", "shape"),
        (b"\0\0\x08\x28" + b"\0\0\0\1" * 40 + b"\0", "shape"),
        (b"\0\0\x0e\3" + b"\xff" * 12 + bytes(50), "bytes of data"),
        (b"\0\0\x0e\x08" + b"\xff" * 32 + bytes(50), "bytes of data"),
    ],
)
def test_idx_refuses_broken_files(
    tmp_path: Path, content: bytes, message: str, zipped: bool
) -> None:
    path = tmp_path / "broken-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(FormatError, match=message) as caught:
        datasets.read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_idx_refuses_broken_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(GOOD)
    path = tmp_path / "broken.gz"
    for content in (packed[:-9], packed[:12], packed[:2], packed[:-8] + b"\0" + packed[-7:]):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="not a whole gzip file"):
            datasets.read_idx(path)


def peak_memory(path: Path, content: bytes) -> int:
    """Bytes allocated at most while a file of this content is read or refused."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with contextlib.suppress(FormatError):
            datasets.read_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def idx_of(shape: tuple[int, ...], data: bytes) -> bytes:
    """A header that states uint8 data of a shape, and other data."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + data


NOISE = np.random.default_rng(0).bytes(200_000)
LIES = {
    "plain": (idx_of((60000, 28, 28), bytes(1000)), 50_000),
    "packed": (gzip.compress(idx_of((60000, 28, 28), bytes(1000))), 50_000),
    # Long enough for the claim to be possible, and ten times as long as the header says; random
    # bytes, which do not pack: a claim a hundred times their size.  Both are read in 1 MiB pieces.
    "too long": (gzip.compress(idx_of((10**6,), bytes(10**7))), 4_000_000),
    "noise": (gzip.compress(idx_of((2 * 10**7,), NOISE)), 4_000_000),
}


@pytest.mark.parametrize("lie", LIES)
def test_idx_takes_no_memory_for_a_lie(tmp_path: Path, lie: str) -> None:
    content, most = LIES[lie]
    path = tmp_path / "idx"
    # What reading takes at all: the buffers of gzip differ between versions of Python.
    honest = max(peak_memory(path, gzip.compress(GOOD)) for _ in range(2))
    assert peak_memory(path, content) < honest + most
    with pytest.raises(FormatError):
        datasets.read_idx(path)


def test_idx_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        datasets.read_idx(tmp_path / "none")
    with pytest.raises(OSError):
        datasets.read_idx(tmp_path)


def mutated(content: bytes, edits: list[tuple[int, int]], cut: int) -> bytes:
    """`content` with some bytes overwritten, then shortened or lengthened by `cut`."""
    data = bytearray(content)
    for place, value in edits:
        data[place % len(data)] = value
    return bytes(data[:cut]) if cut < 0 else bytes(data) + bytes(cut)


EDITS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=4)
CUT = st.one_of(st.just(0), st.integers(-30, 30))


@given(edits=EDITS, cut=CUT, zipped=st.booleans())
@settings(max_examples=300, deadline=None)
def test_idx_survives_mutation(tmp_path_factory, edits, cut: int, zipped: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.idx"
    path.write_bytes(mutated(gzip.compress(GOOD) if zipped else GOOD, edits, cut))
    try:
        values = datasets.read_idx(path)
    except FormatError as error:
        assert str(path) in str(error)
    else:
        assert values.nbytes <= 1032 * path.stat().st_size


# ---- MNIST's layout --------------------------------------------------------------------------


def test_mnist_layout(small_set: Path) -> None:
    data = datasets.mnist(small_set)
    assert data.x.shape == (10, 6)
    assert data.x.dtype == np.float32
    assert np.array_equal(data.x, (np.arange(60).reshape(10, 6) / 255).astype(np.float32))
    assert data.classes == (3, 5, 9)
    assert data.y.tolist() == [0, 1, 2, 0, 1, 2, 2, 2, 0, 1]
    assert data.image_shape == (3, 2)
    split = data.split()
    assert split.y_test.tolist() == [2, 2, 0, 1]
    assert np.shares_memory(split.x_train, data.x)
    assert len(data.split(0.3).x_test) == 3


def test_mnist_takes_the_other_spelling(small_set: Path) -> None:
    for path in list(small_set.iterdir()):
        path.rename(small_set / path.name.replace("-idx", ".idx"))
    assert len(datasets.mnist(small_set)) == 10


@pytest.mark.parametrize(
    ("part", "images", "labels", "message"),
    [
        ("train", np.zeros((6, 3, 2), "u1"), np.zeros(5, "u1"), "6 train images and 5 labels"),
        ("t10k", np.zeros((4, 2, 2), "u1"), np.zeros(4, "u1"), "expected one size"),
        ("t10k", np.zeros((4, 3, 2), "u1"), np.full(4, 7, "u1"), "test label 7"),
        ("t10k", np.zeros((4, 3, 2), "u1"), np.full(4, 10, "u1"), "test label 10"),
        ("train", np.zeros((6, 3, 2), "f4"), np.zeros(6, "u1"), "float32 of 3 dimensions"),
        ("train", np.zeros((6, 6), "u1"), np.zeros(6, "u1"), "uint8 of 2 dimensions"),
        ("train", np.zeros((6, 3, 2), "u1"), np.zeros((6, 1), "u1"), "uint8 of 2 dimensions"),
    ],
)
def test_mnist_refuses_files_that_do_not_fit(
    small_set: Path, part: str, images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    write_set(small_set, images, labels, part, ".gz" if part == "t10k" else "")
    with pytest.raises(FormatError, match=message):
        datasets.mnist(small_set)


def test_mnist_names_the_missing_file(small_set: Path) -> None:
    (small_set / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="has no file train-labels-idx1-ubyte"):
        datasets.mnist(small_set)


@needs_mnist
def test_mnist_itself() -> None:
    data = datasets.mnist(MNIST)
    assert data.x.shape == (70000, 784)
    assert data.classes == tuple(range(10))
    assert data.image_shape == (28, 28)
    split = data.split()
    assert len(split.x_test) == 10000
    assert np.bincount(split.y_train).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert split.y_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert split.x_train.mean(dtype=np.float64) == pytest.approx(0.1307, abs=1e-4)
    assert split.x_train.std(dtype=np.float64) == pytest.approx(0.3081, abs=1e-4)


@pytest.fixture
def mirrors(
    small_set: Path, tmp_path_factory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Two local mirrors of the small set, the first with one file changed and one missing.

    Gives the paths that were asked for.
    """
    root = tmp_path_factory.mktemp("mirrors")
    sums = {}
    for mirror in ("bad", "good"):
        (root / mirror).mkdir()
        for path in small_set.iterdir():
            name = path.name.removesuffix(".gz")
            content = path.read_bytes() if path.suffix else gzip.compress(path.read_bytes())
            sums[name] = hashlib.sha256(content).hexdigest()
            (root / mirror / f"{name}.gz").write_bytes(content)
    (root / "bad" / "train-images-idx3-ubyte.gz").write_bytes(b"not the same")
    (root / "bad" / "t10k-labels-idx1-ubyte.gz").unlink()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments, directory=str(root))

        def log_request(self, *_) -> None:
            asked.append(self.path)

        def log_error(self, *_) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(idx, "_MNIST_MIRRORS", (f"{address}/bad/", f"{address}/good/"))
        monkeypatch.setattr(idx, "_MNIST_FILES", sums)
        yield asked
        server.shutdown()
        thread.join()


def test_download_tries_the_mirrors_and_checks_the_sums(
    mirrors: list[str], small_set: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pooch")
    folder = tmp_path / "new" / "mnist"
    data = datasets.mnist(folder, download=True)
    assert np.array_equal(data.x, datasets.mnist(small_set).x)
    assert sum(path.startswith("/good/") for path in mirrors) == 2
    assert sum(path.startswith("/bad/") for path in mirrors) == 4
    # Nothing is fetched twice.
    mirrors.clear()
    datasets.mnist(folder, download=True)
    assert mirrors == []


def test_download_says_when_no_mirror_helps(
    mirrors: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pooch")
    monkeypatch.setattr(idx, "_MNIST_MIRRORS", idx._MNIST_MIRRORS[:1])
    with pytest.raises(OSError, match=r"no mirror gave \S+\.gz: http://127"):
        datasets.mnist(tmp_path / "new", download=True)


def test_download_needs_pooch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install cmlp\[data\]"):
        datasets.mnist(tmp_path, download=True)


@needs_mnist
def test_the_sums_belong_to_files_of_mnists_names() -> None:
    assert set(idx._MNIST_FILES) == {path.name.removesuffix(".gz") for path in MNIST.iterdir()}
    assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in idx._MNIST_FILES.values())
