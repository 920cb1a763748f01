"""What is built on many nets in one call: predictions, ensembles, populations, folds, sweeps."""

import subprocess
import sys

import numpy as np
import pytest

import cmlp
from cmlp.errors import FormatError


def build(seed, width=6, lr=0.1, activation="tanh"):
    net = cmlp.Sequential(
        cmlp.Dense(2, width, activation=activation), cmlp.Dense(width, 3), seed=seed
    )
    return cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(lr))


class TestPredictMany:
    def test_same_bits_as_alone(self, points):
        nets = [build(seed, 3 + seed % 2).net for seed in range(5)]
        found = cmlp.predict_many(nets, points[0])
        assert np.array_equal(found.outputs, [net.predict(points[0]) for net in nets])
        np.testing.assert_allclose(found.mean, found.outputs.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.spread, found.outputs.std(axis=0), rtol=1e-4, atol=1e-6)
        brief = cmlp.predict_many(nets, points[0], keep=False, n_threads=1)
        assert brief.outputs is None
        assert np.array_equal(brief.mean, found.mean)
        assert np.array_equal(brief.spread, found.spread)

    @pytest.mark.parametrize("scaled", [False, True])
    def test_probabilities(self, points, scaled):
        nets = [build(seed).net for seed in range(3)]
        if scaled:  # by each net for itself
            inputs = cmlp.preprocessing.Standardizer.fit(points[0])
            nets[1].preprocessing = cmlp.Preprocessing(inputs=inputs)
        found = cmlp.predict_many(nets, points[0], probabilities=True)
        assert np.array_equal(found.outputs, [net.predict_proba(points[0]) for net in nets])
        np.testing.assert_allclose(found.mean.sum(axis=1), 1.0, rtol=1e-5)

    @pytest.mark.parametrize(
        ("nets", "error", "words"),
        [
            ([], ValueError, "nets is empty"),
            (3, TypeError, "nets is 3"),
            ([3], TypeError, r"nets\[0\] is 3"),
            (
                [cmlp.Sequential(cmlp.Dense(2, 3)), cmlp.Sequential(cmlp.Dense(2, 2))],
                ValueError,
                r"nets\[1\] takes",
            ),
        ],
    )
    def test_errors(self, nets, error, words):
        with pytest.raises(error, match=words):
            cmlp.predict_many(nets, np.zeros((1, 2)))


class TestEnsemble:
    @pytest.mark.parametrize("bootstrap", [False, True])
    def test_nets_are_those_trained_alone(self, points, bootstrap):
        ensemble = cmlp.Ensemble.trained(build, *points, n=3, bootstrap=bootstrap, seed=5, epochs=3)
        rng = np.random.default_rng(5)
        for i, net in enumerate(ensemble.nets):
            rows = rng.integers(0, 90, 90) if bootstrap else np.arange(90)
            alone = build(5 + i)
            alone.fit(points[0][rows], points[1][rows], epochs=3)
            assert np.array_equal(net.get_flat(), alone.net.get_flat())
        p = ensemble.predict_proba(points[0])
        assert np.array_equal(p, ensemble.predictions(points[0], probabilities=True).mean)
        assert ensemble.predict(points[0]).shape == (90, 3)
        assert len(ensemble) == 3

    def test_nets_that_diverge_are_left_out(self, points):
        x = points[0]

        def make(seed):
            net = cmlp.Sequential(cmlp.Dense(2, 2), seed=seed)
            return cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(1e20 if seed else 0.01))

        assert len(cmlp.Ensemble.trained(make, x, x, n=2, epochs=20)) == 1
        with pytest.raises(cmlp.DivergenceError, match="all 2 nets"):
            cmlp.Ensemble.trained(make, x, x, n=2, seed=1, epochs=20)


class TestPopulation:
    def test_same_bits_as_trainers(self, points):
        population = cmlp.Population(lambda seed: build(seed).net, 4)
        rates, adam = [0.1, 0.01, 0.001, 0.2], cmlp.Adam()
        losses = [
            population.fit(*points, "softmax_cross_entropy", adam, epochs=n, lr=rates)
            for n in (2, 3)
        ]
        for i, lr in enumerate(rates):
            alone = build(i)
            alone.optimizer = cmlp.Adam(lr)
            for call, n in enumerate((2, 3)):
                history = alone.fit(*points, epochs=n)
                assert losses[call][i].tolist() == history["loss"]
            assert np.array_equal(population.values[i], alone.net.get_flat())
            assert np.array_equal(
                population.net(i).predict(points[0]), alone.net.predict(points[0])
            )
        assert population.epoch == 5

    def test_values_are_not_a_copy(self, points):
        population = cmlp.Population(lambda seed: build(seed).net, [3, 4])
        before = population.predict(points[0]).outputs
        population.values[0] = population.values[1]
        after = population.predict(points[0], probabilities=True)
        assert np.array_equal(after.outputs[0], after.outputs[1])
        assert not np.array_equal(before[0], before[1])
        assert len(population) == 2

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"lr": [0.1]}, "lr has shape"),
            ({"epochs": 0}, "epochs is 0"),
            ({"optimizer": cmlp.LBFGS()}, "expected built-in ones"),
            ({"rows": [[0]]}, "rows has 1 arrays"),
        ],
    )
    def test_errors(self, points, arguments, words):
        population = cmlp.Population(lambda seed: build(seed).net, 2)
        before = population.values.copy()
        with pytest.raises(ValueError, match=words):
            population.fit(*points, "softmax_cross_entropy", **arguments)
        assert np.array_equal(population.values, before)

    def test_shapes_must_be_alike(self):
        with pytest.raises(ValueError, match=r"build\(1\) gave"):
            cmlp.Population(lambda seed: build(seed, 2 + seed).net, 2)

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_ten_thousand_nets_on_xor_in_100_mb(self):
        program = """
import numpy as np, cmlp

def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])

def build(seed):
    return cmlp.Sequential(cmlp.Dense(2, 4, activation="tanh"), cmlp.Dense(4, 1), seed=seed)

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
y = np.array([0, 1, 1, 0], np.float32)
cmlp.Population(build, 2).fit(x, y, "squared_error", epochs=1)
before = peak()
population = cmlp.Population(build, 10_000)
losses = population.fit(x, y, "squared_error", cmlp.SGD(0.5), epochs=200)
assert (losses[:, -1] < 0.01).sum() > 1000
print((peak() - before) / 1024)
"""
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert float(done.stdout) < 100.0


class TestCrossValidate:
    def test_each_fold_as_alone(self, points):
        x, y = points
        found = cmlp.cross_validate(build, x, y, folds=3, seed=2, epochs=4)
        held = np.concatenate([rows for _, rows in found.folds])
        assert sorted(held) == list(range(90))
        for i, (train, rows) in enumerate(found.folds):
            assert np.bincount(y[rows]).tolist() == [10, 10, 10]
            alone = build(2 + i)
            alone.fit(x[train], y[train], epochs=4)
            scores = alone.evaluate(x[rows], y[rows])
            assert {name: values[i] for name, values in found.scores.items()} == scores
        assert found.mean["loss"] == np.mean(found.to_dict()["loss"])
        assert found.spread["accuracy"] == np.std(found.scores["accuracy"])

    def test_splitters_of_scikit_learn(self, points):
        pytest.importorskip("sklearn")
        from sklearn.model_selection import KFold

        splits = list(KFold(4).split(points[0]))
        found = cmlp.cross_validate(build, *points, folds=splits, epochs=1)
        assert all(np.array_equal(a[1], b[1]) for a, b in zip(found.folds, splits, strict=True))

    @pytest.mark.parametrize(
        ("folds", "words"),
        [
            (1, "folds is 1"),
            (91, "folds is 91"),
            ([], "folds is empty"),
            ([([0], [90])], "0 to 89"),
        ],
    )
    def test_errors(self, points, folds, words):
        with pytest.raises(ValueError, match=words):
            cmlp.cross_validate(build, *points, folds=folds)


def make(**settings):
    return build(0, **settings)


class TestSweep:
    def test_grid(self, points):
        space = {"width": [2, 5], "lr": [0.01, 0.1], "batch_size": [32, None]}
        found = cmlp.sweep(make, space, *points, epochs=3, validation=points)
        assert len(found) == 8
        assert found.settings[1] == {"width": 2, "lr": 0.01, "batch_size": None}
        for settings, loss in zip(found.settings, found.losses, strict=True):
            alone = make(width=settings["width"], lr=settings["lr"])
            history = alone.fit(*points, 3, settings["batch_size"], validation=points)
            assert history["validation_loss"][-1] == loss
        assert found.best is found.trainers[int(np.argmin(found.losses))]
        assert found.best_settings == found.settings[found.best_index]
        table = found.to_dict()
        assert list(table) == ["width", "lr", "batch_size", "loss", "epochs_done", "seconds"]
        assert table["epochs_done"] == [3] * 8

    def test_random_draws_follow_from_the_seed(self, points):
        space = {"lr": lambda rng: 10 ** rng.uniform(-3, -1), "activation": ["tanh", "relu"]}
        a, b, c = (
            cmlp.sweep(make, space, *points, "random", n=4, epochs=1, seed=seed)
            for seed in (0, 0, 1)
        )
        assert a.settings == b.settings != c.settings
        assert a.losses == b.losses

    def test_halving(self, points):
        space = {"lr": lambda rng: 10 ** rng.uniform(-4, -0.5)}
        found = cmlp.sweep(make, space, *points, "halving", n=9, epochs=18, factor=3)
        assert sorted(found.epochs) == [2] * 6 + [6] * 2 + [18]
        assert found.epochs[found.best_index] == 18
        assert found.best.epoch == 18

    def test_hyperband(self, points):
        space = {"lr": lambda rng: 10 ** rng.uniform(-4, -0.5)}
        found = cmlp.sweep(make, space, *points, "hyperband", epochs=9, factor=3)
        # brackets of 9 nets from 1 epoch, 5 from 3, 3 from 9
        assert sorted(found.epochs) == sorted([1] * 6 + [3] * 2 + [9] + [3] * 4 + [9] + [9] * 3)

    @pytest.mark.parametrize("method", ["grid", "hyperband"])
    def test_goes_on_after_a_kill(self, points, tmp_path, monkeypatch, method):
        from cmlp.many import sweeps

        monkeypatch.setattr(sweeps, "_AT_ONCE", 2)
        space = {"lr": [0.1, 0.01, 0.001, 0.05, 0.2]}
        arguments = (make, space, *points, method)
        path, built = tmp_path / "sweep.json", []
        whole = cmlp.sweep(*arguments, epochs=3)

        def dies(**settings):
            built.append(settings)
            if len(built) == 5:
                raise KeyboardInterrupt
            return make(**settings)

        with pytest.raises(KeyboardInterrupt):
            cmlp.sweep(dies, *arguments[1:], epochs=3, path=path)
        found = cmlp.sweep(*arguments, epochs=3, path=path)
        assert found.losses == whole.losses
        assert found.epochs == whole.epochs
        assert any(trainer is None for trainer in found.trainers)
        again = cmlp.sweep(dies, *arguments[1:], epochs=3, path=path)
        assert again.losses == whole.losses
        assert again.best is None

    @pytest.mark.parametrize(
        "content", [b"", b"{}", b"[1]", b'{"settings": [], "rows": {}}', b"\xff"]
    )
    def test_damaged_files(self, points, tmp_path, content):
        path = tmp_path / "sweep.json"
        path.write_bytes(content)
        with pytest.raises(FormatError, match="sweep"):
            cmlp.sweep(make, {"lr": [0.1]}, *points, path=path)
        assert path.read_bytes() == content

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"space": {}}, TypeError, "space is {}"),
            ({"space": {"lr": 3}}, TypeError, r"space\['lr'\] is 3"),
            ({"space": {"lr": lambda rng: 1.0}}, ValueError, r"space\['lr'\] draws"),
            ({"space": {"epochs": [1]}, "method": "halving"}, ValueError, "space has epochs"),
            ({"method": "best"}, ValueError, "method is 'best'"),
            ({"build": 3}, TypeError, "build is 3"),
        ],
    )
    def test_errors(self, points, arguments, error, words):
        given = {"build": make, "space": {"lr": [0.1]}, **arguments}
        with pytest.raises(error, match=words):
            cmlp.sweep(x=points[0], y=points[1], **given)

    def test_picture_and_frame(self, points):
        pytest.importorskip("matplotlib").use("Agg")
        space = {"lr": [0.01, 0.1], "activation": ["tanh", "relu"]}
        found = cmlp.sweep(make, space, *points, epochs=1)
        ax = found.plot()
        assert len(ax.lines) == 4
        assert [label.get_text() for label in ax.get_xticklabels()] == ["lr", "activation", "loss"]
        with pytest.raises(ValueError, match="expected one named 'score'"):
            cmlp.plots.parallel_coordinates(found, "score")
        pytest.importorskip("pandas")
        assert found.to_frame().shape == (4, 5)
