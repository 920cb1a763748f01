"""Whole files of every kind that cmlp reads, and ways to spoil them."""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cmlp
from cmlp.preprocessing import Standardizer

X = np.random.default_rng(3).normal(size=(40, 4)).astype("f")
Y = np.arange(40) % 3

# Numbers that stand at an edge of some type, or far beyond every size that a file can have.
EDGES = [
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**53,
    2**63 - 1,
]
EDGES += [2**63, 2**64 - 1, 10**12, 10**400, -1, -(2**31), -(2**63)]
ODD: list[Any] = [
    *EDGES, None, True, False, 0.5, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"),
    "", "a", "\0", "\u2028", "x" * 2000, "nan", "1e999", "Dense", "SGD", "Halving", "float32",
    "float64", "layers.0.weight", [], [[]], [0] * 300, [1, "a", None], {}, {"class": "ReLU"},
    {"class": "Dense", "n_in": 4, "n_out": 2**40}, {"a": {"a": {"a": {}}}},
]  # fmt: skip
CELLS = [
    "", " ", "nan", "inf", "-1e999", "1e39", "1_0", "0x10", "1e-50", "\0", '"', '""', '"a', "a,b",
    "\u20ac", "9" * 400, "x" * 140_000, "7", "+3", "True", "\r", "\n", "\ufeff", "\u0663",
]  # fmt: skip


# ---- whole files ----


def models(folder: Path) -> list[bytes]:
    small = cmlp.Sequential(
        cmlp.Dense(4, 5, activation=cmlp.LeakyReLU(0.2)), cmlp.Dropout(0.25), cmlp.PReLU(),
        cmlp.Dense(5, 3, bias=False), cmlp.Softmax(), seed=9,
    )  # fmt: skip
    small.metadata = {"scale": [1.0, 2.0], "names": {"a": "b"}}
    double = cmlp.Sequential(
        cmlp.Dense(4, 3, weight_init=cmlp.He()), cmlp.RReLU(), cmlp.ELU(), dtype="float64"
    )
    double.classes, double.link = np.array(["x", "y", "z"]), "softmax"
    double.preprocessing = cmlp.Preprocessing(
        Standardizer(np.zeros(4), np.ones(4)), feature_names=tuple("abcd")
    )
    deep = cmlp.Sequential(*(cmlp.Dense(3, 3, activation="tanh") for _ in range(100)), seed=0)
    large = cmlp.Sequential(cmlp.Dense(700, 700), seed=0)
    files = []
    for net in (small, double, deep, large):
        net.save(folder / "m")
        files.append((folder / "m").read_bytes())
    return files


class Cut(cmlp.Callback):
    """Saves a checkpoint within an epoch."""

    every_steps = 7

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_steps(self, trainer: Any) -> None:
        trainer.save_checkpoint(self.path)


def checkpoints(folder: Path) -> list[bytes]:
    files = []
    for optimizer, schedule, width in (
        (cmlp.SGD(0.1, momentum=cmlp.MomentumStep(0.5, 0.9, after=9)), cmlp.InverseTime(1, 20), 6),
        (cmlp.Adam(0.01, clip_norm=0.5), cmlp.Halving(0.05), 5),
        (cmlp.RMSprop(0.01), cmlp.Plateau(0.05, patience=0), 5),
        (cmlp.AdamW(0.01), None, 20_000),
    ):
        net = cmlp.Sequential(
            cmlp.Dense(4, width, activation="relu"), cmlp.Dropout(0.2), cmlp.Dense(width, 3), seed=0
        )
        loss = cmlp.SoftmaxCrossEntropy(class_weight={1: 2.0})
        trainer = cmlp.Trainer(net, loss, optimizer, schedule=schedule)
        fit(trainer, Cut(folder / "c"))
        files.append((folder / "c").read_bytes())
    return files


def fit(trainer: Any, *callbacks: Any) -> None:
    """What every checkpoint here is cut from, and what it is used for."""
    trainer.fit(
        X, Y, epochs=3, batch_size=16, validation=(X[::3], Y[::3]), progress=False,
        callbacks=[cmlp.EarlyStopping(patience=2), *callbacks],
    )  # fmt: skip


def idx(array: np.ndarray[Any, Any]) -> bytes:
    kind = array.dtype.str[1:]
    number = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[kind]
    start = struct.pack(f">HBB{array.ndim}I", 0, number, array.ndim, *array.shape)
    return start + array.astype(">" + kind).tobytes()


def idx_files() -> list[bytes]:
    rng = np.random.default_rng(0)
    small = [idx(rng.integers(0, 99, shape).astype("u1")) for shape in ((7, 5, 5), (30,))]
    small += [idx(rng.normal(size=(3, 4)).astype(kind)) for kind in ("i2", "f4", "f8")]
    return [*small, idx(rng.integers(0, 99, (200, 70, 70)).astype("u1"))]


def csv_files(separator: str) -> list[bytes]:
    rng = np.random.default_rng(1)

    def table(header: str, n: int, last: Callable[[int], str]) -> bytes:
        lines = [separator.join(header.split())] if header else []
        for i in range(n):
            numbers = (f"{v:.4g}" for v in rng.normal(size=3))
            lines.append(separator.join([*numbers, last(i)]))
        return "\n".join([*lines, ""]).encode()

    def wide(name: Callable[[int], str], n: int) -> str:
        return separator.join(map(name, range(n))) + "\n"

    narrow = "".join(f"1{separator}{i % 2}\n" for i in range(100_000))
    return [
        table("a b c kind", 12, lambda i: ("red", '"dark, blue"', "gr\u00fcn")[i % 3]),
        table("", 12, lambda i: str(i % 2)),
        table("a b c y", 12, lambda i: f"{i / 7:.3f}").replace(b"\n", b"\r\n"),
        narrow.encode(),
        wide(lambda i: "a", 50_000).encode(),
        (wide(lambda i: f"c{i}", 9000) + wide(lambda i: "1", 9000)).encode(),
    ]


def npz_files() -> list[bytes]:
    rng = np.random.default_rng(2)
    x, files = rng.normal(size=(20, 3)), []
    for save, arrays in (
        (np.savez, {"x": x, "y": np.arange(20) % 3}),
        (np.savez_compressed, {"x": x.astype("f"), "y": np.array(["a", "b"] * 10)}),
        (np.savez, {"x": np.asfortranarray(x), "y": x[:, :2]}),
        (np.savez_compressed, {"x": rng.integers(0, 255, (9, 5, 5)), "y": np.arange(9) % 2 > 0}),
        (np.savez, {"x": rng.normal(size=(40_000, 3)).astype("f"), "y": np.arange(40_000) % 3}),
    ):
        file = io.BytesIO()
        save(file, **arrays)
        files.append(file.getvalue())
    return files


def whole_files() -> dict[str, list[bytes]]:
    """Kind -> files; only the first few of a kind are small."""
    with tempfile.TemporaryDirectory() as name:
        kinds = {
            "model": models(Path(name)),
            "checkpoint": checkpoints(Path(name)),
            "idx": idx_files(),
            "idx.gz": [gzip.compress(data, mtime=0) for data in idx_files()[:-1]],
            "csv": csv_files(","),
            "tsv": csv_files("\t")[:3],
            "npz": npz_files(),
        }
    return kinds


# ---- damage to any bytes ----


def spoil_bytes(rng: random.Random, data: bytes) -> bytes:
    """One change at one place, more often near the start, where headers are."""
    at = min(int(len(data) * rng.random() ** rng.choice((1, 3))), max(len(data) - 1, 0))
    n = rng.choice((1, 1, 2, 4, 8, 30, 400))
    kind = rng.randrange(8)
    if kind == 0:
        return (
            data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :] if data else b""
        )
    if kind == 1:
        return data[:at] + rng.randbytes(n) + data[at + n :]
    if kind == 2:
        return data[:at] + data[at + n :]
    if kind == 3:
        return data[:at] + rng.randbytes(n) + data[at:]
    if kind == 4:
        return data[:at] + data[at : at + n] * rng.choice((2, 2, 3, 50)) + data[at + n :]
    if kind == 5:
        return data[:at]
    if kind == 6:
        size = rng.choice((1, 2, 4, 8))
        edge = (rng.choice(EDGES) % 2 ** (8 * size)).to_bytes(size, rng.choice(("little", "big")))
        return data[:at] + edge + data[at + size :]
    return data[:at] + rng.choice(b'0123456789[]{},:"-.eE\n\\ ').to_bytes(1, "big") + data[at + 1 :]


# ---- damage that knows the format, so that it is not found by the first check ----


def spoil_tree(rng: random.Random, tree: Any) -> None:
    """Change one place in a tree of JSON."""
    places: list[tuple[Any, Any]] = []
    todo = [tree]
    while todo:
        node = todo.pop()
        keys: Any = node if isinstance(node, dict) else range(len(node))
        places += [(node, key) for key in keys]
        todo += [node[key] for key in keys if isinstance(node[key], dict | list)]
    if not places:
        return
    node, key = rng.choice(places)
    kind, value = rng.randrange(6), node[key]
    if kind == 0:
        del node[key]
    elif kind == 1:
        other, place = rng.choice(places)
        node[key] = copy.deepcopy(other[place])
    elif kind == 2 and isinstance(value, int | float):
        near = max(-(2**70), min(value, 2**70)) + 0.5
        node[key] = rng.choice((value + 1, value - 1, value * 2, -value, near))
    elif kind == 3 and isinstance(value, list):
        node[key] = value * rng.choice((2, 3))
    elif kind == 4 and isinstance(node, dict):
        node[rng.choice((str(rng.choice(ODD)), key + ".1", "layers.1.weight"))] = node.pop(key)
    else:
        node[key] = copy.deepcopy(rng.choice(ODD))


def spoil_safetensors(rng: random.Random, data: bytes) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header, tensors = json.loads(data[8 : 8 + size]), data[8 + size :]
    kind = rng.randrange(8)
    if kind == 0:
        size += rng.choice((-8, -1, 1, 8, rng.choice(EDGES)))
        return (size % 2**64).to_bytes(8, "little") + data[8:]
    if kind == 1:
        spoil_tree(rng, header)
    elif kind == 2:
        entry = rng.choice([v for name, v in header.items() if name != "__metadata__"])
        shift = rng.choice((-4, 4, 8, rng.choice(EDGES)))
        entry["data_offsets"] = [v + shift * rng.randrange(2) for v in entry["data_offsets"]]
    else:
        about = json.loads(header["__metadata__"]["cmlp"])
        for _ in range(rng.choice((1, 1, 2, 3))):
            spoil_tree(rng, about)
        header["__metadata__"]["cmlp"] = json.dumps(about)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors


def spoil_idx(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(2, 4 + 4 * data[3])
    if at < 4:
        return (
            data[:at]
            + bytes([rng.choice((0, 1, 2, 4, 8, 9, 11, 13, 32, 33, 255))])
            + data[at + 1 :]
        )
    at -= at % 4
    return data[:at] + (rng.choice(EDGES) % 2**32).to_bytes(4, "big") + data[at + 4 :]


def spoil_csv(rng: random.Random, data: bytes) -> bytes:
    lines = data.decode().split("\n")
    separator = "\t" if "\t" in lines[0] else ","
    i = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        lines.insert(rng.randrange(len(lines)), lines[i])
    elif kind == 1:
        del lines[i]
    elif kind == 2:
        cells = lines[i].split(separator)
        cells[:9] = [rng.choice((cell, rng.choice(CELLS))) for cell in cells[:9]]
        lines[i] = separator.join(cells)
    else:
        cells = lines[i].split(separator)
        cells[rng.randrange(len(cells))] = rng.choice(CELLS)
        lines[i] = separator.join(cells)
    return "\n".join(lines).encode()


DTYPES = [
    "|O",
    "<f8",
    ">f4",
    "<U9999999",
    "<U1",
    "|V8",
    "<M8[s]",
    "<c16",
    "<f2",
    "|b1",
    "|S3",
    "<i8",
    "<u8",
]
NUMBERS = ["0", "-1", "7", "20", "99999999999", "9" * 40, "()", "(1,)" * 30, "None", "1.5", "2,2"]

PACKINGS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]


def spoil_npy(rng: random.Random, data: bytes) -> bytes:
    """Damage to the Python literal that heads an array, or to its length."""
    size = int.from_bytes(data[8:10], "little")
    text = data[10 : 10 + size].decode("latin-1")
    about = {"descr": text.split("'")[3], "shape": text[text.index("(") : text.index(")") + 1]}
    if rng.randrange(2):
        text = text.replace(about["descr"], rng.choice(DTYPES))
    else:
        lengths = [rng.choice(NUMBERS) for _ in range(rng.choice((1, 2)))]
        text = text.replace(about["shape"], f"({', '.join(lengths)},)")
    body = text.encode("latin-1")
    if rng.randrange(4):
        size = len(body)
    return data[:8] + (size % 2**16).to_bytes(2, "little") + body + data[10 + len(body) :]


def spoil_npz(rng: random.Random, data: bytes) -> bytes:
    """Damage inside the members, with sums that are right again."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        names = old.namelist()
        victim = rng.choice(names)
        for name in names:
            member = old.read(name)
            if name == victim:
                spoil = rng.choice((spoil_npy, spoil_npy, spoil_bytes))
                member = spoil(rng, member)
                if not rng.randrange(8):
                    name = rng.choice(("x.npy", "y.npy", "z.npy", "x", "../x.npy", ""))
            packing = rng.choice(PACKINGS)
            with warnings.catch_warnings(action="ignore"):  # two members of one name
                new.writestr(zipfile.ZipInfo(name), member, packing, compresslevel=1)
    return file.getvalue()


def spoil_gzip(rng: random.Random, data: bytes) -> bytes:
    return gzip.compress(
        rng.choice((spoil_idx, spoil_bytes))(rng, gzip.decompress(data)), 1, mtime=0
    )


KNOWING: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "model": spoil_safetensors,
    "checkpoint": spoil_safetensors,
    "idx": spoil_idx,
    "idx.gz": spoil_gzip,
    "csv": spoil_csv,
    "tsv": spoil_csv,
    "npz": spoil_npz,
}


def mutated(seed: int, i: int, files: dict[str, list[bytes]]) -> tuple[str, bytes]:
    """Kind and content of damaged file i of a run."""
    rng = random.Random((seed << 40) + i)
    kind = rng.choice(list(files))
    small = files[kind][:3]
    data = rng.choice(files[kind]) if rng.randrange(100) == 0 else rng.choice(small)
    way = rng.randrange(4)
    if way:
        data = KNOWING[kind](rng, data)
    if way != 1:
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = spoil_bytes(rng, data)
    return kind, data
