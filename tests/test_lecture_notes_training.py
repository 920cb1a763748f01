"""What the lecture notes describe, row by row, against their own numbers: training.

Rows are those of the page "From the lecture notes to the code"; everything goes through the
package's public names.
"""

import numpy as np
import pytest
from formulas import sigmoid
from lecture_nets import XOR, net_of

import cmlp
from cmlp import datasets, graph, models


class TestRow11Losses:
    @pytest.mark.parametrize("size", [1e4, -1e4])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_finite_at_large_logits(self, size, dtype):
        u = np.array([[size, 0.0, -size]], dtype)
        for loss, t in (
            (cmlp.SoftmaxCrossEntropy(), [0]),
            (cmlp.SoftmaxCrossEntropy(), [2]),
            (cmlp.BinaryCrossEntropy(), [[1.0, 0.0, 0.0]]),
            (cmlp.SquaredError(), [[1.0, 0.0, 0.0]]),
        ):
            assert np.isfinite(loss.forward(u, t))
            assert np.isfinite(loss.backward()).all()
        lost = cmlp.SoftmaxCrossEntropy().forward(u, [2])
        assert lost == pytest.approx(2e4 if size > 0 else 0.0, abs=1e-9)


class TestRow12WeightDecay:
    def trained(self, points, **settings):
        x, labels = points
        net = net_of(cmlp.Dense(2, 4, activation="tanh"), cmlp.Dense(4, 3))
        cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1, **settings)).fit(
            x, labels, epochs=1, batch_size=None, shuffle=False
        )
        return net

    def test_on_w_and_not_on_b(self, points):
        before = net_of(cmlp.Dense(2, 4, activation="tanh"), cmlp.Dense(4, 3))
        plain, decayed = self.trained(points), self.trained(points, weight_decay=0.3)
        for i, layer in enumerate(before.layers):
            shrunk = plain.layers[i].weight - 0.1 * 0.3 * layer.weight
            np.testing.assert_allclose(decayed.layers[i].weight, shrunk, rtol=1e-12)
            np.testing.assert_array_equal(decayed.layers[i].bias, plain.layers[i].bias)

    def test_both_forms_differ_by_the_scale_of_lambda(self, points):
        # lambda/(2n) sum of w^2 in the cost, n = 90 samples
        one = self.trained(points, weight_decay=27.0, decay_over_batch=True)
        np.testing.assert_allclose(
            one.get_flat(), self.trained(points, weight_decay=0.3).get_flat(), rtol=1e-12
        )

    def test_l1(self, points):
        before = net_of(cmlp.Dense(2, 4, activation="tanh"), cmlp.Dense(4, 3))
        plain, lasso = self.trained(points), self.trained(points, l1=0.2)
        w = before.layers[0].weight
        np.testing.assert_allclose(
            lasso.layers[0].weight, plain.layers[0].weight - 0.1 * 0.2 * np.sign(w), rtol=1e-12
        )


class TestRow13Momentum:
    def test_velocity(self):
        x, t = np.array([[1.0]]), np.array([[0.0]])
        net = net_of(cmlp.Dense(1, 1, bias=False))
        net.layers[0].weight = [[1.0]]
        momentum = cmlp.MomentumStep(0.5, 0.9, after=2)
        trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(0.1, momentum=momentum))
        w, v = 1.0, 0.0
        for gamma in (0.5, 0.5, 0.9, 0.9, 0.9):
            trainer.train_step(x, t)
            v = gamma * v - 0.1 * w
            w += v
            assert net.layers[0].weight.item() == pytest.approx(w, rel=1e-12)


class TestRow14Schedules:
    def rates(self, points, schedule, epochs=30, **fit):
        x, labels = points
        net = net_of(cmlp.Dense(2, 3))
        trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.5), schedule)
        return trainer.fit(x, labels, epochs=epochs, batch_size=30, **fit)["lr"]

    def test_constant(self, points):
        assert set(self.rates(points, None)) == {0.5}

    def test_a_over_b_plus_t_at_each_iteration(self, points):
        # three iterations an epoch; the history has the last one's rate
        rates = self.rates(points, cmlp.InverseTime(a=2.0, b=5.0))
        np.testing.assert_allclose(rates, 2.0 / (5.0 + 3 * np.arange(30) + 2))

    def test_diminishing_steps(self, points):
        rates = self.rates(points, cmlp.InverseSqrt())
        np.testing.assert_allclose(rates, 0.5 / np.sqrt(1 + 3 * np.arange(30) + 2))

    def test_halves_as_convergence_slows(self, points):
        rates = self.rates(points, cmlp.Halving(threshold=0.1), epochs=12)
        assert rates[0] == 0.5 and rates[-1] < 0.1
        ratios = np.unique(np.divide(rates[1:], rates[:-1]))
        assert set(ratios) == {0.5, 1.0}

    def test_anneals_on_a_held_out_set(self, points):
        schedule = cmlp.Plateau(threshold=0.05, patience=0)
        rates = self.rates(points, schedule, validation=points)
        assert rates[0] == 0.5 and rates[-1] < 0.1


class TestRow15Shuffling:
    def orders(self, shuffle):
        seen = []

        class Watch:
            def forward(self, y, t, sample_weight=None):
                seen.extend(t[:, 0].tolist())
                self.d = np.zeros_like(y)
                return 0.0

            def backward(self):
                return self.d

        x = np.arange(20.0)[:, None]
        trainer = cmlp.Trainer(net_of(cmlp.Dense(1, 1)), Watch())
        trainer.fit(x, x, epochs=3, batch_size=6, shuffle=shuffle)
        return np.array(seen).reshape(3, 20)

    def test_a_new_order_in_each_epoch(self):
        orders = self.orders(shuffle=True)
        for order in orders:
            assert sorted(order) == list(range(20))
        assert len({tuple(order) for order in orders}) == 3

    def test_not_where_it_is_not_wanted(self):
        assert (self.orders(shuffle=False) == np.arange(20)).all()


class TestRow16Initialisation:
    @pytest.mark.parametrize(
        ("init", "std"),
        [
            (cmlp.Normal(), 0.01),
            (cmlp.Xavier(), 1 / 20),
            (cmlp.Xavier("uniform"), 1 / 20),
            (cmlp.He(), np.sqrt(2) / 20),
        ],
        ids=repr,
    )
    def test_moments(self, init, std):
        layer = cmlp.Dense(400, 300, weight_init=init).build(rng=0)
        assert layer.weight.mean() == pytest.approx(0, abs=4 * std / np.sqrt(120_000))
        assert layer.weight.std() == pytest.approx(std, rel=0.02)

    def test_zeros_are_warned_of(self):
        with pytest.warns(UserWarning, match="will stay alike"):
            net_of(cmlp.Dense(2, 3, weight_init=cmlp.Zeros()), cmlp.ReLU(), cmlp.Dense(3, 1))


class TestRow17Convergence:
    def test_until_the_weights_converge_or_the_last_epoch(self, points):
        net = net_of(cmlp.Dense(2, 3))
        trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.5, weight_decay=0.1))
        stop = [cmlp.Converged(1e-6)]
        assert 10 < len(trainer.fit(*points, 5000, batch_size=None, callbacks=stop)) < 5000
        model = models.SoftmaxRegression(weight_decay=0.1, epochs=3).fit(*points)
        assert model.n_iter == 3 and not model.converged


class TestRow18SeparateRuns:
    def test_the_best_of_several_starts_learns_xor(self):
        def build(seed):
            net = net_of(cmlp.Dense(2, 2, activation="tanh"), cmlp.Dense(2, 1), seed=seed)
            return cmlp.Trainer(net, cmlp.BinaryCrossEntropy(), cmlp.SGD(0.3, momentum=0.9))

        runs = cmlp.best_of(build, (XOR.x, XOR.y), n_runs=8, epochs=500, batch_size=None)
        assert runs.best.evaluate(XOR.x, XOR.y)["accuracy"] == 1.0
        assert min(runs.losses) < 0.1 < max(runs.losses)


class TestRow19VanishingGradient:
    def test_sigmoid_and_tanh_against_relu(self, rng):
        x, labels = rng.normal(size=(100, 20)), rng.integers(2, size=100)
        kept = {}
        for activation in ("sigmoid", "tanh", "relu"):
            hidden = [cmlp.Dense(20, 20, activation=activation) for _ in range(8)]
            net = net_of(*hidden, cmlp.Dense(20, 2))
            monitor = cmlp.GradientMonitor(x, labels)
            trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.01))
            trainer.fit(x, labels, epochs=1, callbacks=[monitor])
            kept[activation] = monitor.delta_norms[0, 0] / monitor.delta_norms[0, -1]
        assert kept["sigmoid"] < 1e-3 < kept["tanh"] < kept["relu"]


class TestRow20Graphs:
    def test_product_of_a_sum(self):
        x, y, z = (graph.Placeholder(name) for name in "xyz")
        f = (x + y) * z
        values = graph.run([f, *graph.gradients(f, [x, y, z])], {x: -2, y: 5, z: -4})
        assert [float(v) for v in values] == [-12, -4, -4, 3]

    def test_logistic_neuron(self):
        w = [graph.Variable(v, name=f"w{i}") for i, v in enumerate([2.0, -3.0, -3.0])]
        x = [graph.Placeholder("x0"), graph.Placeholder("x1")]
        f = 1 / (1 + graph.exp(-(w[0] * x[0] + w[1] * x[1] + w[2])))
        feed = {x[0]: -1.0, x[1]: -2.0}
        value, *dw = (float(v) for v in graph.run([f, *graph.gradients(f, w)], feed))
        assert value == pytest.approx(sigmoid(np.array(1.0)))
        slope = value * (1 - value)
        assert dw == pytest.approx([-slope, -2 * slope, slope])

    @pytest.mark.parametrize(("at_r", "at_t"), [(3.0, 0.5), (-1.0, 2.0), (0.7, -4.0)])
    def test_paths_that_join(self, at_r, at_t):
        r, t = graph.Placeholder("r"), graph.Placeholder("t")
        x, y = r * graph.sin(t), graph.sin(t) ** 2
        u = x**2 + 2 * y
        dr, dt = graph.run(graph.gradients(u, [r, t]), {r: at_r, t: at_t})
        assert float(dr) == pytest.approx(2 * at_r * np.sin(at_t) ** 2)
        assert float(dt) == pytest.approx((at_r**2 + 2) * np.sin(2 * at_t))


class TestRow21PointsOfThePlane:
    @pytest.mark.parametrize("name", ["circle", "xor", "gauss", "spiral"])
    def test_classification(self, name):
        data = datasets.points_2d(name, n=300, noise=0.05, seed=1)
        x, y, x_test, y_test = data.split()
        features = datasets.features_2d(x), datasets.features_2d(x_test)
        net = cmlp.Sequential(
            cmlp.Dense(7, 12, activation="tanh"),
            cmlp.Dense(12, 8, activation="tanh"),
            cmlp.Dense(8, 1),
            seed=0,
        )
        optimizer = cmlp.Adam(0.01, weight_decay=1e-4, l1=1e-5)
        trainer = cmlp.Trainer(net, cmlp.BinaryCrossEntropy(), optimizer)
        trainer.fit(features[0], y, epochs=300, batch_size=10)
        assert trainer.evaluate(features[1], y_test)["accuracy"] > 0.85

    @pytest.mark.parametrize(("name", "error"), [("plane", 1e-3), ("multi_gaussian", 0.03)])
    def test_regression(self, name, error):
        x, y, x_test, y_test = datasets.points_2d(name, n=600, seed=1).split()
        net = cmlp.Sequential(
            cmlp.Dense(2, 16, activation="tanh"),
            cmlp.Dense(16, 8, activation="tanh"),
            cmlp.Dense(8, 1),
            seed=0,
        )
        trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.Adam(0.01))
        trainer.fit(x, y, epochs=300, batch_size=20)
        assert trainer.evaluate(x_test, y_test)["mean_squared_error"] < error


class TestRow22Digits:
    def test_fully_connected_in_place_of_convolutions(self):
        x, y, x_test, y_test = datasets.digits().split()
        net = cmlp.Sequential(
            cmlp.Dense(x.shape[1], 32, activation="relu"), cmlp.Dense(32, 10), seed=0
        )
        trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1, momentum=0.9))
        trainer.fit(x, y, epochs=20, batch_size=32)
        assert trainer.evaluate(x_test, y_test)["accuracy"] > 0.95


class TestRow24HiddenUnits:
    def test_pictures(self):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        net = cmlp.Sequential(cmlp.Dense(64, 9, activation="relu"), cmlp.Dense(9, 10), seed=0)
        figure, ax = pyplot.subplots()
        try:
            assert cmlp.plots.hidden_units(net, image_shape=(8, 8), ax=ax) is ax
            shown = np.asarray(ax.images[0].get_array().filled(np.nan))
            tile = net.layers[0].weight[0].reshape(8, 8)
            np.testing.assert_allclose(shown[:8, :8], tile, rtol=1e-6)
        finally:
            pyplot.close(figure)
