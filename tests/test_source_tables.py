"""Sources of tables and of other libraries' arrays; and the memory that reading takes."""

import os
import subprocess
import sys

import numpy as np
import pytest

import cmlp
from cmlp.data import Source

N = 700
RNG = np.random.default_rng(12)
X = RNG.normal(size=(N, 4)).astype("f")
LABELS = RNG.integers(3, size=N)
NAMES = np.array(["red", "green", "blue"])[LABELS]
COLUMNS = [f"x{i}" for i in range(4)]


def train(*data, shuffle=False, **options):
    net = cmlp.Sequential(cmlp.Dense(4, 6, "tanh"), cmlp.Dense(6, 3), seed=3)
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.Adam(0.01))
    trainer.fit(*data, epochs=2, batch_size=32, shuffle=shuffle, **options)
    return trainer.net


@pytest.fixture
def table():
    """An Arrow table: inputs, labels as text, weights, and a column of no use."""
    pa = pytest.importorskip("pyarrow")
    columns = {name: X[:, i] for i, name in enumerate(COLUMNS)}
    return pa.table(
        {"no use": np.arange(N), **columns, "colour": NAMES, "n": np.ones(N), "label": LABELS}
    )


@pytest.fixture
def parquet(table, tmp_path):
    """A file of row groups of 90 rows."""
    from pyarrow import parquet

    path = tmp_path / "table.parquet"
    parquet.write_table(table, path, row_group_size=90)
    return path


def check(source, weight=None):
    """The source trains as the arrays do, and its net knows names and classes."""
    net = train(source)
    weight = None if weight is None else np.ones(N)
    assert np.array_equal(net.get_flat(), train(X, NAMES, sample_weight=weight).get_flat())
    assert net.classes.tolist() == ["blue", "green", "red"]
    assert net.preprocessing.feature_names == tuple(COLUMNS)


class TestParquet:
    @pytest.mark.parametrize("n_readers", [1, 3])
    @pytest.mark.parametrize("window", [50, 250, 5000])
    def test_of_one_file(self, parquet, window, n_readers):
        options = {"window": window, "n_readers": n_readers}
        check(Source.from_parquet(parquet, "colour", COLUMNS, **options))
        check(Source.from_parquet(parquet, "colour", COLUMNS, "n", **options), "n")

    def test_of_a_folder(self, table, tmp_path):
        from pyarrow import parquet

        folder = tmp_path / "parts"
        folder.mkdir()
        for i, start in enumerate(range(0, N, 300)):
            parquet.write_table(table.slice(start, 300), folder / f"{i}.parquet")
        check(Source.from_parquet(folder, "colour", COLUMNS, window=100))

    def test_shuffled_by_row_groups(self, parquet):
        nets = [
            train(
                Source.from_parquet(parquet, "label", COLUMNS, window=200, n_readers=n),
                shuffle=True,
            )
            for n in (1, 4)
        ]
        assert np.array_equal(nets[0].get_flat(), nets[1].get_flat())
        assert not np.array_equal(nets[0].get_flat(), train(X, LABELS).get_flat())

    def test_all_other_columns_are_inputs(self, parquet):
        assert Source.from_parquet(parquet, "label", None, "n").columns is not None
        found = Source.from_parquet(parquet, ["label", "n"]).columns
        assert found == ("no use", *COLUMNS, "colour")

    def test_that_are_cut_short(self, parquet, tmp_path):
        whole = parquet.read_bytes()
        for share in (0.0, 0.1, 0.5, 0.9, 0.999):
            path = tmp_path / "short.parquet"
            path.write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(cmlp.FormatError, match=r"short\.parquet is damaged"):
                Source.from_parquet(path, "label", COLUMNS)

    def test_with_damaged_pages(self, parquet):
        """The description at the end is good; what it points to is not."""
        whole = bytearray(parquet.read_bytes())
        half = len(whole) // 3
        whole[4:half] = bytes(half - 4)
        parquet.write_bytes(whole)
        source = Source.from_parquet(parquet, "label", COLUMNS)
        with pytest.raises(cmlp.FormatError, match=r"table\.parquet is damaged"):
            train(source)

    def test_that_change(self, parquet):
        source = Source.from_parquet(parquet, "label", COLUMNS)
        os.utime(parquet, ns=(0, 0))
        with pytest.raises(cmlp.FormatError, match="has been changed"):
            train(source)

    def test_columns_that_do_not_fit(self, parquet):
        for arguments, match in (
            (("size", COLUMNS), "no column 'size'"),
            (("label", ["x0", "x9"]), "no column 'x9'"),
            (("label", []), "no column for the inputs"),
        ):
            with pytest.raises(ValueError, match=match):
                Source.from_parquet(parquet, *arguments)
        with pytest.raises(TypeError, match="column 'colour' has object; expected numbers"):
            train(Source.from_parquet(parquet, "label", [*COLUMNS[:3], "colour"]))
        other = train(X, LABELS)
        other.preprocessing = cmlp.Preprocessing(feature_names=COLUMNS[::-1])
        with pytest.raises(ValueError, match="has the columns"):
            cmlp.Trainer(other, cmlp.SoftmaxCrossEntropy()).fit(
                Source.from_parquet(parquet, "label", COLUMNS)
            )

    def test_missing_values(self, table, tmp_path):
        import pyarrow as pa
        from pyarrow import parquet

        path = tmp_path / "gaps.parquet"
        gaps = table.set_column(1, "x0", pa.array([None, *X[1:, 0]], pa.float32()))
        parquet.write_table(gaps, path)
        with pytest.raises(ValueError, match="column 'x0' has missing values, 1 of them"):
            train(Source.from_parquet(path, "label", COLUMNS))


class TestMixedColumns:
    def test_go_through_what_the_net_has_learnt(self, tmp_path):
        """Text, missing values and times, as a net with a `TablePreprocessor` takes them."""
        pandas = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        homes = pandas.DataFrame(
            {"size": RNG.uniform(40, 200, N), "city": RNG.choice(["Bonn", "Ulm", "Jena"], N)}
        )
        homes.loc[::9, "size"] = None
        homes.loc[::7, "city"] = None
        price = homes["size"].fillna(100) + 50 * (homes["city"] == "Ulm")
        path = tmp_path / "homes.parquet"
        homes.assign(price=price).to_parquet(path, row_group_size=110)
        columns = cmlp.TablePreprocessor().fit(homes)

        def learnt(*data):
            n_in = len(columns.get_feature_names_out())
            net = cmlp.Sequential(cmlp.Dense(n_in, 6, "tanh"), cmlp.Dense(6, 1), seed=3)
            targets = cmlp.preprocessing.Standardizer.fit(price.to_numpy()[:, None])
            net.preprocessing = cmlp.Preprocessing(columns.encoder_, targets)
            trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.Adam(0.01))
            trainer.fit(*data, epochs=2, batch_size=32, shuffle=False)
            return net.get_flat()

        found = learnt(Source.from_parquet(path, "price", window=150, n_readers=2))
        assert np.array_equal(found, learnt(homes, price.to_numpy()))
        with pytest.raises(ValueError, match="column 'city' has missing values"):
            train(Source.from_parquet(path, "price", ["city"]))


class TestFrames:
    def test_of_arrow(self, table, parquet):
        import pyarrow.dataset

        for frame in (table, pyarrow.dataset.dataset(parquet)):
            check(Source.from_frame(frame, "colour", COLUMNS, window=150))
        with pytest.raises(TypeError, match="frame is list"):
            Source.from_frame([1], "colour")

    def test_of_polars(self, table, parquet):
        polars = pytest.importorskip("polars")
        for frame in (polars.from_arrow(table), polars.scan_parquet(parquet)):
            check(Source.from_frame(frame, "colour", COLUMNS, window=150, block_rows=64))
        filtered = polars.scan_parquet(parquet).filter(polars.col("x0") > 0)
        net = train(Source.from_frame(filtered, "label", COLUMNS, window=100))
        rows = X[:, 0] > 0
        assert np.array_equal(net.get_flat(), train(X[rows], LABELS[rows]).get_flat())

    def test_of_dask(self, table):
        dask = pytest.importorskip("dask.dataframe")
        frame = dask.from_pandas(table.to_pandas(), npartitions=4)
        check(Source.from_frame(frame, "colour", COLUMNS, window=150))


class TestArrays:
    def test_of_hdf5(self, tmp_path):
        h5py, path = pytest.importorskip("h5py"), tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file["x"], file["labels"] = X, LABELS
        source = Source.from_hdf5(path, y="labels", window=100)
        assert np.array_equal(train(source).get_flat(), train(X, LABELS).get_flat())
        with pytest.raises(ValueError, match="'y' is no array of the file; expected one of"):
            Source.from_hdf5(path)
        path.write_bytes(path.read_bytes()[:900])
        with pytest.raises(cmlp.FormatError, match=r"a\.h5 (has been changed|is damaged)"):
            train(source)
        with pytest.raises(cmlp.FormatError, match=r"a\.h5 is damaged"):
            Source.from_hdf5(path, y="labels")

    def test_of_zarr(self, tmp_path):
        zarr = pytest.importorskip("zarr")
        group = zarr.open_group(tmp_path / "a.zarr", mode="w")
        group.create_array("x", data=X)
        group.create_array("y", data=LABELS)
        source = Source.from_zarr(tmp_path / "a.zarr", window=100)
        assert np.array_equal(train(source).get_flat(), train(X, LABELS).get_flat())

    def test_of_dask(self):
        dask = pytest.importorskip("dask.array")
        source = Source.from_arrays(
            dask.from_array(X, (100, 4)), dask.from_array(LABELS), window=90
        )
        assert source.shuffle == "blocks"
        assert np.array_equal(train(source).get_flat(), train(X, LABELS).get_flat())


# ---- memory ----

# Trains in a process that may have so much data, and tells its peak above that of a small source.
MEMORY = """
import resource, sys
import numpy as np
import cmlp
from cmlp.data import Source


def most():  # of this program alone: ru_maxrss knows what its parent had, too
    status = open("/proc/self/status").read()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])

folder, shuffle, n_in, limit, epochs = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
net = cmlp.Sequential(cmlp.Dense(n_in, 8, "relu"), cmlp.Dense(8, 1), seed=0)
trainer = cmlp.Trainer(net, cmlp.BinaryCrossEntropy(), cmlp.Adam(), n_threads=1)
trainer.fit(Source.from_chunks(lambda: [(np.ones((256, n_in)), np.ones(256))]), epochs=1)
before = most()
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
source = Source.from_npy(f"{folder}/x.npy", f"{folder}/y.npy", shuffle=shuffle)
trainer.fit(source, epochs=epochs)
peak = most()
print(peak, peak - before, source.memory_bytes(), source.n_rows)
"""


def write_rows(folder, n, n_in, dtype="float32"):
    """Files of n rows, without having them in memory."""
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", dtype, (n, n_in))
    y = np.lib.format.open_memmap(folder / "y.npy", "w+", "float32", (n, 1))
    rng = np.random.default_rng(0)
    for start in range(0, n, 1 << 16):
        rows = rng.standard_normal((min(1 << 16, n - start), n_in), "f")
        x[start : start + len(rows)] = rows
        y[start : start + len(rows), 0] = rows[:, 0] > 0


def memory_of(folder, shuffle, n_in, limit, epochs):
    pytest.importorskip("resource")
    arguments = [str(folder), shuffle, str(n_in), str(limit), str(epochs)]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=True
    )
    return map(int, done.stdout.split())


@pytest.mark.skipif(sys.platform != "linux", reason="measures resident memory as Linux does")
def test_memory_is_bounded(tmp_path):
    """Reading takes no more than is stated, from files of twice that."""
    write_rows(tmp_path, 1 << 19, 32)
    _, taken, stated, n_rows = memory_of(tmp_path, "blocks", 32, 400 << 20, 1)
    assert taken <= stated < n_rows * 33 * 4


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures resident memory as Linux does")
def test_a_gigabyte_within_200_megabytes(tmp_path):
    write_rows(tmp_path, 10_000_000, 28)
    peak, taken, stated, _ = memory_of(tmp_path, "blocks", 28, 200 << 20, 1)
    assert peak < 200 << 20 and taken <= stated
    memory_of(tmp_path, "full", 28, 300 << 20, 1)  # mapped pages are not of the process
