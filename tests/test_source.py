"""Data read while training: the same bits as data in memory, and errors that end it cleanly."""

import os
import threading

import numpy as np
import pytest
from trainer_parts import SaveAndEnd

import cmlp
from cmlp import _core
from cmlp.data import Source
from cmlp.data.order import Order

N = 1003
RNG = np.random.default_rng(11)
X = RNG.normal(size=(N, 6)).astype("f")
LABELS = RNG.integers(3, size=N)
NUMBERS = RNG.normal(size=(N, 2)).astype("f")
WEIGHTS = RNG.uniform(0.5, 2.0, size=N).astype("f")
ROUND = {"epochs": 2, "batch_size": 32}


class OwnLoss:
    """A squared error as a user may write it."""

    def forward(self, y, t, w=None):
        self.d = y - t
        return float((self.d**2).sum() / len(y) / 2)

    def backward(self):
        return self.d / len(self.d)


def make(loss=None, scaled=False, dropout=0.2):
    loss = loss or cmlp.SoftmaxCrossEntropy()
    n_out = 3 if isinstance(loss, cmlp.SoftmaxCrossEntropy) else 2
    net = cmlp.Sequential(
        cmlp.Dense(6, 8, "tanh"), cmlp.Dropout(dropout), cmlp.Dense(8, n_out), seed=3
    )
    if scaled:
        targets = NUMBERS if n_out == 2 else None
        net.preprocessing = cmlp.Preprocessing.fit(X * 3 + 1, targets)
    return cmlp.Trainer(net, loss, cmlp.Adam(0.01))


def result(trainer, *data, **options):
    history = trainer.fit(*data, **{**ROUND, **options})
    return trainer.net.get_flat(), history["loss"]


def check_same(one, other):
    assert np.array_equal(one[0], other[0]) and one[1] == other[1]


def pieces(*arrays, rows=77):
    """A function of chunks, for ``from_chunks``."""
    return lambda: (tuple(a[i : i + rows] for a in arrays) for i in range(0, N, rows))


@pytest.fixture
def files(tmp_path):
    """Arrays in .npy files, and one in a folder of several."""
    arrays = {"x": X, "wide": X.astype("d"), "labels": LABELS, "numbers": NUMBERS, "w": WEIGHTS}
    for name, a in arrays.items():
        np.save(tmp_path / f"{name}.npy", a)
    (tmp_path / "parts").mkdir()
    for i, part in enumerate(np.array_split(X, 3)):
        np.save(tmp_path / "parts" / f"part{i}.npy", part)
    return tmp_path


def npy(files, x="x", y="labels", weight=None, **options):
    """A source of some of the files."""
    paths = [files / (name if (files / name).is_dir() else f"{name}.npy") for name in (x, y)]
    return Source.from_npy(*paths, weight and files / f"{weight}.npy", **options)


class TestFullShuffle:
    @pytest.mark.parametrize(
        ("x", "options"),
        [
            ("x", {}),
            ("x", {"n_readers": 3}),
            ("wide", {"window": 300}),
            ("wide", {"window": 7, "n_readers": 2}),
            ("parts", {"window": 64}),
            ("parts", {"window": 5000}),
        ],
    )
    @pytest.mark.parametrize("shuffle", [True, False])
    def test_has_the_bits_of_arrays(self, files, x, options, shuffle):
        found = result(make(), npy(files, x, **options), shuffle=shuffle)
        check_same(found, result(make(), X, LABELS, shuffle=shuffle))

    @pytest.mark.parametrize("loss", [cmlp.SquaredError, OwnLoss])
    @pytest.mark.parametrize("scaled", [False, True])
    def test_of_numbers_and_weights(self, files, loss, scaled):
        weight = "w" if loss is cmlp.SquaredError else None
        source = npy(files, y="numbers", weight=weight, window=100)
        data = X, NUMBERS
        options = {} if weight is None else {"sample_weight": WEIGHTS}
        found = result(make(loss(), scaled), source)
        check_same(found, result(make(loss(), scaled), *data, **options))

    def test_copies_nothing_that_is_mapped(self, files):
        trainer, source, seen = make(), npy(files), []

        class Look(cmlp.Callback):
            def on_train_begin(self, trainer):
                seen.append(trainer.fitting.data.x)

        trainer.fit(source, callbacks=[Look()], **ROUND)
        assert np.shares_memory(seen[0], source.blocks.mapped().x)
        assert not seen[0].flags.writeable


class TestBlocks:
    @pytest.mark.parametrize("window", [9, 100, 333, 2000])
    @pytest.mark.parametrize("batch_size", [1, 32, 250])
    def test_minibatches_follow_from_the_order_alone(self, files, window, batch_size):
        options = {"shuffle": "blocks", "window": window, "block_rows": 40}
        trainer, plain = make(dropout=0.0), make(dropout=0.0)
        found = result(trainer, npy(files, **options), batch_size=batch_size)
        order = Order(npy(files, **options).blocks.sizes, window, "blocks", plain.seed)
        for epoch in range(2):
            rows = rows_of(order, epoch, 40)
            assert np.array_equal(np.sort(rows), np.arange(N))
            plain.fit(X[rows], LABELS[rows], 1, batch_size, shuffle=False)
        assert np.array_equal(found[0], plain.net.get_flat())

    def test_any_number_of_readers(self, files):
        options = {"shuffle": "blocks", "window": 200, "block_rows": 30}
        first = result(make(), npy(files, **options))
        for n in (2, 5):
            check_same(first, result(make(), npy(files, n_readers=n, **options)))

    def test_differ_from_epoch_to_epoch_and_by_seed(self):
        orders = [Order([50] * 20, 200, "blocks", seed) for seed in (1, 2)]
        found = [rows_of(order, epoch, 50) for order in orders for epoch in (0, 1)]
        assert len({tuple(rows) for rows in found}) == 4

    @pytest.mark.parametrize("sorted_file", [True, False])
    def test_quality_is_that_of_a_cluster_sample(self, sorted_file):
        """The variance of a window's mean is what `Source` says."""
        n_blocks, rows, n = 40, 25, 5
        values = np.random.default_rng(2).normal(size=n_blocks * rows)
        if sorted_file:
            values.sort()
        order = Order([rows] * n_blocks, n * rows, "blocks", 7)
        means = [values[rows_of(order, e, rows)[: n * rows]].mean() for e in range(1000)]
        blocks = values.reshape(n_blocks, rows)
        squares = values.var(ddof=1)
        # the correlation of rows of a block, by Cochran's definition
        deviations = blocks - values.mean()
        pairs = (deviations.sum(axis=1) ** 2 - (deviations**2).sum(axis=1)).sum()
        rho = pairs / ((rows - 1) * (values.size - 1) * squares)
        expected = squares / (n * rows) * (1 - n / n_blocks) * (1 + (rows - 1) * rho)
        assert np.var(means) == pytest.approx(expected, rel=0.15)


def rows_of(order, epoch, block_rows):
    """The numbers of the rows of an epoch, in order, where all blocks but the last have so many."""
    found = []
    for number in range(order.n_windows):
        pieces = order.pieces(epoch, number)
        read = [p.block * block_rows + np.arange(p.start, p.start + p.n) for p in pieces]
        found.append(np.concatenate(read)[order.within(epoch, number)])
    return np.concatenate(found)


class TestChunks:
    def test_have_the_bits_of_arrays_without_shuffling(self):
        expected = result(make(), X, LABELS, shuffle=False)
        for rows in (1, 77, 5000):
            source = Source.from_chunks(pieces(X, LABELS, rows=rows), window=150)
            check_same(expected, result(make(), source, shuffle=False))

    def test_are_shuffled_alike_however_they_are_cut(self):
        first = result(make(), Source.from_chunks(pieces(X, LABELS), window=150))
        other = result(make(), Source.from_chunks(pieces(X, LABELS, rows=10), N, window=150))
        check_same(first, other)

    def test_are_made_once_for_each_epoch(self):
        made = []
        source = Source.from_chunks(lambda: made.append(0) or pieces(X, LABELS)(), N, window=150)
        before = len(made)
        make().fit(source, epochs=4, batch_size=32)
        assert len(made) - before == 4 + 3  # and looks at the first labels, weights and rows

    def test_give_names_of_classes(self):
        names = np.array(["a", "b", "c"])[LABELS]
        found = make()
        result(found, Source.from_chunks(pieces(X, names), window=100), shuffle=False)
        assert found.net.classes.tolist() == ["a", "b", "c"]
        plain = make()
        result(plain, X, names, shuffle=False)
        assert np.array_equal(found.net.get_flat(), plain.net.get_flat())


class TestResume:
    @pytest.mark.parametrize("kind", ["mapped", "full", "blocks", "chunks", "own"])
    @pytest.mark.parametrize("n", [6, pytest.param(40, marks=pytest.mark.slow)])
    def test_at_any_step(self, files, tmp_path, kind, n):
        """In the slow run at 200 random steps over all kinds."""
        source = {
            "mapped": lambda: npy(files),
            "full": lambda: npy(files, "wide", window=130),
            "blocks": lambda: npy(files, shuffle="blocks", window=130, block_rows=21, n_readers=2),
            "chunks": lambda: Source.from_chunks(pieces(X, LABELS), N, window=130),
            "own": lambda: npy(files, y="numbers", shuffle="blocks", window=130, block_rows=21),
        }[kind]
        loss = OwnLoss if kind == "own" else cmlp.SoftmaxCrossEntropy
        expected, steps = result(make(loss()), source()), 2 * -(-N // 32)
        for step in np.random.default_rng(4).integers(1, steps, n):
            path = tmp_path / "cut.safetensors"
            make(loss()).fit(source(), callbacks=[SaveAndEnd(int(step), path)], **ROUND)
            trainer = make(loss())
            found = result(trainer, source(), resume=path)
            check_same(expected, found)

    def test_is_refused_with_another_order(self, files, tmp_path):
        path, options = tmp_path / "cut.safetensors", {"shuffle": "blocks", "window": 130}
        make().fit(npy(files, **options), callbacks=[SaveAndEnd(5, path)], **ROUND)
        for other in ({"window": 131}, {"block_rows": 9}, {"shuffle": "full"}):
            with pytest.raises(ValueError, match="source's order"):
                make().fit(npy(files, **{**options, **other}), resume=path, **ROUND)


class Broken:
    """Chunks of which one is not given: something is raised, or they end."""

    def __init__(self, error):
        self.error = error

    def __call__(self):
        for i, chunk in enumerate(pieces(X, LABELS)()):
            if i == 9:
                if self.error is None:
                    return
                raise self.error
            yield chunk


class TestReadersThatFail:
    @pytest.mark.parametrize(
        ("error", "raised", "match"),
        [
            (OSError("the disk is gone"), OSError, "the disk is gone"),
            (ValueError("bad"), ValueError, "bad"),
            (SystemExit(3), RuntimeError, "SystemExit"),
            (KeyboardInterrupt(), RuntimeError, "KeyboardInterrupt"),
            (GeneratorExit(), RuntimeError, "GeneratorExit"),
            (None, ValueError, "ends after 693 rows"),
        ],
    )
    def test_end_training_between_two_steps(self, error, raised, match):
        trainer = make(dropout=0.0)
        source = Source.from_chunks(Broken(error), N, window=100)
        threads = threading.active_count()
        with pytest.raises(raised, match=match):
            trainer.fit(source, epochs=3, batch_size=32, shuffle=False)
        plain = make(dropout=0.0)
        plain.fit(X[: 32 * trainer.step_count], LABELS[: 32 * trainer.step_count], 1, 32, False)
        assert np.array_equal(trainer.net.get_flat(), plain.net.get_flat())
        assert trainer.step_count > 0 and trainer.fitting is None
        trainer.fit(X, LABELS, epochs=1)  # goes on
        assert threading.active_count() <= threads + 1

    def test_name_what_is_wrong_with_the_data(self):
        bad = X.copy()
        bad[700, 2] = np.nan
        with pytest.raises(ValueError, match=r"the source's x holds nan"):
            make().fit(Source.from_chunks(pieces(bad, LABELS), window=100), **ROUND)
        labels = LABELS.copy()
        labels[700] = 7
        with pytest.raises(ValueError, match=r"the source's y has labels 0..7"):
            make().fit(Source.from_chunks(pieces(X, labels), window=100), **ROUND)


class Change(cmlp.Callback):
    """Does something to a file when an epoch has ended."""

    def __init__(self, change):
        self.change = change

    def on_epoch_end(self, trainer, row):
        self.change()


class TestChangedFiles:
    @pytest.mark.parametrize("shuffle", ["full", "blocks"])
    @pytest.mark.parametrize("how", ["longer", "touched", "replaced", "gone"])
    def test_end_training(self, files, shuffle, how):
        path = files / "x.npy"

        def change():
            if how == "longer":
                with path.open("ab") as file:
                    file.write(b"more")
            elif how == "touched":
                os.utime(path, ns=(0, 0))
            elif how == "replaced":
                os.replace(files / "wide.npy", path)
            else:
                path.unlink()

        trainer, source = make(), npy(files, shuffle=shuffle, window=100)
        with pytest.raises(cmlp.FormatError, match=r"x\.npy (has been changed|cannot be read)"):
            trainer.fit(source, epochs=4, batch_size=32, callbacks=[Change(change)])
        assert trainer.epoch == 1

    def test_that_are_shorter_are_no_crash(self, files):
        source = npy(files, shuffle="blocks", window=100)
        os.truncate(files / "x.npy", 9000)
        with pytest.raises(cmlp.FormatError, match="x.npy has been changed"):
            make().fit(source, **ROUND)
        with pytest.raises(cmlp.FormatError, match=r"x.npy is damaged"):
            npy(files)


class TestWhatIsRefused:
    def test_arguments(self, files):
        for options, match in (
            ({"shuffle": "some"}, "shuffle is 'some'; expected one of full, blocks"),
            ({"window": 0}, "window is 0"),
            ({"block_rows": -1}, "block_rows is -1"),
            ({"n_readers": 0}, "n_readers is 0"),
        ):
            with pytest.raises(ValueError, match=match):
                npy(files, **options)
        with pytest.raises(ValueError, match="expected 'blocks'"):
            Source.from_chunks(pieces(X, LABELS), shuffle="full")
        with pytest.raises(TypeError, match="chunks is list"):
            Source.from_chunks([1])
        with pytest.raises(TypeError, match="chunks gave int"):
            Source.from_chunks(lambda: [1])
        with pytest.raises(ValueError, match="gave no rows"):
            Source.from_chunks(list)
        with pytest.raises(TypeError, match="x is list; expected an array"):
            Source.from_arrays([[1.0]], LABELS)

    def test_files(self, files):
        with pytest.raises(ValueError, match=r"y has shape \(1003,\); expected \(335, ...\)"):
            Source.from_npy(files / "parts" / "part0.npy", files / "labels.npy")
        with pytest.raises(FileNotFoundError):
            npy(files, "nothing")
        np.save(files / "f.npy", np.asfortranarray(X))
        with pytest.raises(cmlp.FormatError, match="stored column by column"):
            npy(files, "f")
        with pytest.raises(cmlp.FormatError, match="expected \\(6,\\) and float32"):
            Source.from_npy([files / "x.npy", files / "wide.npy"], files / "labels.npy")

    def test_with_a_trainer(self, files):
        trainer, source = make(), npy(files)
        with pytest.raises(TypeError, match="expected neither with a source"):
            trainer.fit(source, LABELS)
        with pytest.raises(TypeError, match="y is None"):
            trainer.fit(X)
        with pytest.raises(ValueError, match="expected \\(batch, 6\\)"):
            trainer.fit(Source.from_arrays(X[:, :4].astype("d"), LABELS))
        trainer.optimizer = cmlp.LBFGS()
        with pytest.raises(ValueError, match="for LBFGS"):
            trainer.fit(npy(files, "wide"))
        assert trainer.step_count == 0


def test_a_window_of_an_epoch_in_the_core():
    """What the core refuses of a window."""
    trainer = make()
    plan = trainer.loop_for(32).plan
    whole = "whole minibatches"
    for n, *window, match in ((100, 1, N, whole), (100, 0, 50, whole), (11, 992, N, "cursor")):
        with pytest.raises(ValueError, match=match):
            plan.fit(X[:n], LABELS[:n], None, 1, False, 0.1, window=window)
    with pytest.raises(ValueError, match="epochs is 2"):
        plan.fit(X[:96], LABELS[:96], None, 2, False, 0.1, window=(0, N))
    assert plan.fit(X[:96], LABELS[:96], None, 1, False, 0.1, window=(0, N))[1] == "paused"
    with pytest.raises(ValueError, match="step_in_epoch is 3; expected below 3"):
        plan.fit(X[:96], LABELS[:96], None, 1, False, 0.1, window=(0, N))
    assert isinstance(_core.permutation(3, 1, 0), np.ndarray)


@pytest.mark.parametrize("in_memory", [True, False])
def test_divergence_puts_back_the_start_of_the_epoch(in_memory):
    """Also where windows and pauses lie between that and the step that diverged."""

    class Pause(cmlp.Callback):
        every_steps = 3

        def on_steps(self, trainer):
            return False

    trainer, bad = make(cmlp.SquaredError()), NUMBERS.copy()
    trainer.fit(X, NUMBERS, **ROUND)
    good = trainer.net.get_flat()
    bad[900:] = 3e38
    data = (X, bad) if in_memory else (Source.from_chunks(pieces(X, bad), window=100),)
    with pytest.raises(cmlp.DivergenceError, match="those after epoch 2"):
        trainer.fit(*data, shuffle=False, callbacks=[Pause()], **ROUND)
    assert np.array_equal(trainer.net.get_flat(), good)
