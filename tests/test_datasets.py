"""Sets that ship, sets that are drawn, MNIST's files, the split, standardisation."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmlp import datasets
from cmlp.errors import DivergenceError, FormatError

# ---- exceptions, the dataset, the split ------------------------------------------------------


def test_exceptions_are_caught_as_their_builtin_kin() -> None:
    assert issubclass(FormatError, ValueError)
    assert issubclass(DivergenceError, ArithmeticError)


def test_dataset_refuses_shapes_that_do_not_fit() -> None:
    x = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match=r"x: got shape \(3,\)"):
        datasets.Dataset("a", x[:, 0], np.zeros(3, np.int64), (0, 1))
    with pytest.raises(ValueError, match=r"y: got shape \(2,\), expected \(3,\)"):
        datasets.Dataset("a", x, np.zeros(2, np.int64), (0, 1))
    with pytest.raises(ValueError, match=r"y: got shape \(3,\), expected \(3, n_out\)"):
        datasets.Dataset("a", x, np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="n_test: got 3, expected 0 to 2"):
        datasets.Dataset("a", x, np.zeros(3, np.int64), (0, 1), n_test=3)


def test_dataset_says_what_it_is() -> None:
    assert repr(datasets.digits()) == "<Dataset digits: 1,797 samples, 64 inputs, 10 classes>"
    plane = datasets.points_2d("plane", 7)
    assert repr(plane) == "<Dataset plane: 7 samples, 2 inputs, 1 targets>"
    assert (len(plane), plane.n_in, plane.n_out) == (7, 2, 1)


def test_split_is_the_same_for_ever() -> None:
    numbered = datasets.Dataset(
        "numbers", np.arange(10, dtype=np.float32)[:, np.newaxis], np.arange(10) % 2, (0, 1)
    )
    split = numbered.split()
    assert split.x_test.ravel().tolist() == [2, 3]
    assert numbered.split(0.5, seed=1).x_test.ravel().tolist() == [2, 4, 5, 7, 9]


@given(n=st.integers(2, 200), share=st.floats(0.001, 0.999), seed=st.integers(0, 2**64))
@settings(max_examples=50, deadline=None)
def test_split_parts_every_sample_once(n: int, share: float, seed: int) -> None:
    y = np.arange(n)
    data = datasets.Dataset("all", y[:, np.newaxis].astype(np.float32), y, tuple(range(n)))
    x_train, y_train, x_test, y_test = data.split(share, seed)
    assert sorted([*y_train, *y_test]) == list(range(n))
    assert np.array_equal(x_train[:, 0], y_train)
    assert np.array_equal(x_test[:, 0], y_test)
    assert len(y_train) >= 1
    assert len(y_test) == min(n - 1, max(1, round(n * share)))


def test_split_refuses_nonsense() -> None:
    data = datasets.boolean("xor")
    for share in (0, 1, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="test_share"):
            data.split(share)
    with pytest.raises(ValueError, match="seed: got -1"):
        data.split(seed=-1)
    one = datasets.Dataset("one", data.x[:1], data.y[:1], (0, 1))
    with pytest.raises(ValueError, match="one has 1 samples, expected 2"):
        one.split()


# ---- digits ----------------------------------------------------------------------------------


def test_digits_are_the_ones_of_the_repository() -> None:
    digits = datasets.digits()
    assert digits.x.shape == (1797, 64)
    assert digits.x.dtype == np.float32
    assert digits.y.dtype == np.int64
    assert digits.classes == tuple(range(10))
    assert digits.image_shape == (8, 8)
    assert (digits.x.min(), digits.x.max()) == (0, 1)
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(digits.y).tolist() == counts
    first_row = [0, 0, 5, 13, 9, 1, 0, 0]
    assert (digits.x[0, :8] * 16).tolist() == first_row
    whole = (digits.x * 16).astype(np.uint8).tobytes() + digits.y.astype(np.uint8).tobytes()
    expected = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
    assert hashlib.sha256(whole).hexdigest() == expected


def test_digits_equal_scikit_learns() -> None:
    bundled = pytest.importorskip("sklearn.datasets").load_digits()
    digits = datasets.digits()
    assert np.array_equal(digits.x * 16, bundled.data)
    assert np.array_equal(digits.y, bundled.target)


def test_digits_hold_out_a_fifth_with_every_class() -> None:
    split = datasets.digits().split()
    assert len(split.x_test) == 359
    assert len(split.x_train) == 1438
    assert np.bincount(split.y_test).min() >= 20


def test_the_bundled_data_is_small_and_says_where_it_is_from() -> None:
    folder = Path(datasets.__file__).parent / "data"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 100_000
    note = (folder / "README.md").read_text()
    for words in ("Alpaydin", "Kaynak", "UCI", "CC BY 4.0"):
        assert words in note


# ---- points of the plane ---------------------------------------------------------------------


@pytest.mark.parametrize("name", datasets.POINTS_2D)
def test_points_have_the_common_shape(name: str) -> None:
    data = datasets.points_2d(name)
    regression = name in ("plane", "multi_gaussian")
    n = 1200 if regression else 500
    assert data.x.shape == (n, 2)
    assert data.x.dtype == np.float32
    assert data.feature_names == ("x1", "x2")
    if regression:
        assert data.classes is None
        assert data.y.shape == (n, 1)
        assert data.y.dtype == np.float32
    else:
        assert data.classes == (0, 1)
        assert data.y.dtype == np.int64
        assert abs(data.y.mean() - 0.5) < 0.1
    assert len(data.split().x_test) == n // 2
    assert len(datasets.points_2d(name, 11, test_share=0.25).split().x_test) == 3
    # Shuffled: both parts have every class, or both ends of the range.
    assert data.split().y_train.mean() == pytest.approx(data.split().y_test.mean(), abs=0.15)


@pytest.mark.parametrize("name", datasets.POINTS_2D)
def test_points_are_a_function_of_the_seed(name: str) -> None:
    one, same, other = (datasets.points_2d(name, 40, noise=0.2, seed=s) for s in (3, 3, 4))
    assert np.array_equal(one.x, same.x)
    assert np.array_equal(one.y, same.y)
    assert not np.array_equal(one.x, other.x)


@pytest.mark.parametrize("name", datasets.POINTS_2D)
@pytest.mark.parametrize("n", [2, 3])
def test_the_smallest_sets(name: str, n: int) -> None:
    assert datasets.points_2d(name, n, noise=0.5).x.shape == (n, 2)


def test_circle() -> None:
    data = datasets.points_2d("circle", 2000)
    radius = np.hypot(*data.x.T)
    assert np.array_equal(data.y == 1, radius < 2.5)
    assert not ((radius > 2.5001) & (radius < 3.4999)).any()
    assert radius.max() <= 5.0001
    # Even in radius, so not in area.
    assert np.median(radius[data.y == 1]) == pytest.approx(1.25, abs=0.1)


def test_xor() -> None:
    data = datasets.points_2d("xor", 2000)
    assert np.array_equal(data.y == 1, data.x[:, 0] * data.x[:, 1] >= 0)
    assert np.abs(data.x).min() >= 0.2999
    assert np.abs(data.x).max() <= 5.3001


def test_gauss() -> None:
    for noise, variance in ((0, 0.5), (0.5, 4.0)):
        data = datasets.points_2d("gauss", 4000, noise=noise)
        for label, centre in ((1, 2), (0, -2)):
            cloud = data.x[data.y == label]
            assert len(cloud) == 2000
            assert cloud.mean(axis=0) == pytest.approx(centre, abs=0.15)
            assert cloud.var(axis=0) == pytest.approx(variance, rel=0.12)


def test_spiral() -> None:
    data = datasets.points_2d("spiral", 500)
    radius = np.hypot(*data.x.T)
    along = radius / 5
    assert along.max() == pytest.approx(249 / 250)
    # Going back by the turn that belongs to its radius, each arm is a straight line.
    angle = np.arctan2(data.x[:, 0], data.x[:, 1]) - 1.75 * 2 * np.pi * along
    outside = radius > 0.01
    assert np.cos(angle[outside]) == pytest.approx(np.where(data.y == 1, 1, -1)[outside], abs=1e-3)
    noisy = datasets.points_2d("spiral", 500, noise=0.5)
    assert 0.5 < np.abs(noisy.x).max() <= 5.5


def test_plane() -> None:
    data = datasets.points_2d("plane")
    assert data.y[:, 0] == pytest.approx(data.x.sum(axis=1) / 10, abs=1e-6)
    assert 5.9 < np.abs(data.x).max() <= 6


def test_multi_gaussian() -> None:
    data = datasets.points_2d("multi_gaussian", 3000)
    signs = {(-4, 2.5): 1, (0, 2.5): -1, (4, 2.5): 1, (-4, -2.5): -1, (0, -2.5): 1, (4, -2.5): -1}
    expected = np.zeros(3000)
    for centre, sign in signs.items():
        away = np.hypot(*(data.x - centre).T.astype(np.float64))
        # No two of the cones overlap by more than their feet touch, so they may be added up.
        expected += sign * np.maximum(0, 1 - away / 2)
    assert data.y[:, 0] == pytest.approx(expected, abs=1e-5)
    assert data.y.max() > 0.8
    assert data.y.min() < -0.8


@pytest.mark.parametrize("name", ["circle", "xor", "plane", "multi_gaussian"])
def test_noise_moves_targets_and_not_points(name: str) -> None:
    clean, noisy = (datasets.points_2d(name, 400, noise=noise) for noise in (0, 0.5))
    assert np.array_equal(clean.x, noisy.x)
    assert (clean.y != noisy.y).mean() > 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "ring"}, "name: got 'ring', expected one of circle, xor"),
        ({"n": 1}, "n: got 1, expected 2"),
        ({"noise": 0.6}, "noise: got 0.6"),
        ({"noise": float("nan")}, "noise: got nan"),
        ({"seed": -2}, "seed: got -2"),
        ({"test_share": 0}, "test_share: got 0"),
    ],
)
def test_points_refuse_nonsense(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.points_2d(**{"name": "circle", **options})


def test_features_2d() -> None:
    x = np.array([[0.5, -2.0], [3.0, 1.0]])
    x1, x2 = x.T
    expected = np.column_stack([x1, x2, x1**2, x2**2, x1 * x2, np.sin(x1), np.sin(x2)])
    assert np.array_equal(datasets.features_2d(x), expected)
    assert np.array_equal(datasets.features_2d(x, ["sin x2", "x1"]), expected[:, [6, 0]])
    assert datasets.features_2d(x.astype(np.float32)).dtype == np.float32
    assert datasets.features_2d([[1, 2]], ["x1x2"]).dtype == np.float32
    with pytest.raises(ValueError, match="names: got 'x3'"):
        datasets.features_2d(x, ["x1", "x3"])
    with pytest.raises(ValueError, match="names: got none"):
        datasets.features_2d(x, [])
    with pytest.raises(ValueError, match=r"x: got shape \(2, 3\)"):
        datasets.features_2d(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("and", lambda a, b: a and b),
        ("or", lambda a, b: a or b),
        ("nand", lambda a, b: not (a and b)),
        ("nor", lambda a, b: not (a or b)),
        ("xor", lambda a, b: a != b),
        ("XNOR", lambda a, b: a == b),
    ],
)
def test_boolean_functions(name, function) -> None:
    table = datasets.boolean(name)
    assert table.x.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert table.y.tolist() == [int(function(a, b)) for a, b in table.x.astype(bool)]
    assert table.classes == (0, 1)
    assert table.x.flags.c_contiguous
    assert (table.x.dtype, table.y.dtype) == (np.float32, np.int64)


def test_boolean_not_and_unknown() -> None:
    table = datasets.boolean("not")
    assert table.x.tolist() == [[0], [1]]
    assert table.y.tolist() == [1, 0]
    with pytest.raises(ValueError, match="name: got 'implies', expected one of not, and"):
        datasets.boolean("implies")


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """A folder in MNIST's layout: two training and two test images of one pixel."""
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(
            b"\0\0\x08\3" + b"\0\0\0\2" + b"\0\0\0\1" * 2 + b"\0\xff"
        )
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\1\0\0\0\2\0\1")
    return tmp_path


# ---- load ------------------------------------------------------------------------------------


def test_load_by_name() -> None:
    assert datasets.load("digits").name == "digits"
    for name in datasets.POINTS_2D:
        data = datasets.load(name, n=10, noise=0.1, seed=3)
        assert np.array_equal(data.x, datasets.points_2d(name, 10, noise=0.1, seed=3).x)


def test_load_files(idx_folder: Path, tmp_path: Path) -> None:
    assert len(datasets.load(idx_folder)) == 4
    assert len(datasets.load(str(idx_folder))) == 4
    path = tmp_path / "points.csv"
    path.write_text("a,b,kind\n1,2,u\n3,4,v\n")
    assert datasets.load(path).classes == ("u", "v")
    assert datasets.load(str(path), target="b", task="regression", features=["a"]).n_out == 1


def test_load_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'moons', expected one of digits, circle, xor.*\.csv"):
        datasets.load("moons")
    with pytest.raises(ValueError, match="no data at"):
        datasets.load(tmp_path / "none")
    for name in ("none.csv", "none.csv.gz", "none.parquet", "none.npz"):
        with pytest.raises(FileNotFoundError):
            datasets.load(tmp_path / name)
    with pytest.raises(ValueError, match=r"expected a name that ends in \.csv"):
        datasets.load(__file__)
    with pytest.raises(TypeError, match="target"):
        datasets.load("circle", target="y")


def test_load_inputs(idx_folder: Path, tmp_path: Path) -> None:
    assert np.array_equal(datasets.load_inputs("digits"), datasets.digits().x)
    assert datasets.load_inputs(idx_folder).shape == (4, 1)
    path = tmp_path / "new.csv"
    path.write_text("b,a,note\n1,2,x\n3,4,y\n")
    assert datasets.load_inputs(path, features=["a", "b"]).tolist() == [[2, 1], [4, 3]]
    path.write_text("1,2\n3,4\n")
    assert datasets.load_inputs(path).tolist() == [[1, 2], [3, 4]]


# ---- standardisation -------------------------------------------------------------------------


def test_standardizer_against_numpy() -> None:
    x = np.random.default_rng(0).normal(5, 3, (200, 4)).astype(np.float32)
    z = datasets.Standardizer.fit(x).transform(x)
    expected = (x - x.mean(axis=0, dtype="f8")) / x.std(axis=0, dtype="f8")
    assert z.dtype == np.float32
    assert np.abs(z - expected).max() < 1e-6
    assert datasets.Standardizer.fit(x).transform(x.astype("f8")).dtype == np.float64


def test_standardizer_leaves_constant_columns_alone() -> None:
    x = np.full((1000, 2), 0.1, np.float32)
    x[:, 1] = np.arange(1000)
    standardizer = datasets.Standardizer.fit(x)
    assert standardizer.scale[0] == 1
    assert np.abs(standardizer.transform(x)[:, 0]).max() < 1e-12


@given(x=hnp.arrays("f8", (7, 3), elements=st.floats(-1e6, 1e6)))
@settings(max_examples=50, deadline=None)
def test_standardizer_can_be_undone_and_stored(x: np.ndarray) -> None:
    standardizer = datasets.Standardizer.fit(x)
    stored = datasets.Standardizer.from_dict(json.loads(json.dumps(standardizer.to_dict())))
    assert np.array_equal(stored.transform(x), standardizer.transform(x))
    assert stored.inverse_transform(stored.transform(x)) == pytest.approx(x, rel=1e-9, abs=1e-6)


def test_standardizer_refuses_nonsense() -> None:
    fitted = datasets.Standardizer.fit(np.eye(3))
    with pytest.raises(ValueError, match=r"x has shape \(2, 2\); expected \(n, 3\)"):
        fitted.transform(np.eye(2))
    with pytest.raises(ValueError, match=r"x has shape \(0, 3\)"):
        datasets.Standardizer.fit(np.empty((0, 3)))
    with pytest.raises(ValueError, match="x holds NaN"):
        datasets.Standardizer.fit([[np.nan, 1]])
    for broken in (
        {},
        None,
        {"mean": [1], "scale": [1, 2]},
        {"mean": [1], "scale": [0]},
        {"mean": [1], "scale": [-1]},
        {"mean": [float("nan")], "scale": [1]},
        {"mean": ["a"], "scale": [1]},
        {"mean": [[1]], "scale": [[1]]},
    ):
        with pytest.raises(FormatError):
            datasets.Standardizer.from_dict(broken)
