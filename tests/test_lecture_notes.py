"""What the lecture notes describe, row by row, against their own numbers: models, units, gradients.

Rows are those of the page "From the lecture notes to the code"; everything goes through the
package's public names.
"""

import numpy as np
import pytest
from formulas import loss_value, sigmoid, softmax
from lecture_nets import XOR, given, net_of
from oracle import numerical_gradient, relative_error

import cmlp
from cmlp import datasets, models


class TestRow1LinearRegression:
    def test_least_squares_of_the_exclusive_or(self):
        for method in ("closed_form", "gradient"):
            model = models.LinearRegression(method=method, tol=1e-9).fit(XOR.x, XOR.y)
            np.testing.assert_allclose(model.weight, [[0, 0]], atol=1e-6)
            np.testing.assert_allclose(model.bias, [0.5], atol=1e-6)

    def test_both_ways_agree_on_vectors(self, rng):
        x, t = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))
        exact = models.LinearRegression().fit(x, t)
        descent = models.LinearRegression(method="gradient").fit(x, t)
        np.testing.assert_allclose(descent.weight, exact.weight, atol=1e-6)
        np.testing.assert_allclose(descent.bias, exact.bias, atol=1e-6)

    @pytest.mark.parametrize("degree", [1, 2, 9])
    def test_polynomials(self, degree):
        x = np.linspace(0, 1, 10)
        t = np.sin(2 * np.pi * x)
        features = models.polynomial_features(x, degree)
        left = t - models.LinearRegression().fit(features, t).predict(features)
        best = t - np.polyval(np.polyfit(x, t, degree), x)
        assert (left**2).sum() == pytest.approx((best**2).sum(), abs=1e-9)

    def test_classes_as_one_of_k(self, points):
        x, labels = points
        model = models.LinearRegression().fit(x, np.eye(3)[labels])
        assert (model.predict(x).argmax(axis=1) == labels).mean() > 0.95


class TestRow2NonlinearRegression:
    def test_error_and_delta(self, rng):
        x, t = rng.normal(size=(7, 3)), rng.random((7, 2))
        layer = cmlp.Dense(3, 2, activation="sigmoid").build(3, "float64", 0)
        loss = cmlp.SquaredError()
        y = layer.forward(x)
        assert loss.forward(y, t) == pytest.approx(((y - t) ** 2).sum() / (2 * 7))
        layer.backward(loss.backward())
        delta = (y - t) * y * (1 - y)
        np.testing.assert_allclose(layer.grad_weight, delta.T @ x / 7, rtol=1e-12)
        np.testing.assert_allclose(layer.grad_bias, delta.mean(axis=0), rtol=1e-12)


class TestRow3LogisticRegression:
    def test_gradient_and_decision(self, rng):
        x, t = rng.normal(size=(9, 3)), rng.integers(2, size=9)
        layer = cmlp.Dense(3, 1).build(3, "float64", 0)
        loss = cmlp.BinaryCrossEntropy()
        u = layer.forward(x)
        y = sigmoid(u)[:, 0]
        by_hand = -(t * np.log(y) + (1 - t) * np.log(1 - y)).mean()
        assert loss.forward(u, t) == pytest.approx(by_hand)
        layer.backward(loss.backward())
        np.testing.assert_allclose(layer.grad_weight[0], (y - t) @ x / 9, rtol=1e-12)

    def test_decides_at_one_half(self, rng):
        x = rng.normal(size=(60, 2))
        labels = (x[:, 0] + 0.5 * rng.normal(size=60) > 0).astype(int)
        model = models.LogisticRegression().fit(x, labels)
        assert (model.predict(x) == (model.predict_proba(x)[:, 1] >= 0.5)).all()


class TestRow4Softmax:
    def test_jacobian(self):
        u = np.array([[1.0, -0.5, 2.0, 0.3]])
        layer = cmlp.Softmax().build(4, "float64")
        rows = []
        for i in range(4):
            h = layer.forward(u)
            rows.append(layer.backward(np.eye(4)[i : i + 1])[0])
        np.testing.assert_allclose(rows, np.diag(h[0]) - np.outer(h, h), atol=1e-15)

    def test_delta_is_y_minus_t(self, rng):
        u, labels = rng.normal(size=(6, 4)), rng.integers(4, size=6)
        loss = cmlp.SoftmaxCrossEntropy()
        value = loss.forward(u, labels)
        assert value == pytest.approx(-np.log(softmax(u)[np.arange(6), labels]).mean())
        np.testing.assert_allclose(loss.backward(), (softmax(u) - np.eye(4)[labels]) / 6)

    def test_common_shift_changes_nothing(self, rng):
        x = rng.normal(size=(5, 3))
        net = net_of(cmlp.Dense(3, 4, activation="softmax"))
        before = net.predict(x)
        net.layers[0].weight = net.layers[0].weight + rng.normal(size=3)
        np.testing.assert_allclose(net.predict(x), before, rtol=1e-12)

    def test_two_classes_are_a_sigmoid_of_the_difference(self, rng):
        x = rng.normal(size=(5, 3))
        net = net_of(cmlp.Dense(3, 2, activation="softmax"))
        w = net.layers[0].weight
        np.testing.assert_allclose(net.predict(x)[:, 0], sigmoid(x @ (w[0] - w[1])), rtol=1e-12)

    def test_decay_is_for_w_only(self, points):
        x, labels = points
        model = models.SoftmaxRegression(lr=0.5, momentum=0.0, weight_decay=0.1, epochs=1).fit(
            x, labels
        )
        step = (softmax(np.zeros((90, 3))) - np.eye(3)[labels]) / 90
        np.testing.assert_allclose(model.bias, -0.5 * step.sum(axis=0), atol=1e-12)
        again = models.SoftmaxRegression(lr=0.5, momentum=0.0, weight_decay=0.1, epochs=2).fit(
            x, labels
        )
        d = (softmax(x @ model.weight.T + model.bias) - np.eye(3)[labels]) / 90
        w = model.weight - 0.5 * d.T @ x - 0.5 * 0.1 * model.weight
        np.testing.assert_allclose(again.weight, w, rtol=1e-12)
        np.testing.assert_allclose(again.bias, model.bias - 0.5 * d.sum(axis=0), rtol=1e-12)


UNITS = [
    models.Perceptron(epochs=100),
    models.Perceptron(batch_size=None, lr=0.5),
    models.Adaline(),
    models.Adaline(batch_size=None, lr=0.1),
]


class TestRow5PerceptronAndAdaline:
    @pytest.mark.parametrize("model", UNITS, ids=repr)
    @pytest.mark.parametrize("low", [0, -1])
    @pytest.mark.parametrize("name", ["and", "or"])
    def test_learns_and_and_or(self, name, low, model):
        table = datasets.boolean(name)
        labels = np.where(table.y, 1, low)
        assert model.fit(table.x, labels).score(table.x, labels) == 1.0
        assert model.converged

    @pytest.mark.parametrize("model", UNITS, ids=repr)
    @pytest.mark.parametrize("low", [0, -1])
    def test_cannot_learn_xor(self, low, model):
        labels = np.where(XOR.y, 1, low)
        assert model.fit(XOR.x, labels).score(XOR.x, labels) <= 0.75


class TestRow6OneVersusRest:
    def test_k_sigmoid_units_with_one_of_k_targets(self, points):
        x, labels = points
        by_label = net_of(cmlp.Dense(2, 6, activation="tanh"), cmlp.Dense(6, 3))
        by_row = by_label.copy()
        for net, y in ((by_label, labels), (by_row, np.eye(3)[labels])):
            trainer = cmlp.Trainer(net, cmlp.BinaryCrossEntropy(), cmlp.SGD(0.5))
            trainer.fit(x, y, epochs=20, batch_size=10)
            assert trainer.evaluate(x, y)["accuracy"] == 1.0
        np.testing.assert_array_equal(by_label.get_flat(), by_row.get_flat())
        np.testing.assert_allclose(by_label.predict_proba(x), sigmoid(by_label.predict(x)))
        assert models.OneVsRest(epochs=50).fit(x, labels).score(x, labels) == 1.0


class TestRow7GivenWeights:
    def test_and_of_the_notes(self):
        y = given([([[20, 20]], [-30])], ["sigmoid"]).predict(XOR.x)
        expected = 1 / (1 + np.exp([30.0, 10.0, 10.0, -10.0]))
        np.testing.assert_allclose(y[:, 0], expected, rtol=1e-12)

    @pytest.mark.parametrize("name", ["and", "or", "not", "nor", "nand", "xnor", "xor"])
    def test_boolean_nets(self, name):
        table = datasets.boolean(name)
        assert models.boolean_net(name).predict(table.x)[:, 0] == pytest.approx(table.y, abs=1e-4)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_xor_both_ways(self, dtype):
        signs = models.boolean_net("xor_signs", dtype)
        assert signs.predict(XOR.x)[:, 0].tolist() == [-1, 1, 1, -1]
        hidden = cmlp.Sequential(signs.layers[0], dtype=dtype, seed=0)
        assert hidden.predict(XOR.x).tolist() == [[0, 0], [1, 0], [1, 0], [2, 1]]
        assert models.boolean_net("xor", dtype).predict(XOR.x)[:, 0].tolist() == [0, 1, 1, 0]

    def test_one_sample_and_a_batch(self, rng):
        net = net_of(*[cmlp.Dense(4, 4, activation="tanh") for _ in range(7)])
        x = rng.normal(size=(5, 4))
        y = x
        for layer in net.layers:
            y = np.tanh(y @ layer.weight.T + layer.bias)
        np.testing.assert_allclose(net.predict(x), y, rtol=1e-12)
        np.testing.assert_allclose(net.predict(x[2]), y[2], rtol=1e-12)


SLOPES_FROM_OUTPUT = {
    "sigmoid": lambda u, y: y * (1 - y),
    "tanh": lambda u, y: 1 - y**2,
    "relu": lambda u, y: np.where(u > 0, 1.0, 0.0),
    "leaky_relu": lambda u, y: np.where(u > 0, 1.0, 0.01),
    "elu": lambda u, y: np.where(u > 0, 1.0, np.exp(np.minimum(u, 0))),
    "identity": lambda u, y: np.ones_like(u),
    "softplus": lambda u, y: sigmoid(u),
    "scaled_tanh": lambda u, y: 2 / 3 * (1.7159 - y**2 / 1.7159),
    "softsign": lambda u, y: 1 / (1 + abs(u)) ** 2,
}


class TestRow8Activations:
    @pytest.mark.parametrize("name", SLOPES_FROM_OUTPUT)
    def test_slopes(self, name):
        u = np.array([[-3.0, -1.0, -0.2, 0.0, 0.2, 1.0, 3.0]])
        layer = net_of(cmlp.Dense(7, 7, activation=name))
        layer.layers[0].weight = np.eye(7)
        y = layer.forward(u)
        slope = layer.backward(np.ones_like(u))
        np.testing.assert_allclose(slope, SLOPES_FROM_OUTPUT[name](u, y), rtol=1e-9)

    def test_slope_of_relu_at_zero_is_zero(self):
        layer = cmlp.ReLU()
        layer.forward(np.zeros((1, 1)))
        assert layer.backward(np.ones((1, 1))).item() == 0.0

    def test_variants_of_relu(self):
        u = np.array([[-2.0, 0.0, 2.0]])
        assert cmlp.LeakyReLU(0.1).forward(u).tolist() == [[-0.2, 0, 2]]
        assert cmlp.PReLU().forward(u).tolist() == [[-0.5, 0, 2]]
        mean = cmlp.RReLU(0.1, 0.3).forward(u)
        np.testing.assert_allclose(mean, [[-0.4, 0, 2]])
        drawn = cmlp.RReLU(0.1, 0.3).forward(np.full((1, 500), -1.0), training=True)
        assert -0.3 <= drawn.min() < -0.28 < -0.12 < drawn.max() <= -0.1

    def test_training_through_a_step_is_an_error(self):
        net = net_of(cmlp.Dense(2, 1), cmlp.Step())
        assert set(net.predict(XOR.x).ravel()) <= {0.0, 1.0}
        with pytest.raises(ValueError, match="step"):
            cmlp.Trainer(net, cmlp.SquaredError())
        net.forward(XOR.x)
        with pytest.raises(ValueError, match="step"):
            net.backward(np.ones((4, 1)))


class TestRow9Backpropagation:
    @pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
    @pytest.mark.parametrize("ending", ["squared_error", "softmax_cross_entropy"])
    def test_delta_rules(self, activation, ending, rng):
        x, t = rng.normal(size=(8, 3)), np.eye(2)[rng.integers(2, size=8)]
        top = activation if ending == "squared_error" else "identity"
        net = net_of(
            cmlp.Dense(3, 5, activation=activation),
            cmlp.Dense(5, 4, activation=activation),
            cmlp.Dense(4, 2, activation=top),
        )
        kind = cmlp.SquaredError if ending == "squared_error" else cmlp.SoftmaxCrossEntropy
        loss = kind()
        loss.forward(net.forward(x), t)
        net.backward(loss.backward())

        us, ys = [], [x]
        for layer in net.layers:
            us.append(ys[-1] @ layer.weight.T + layer.bias)
            ys.append(SMOOTH[activation](us[-1]))
        slope = [SLOPES_FROM_OUTPUT[activation](u, y) for u, y in zip(us, ys[1:], strict=True)]
        delta = (ys[-1] - t) * slope[-1] if ending == "squared_error" else softmax(us[-1]) - t
        for i in (2, 1, 0):
            layer = net.layers[i]
            np.testing.assert_allclose(layer.grad_weight, delta.T @ ys[i] / 8, atol=1e-13)
            np.testing.assert_allclose(layer.grad_bias, delta.mean(axis=0), atol=1e-13)
            if i:
                delta = delta @ layer.weight * slope[i - 1]

    def test_numerical_gradient(self, rng):
        x, labels = rng.normal(size=(6, 3)), rng.integers(2, size=6)
        net = net_of(cmlp.Dense(3, 4, activation="softplus"), cmlp.Dense(4, 2))
        loss = cmlp.SoftmaxCrossEntropy()
        loss.forward(net.forward(x), labels)
        net.backward(loss.backward())
        flat = net.get_flat()

        def value(v):
            net.set_flat(v)
            return loss_value("softmax_cross_entropy", net.predict(x), labels)

        assert relative_error(net.get_flat_grad(), numerical_gradient(value, flat)) < 1e-7


SMOOTH = {"sigmoid": sigmoid, "tanh": np.tanh, "relu": lambda u: np.maximum(u, 0.0)}


class TestRow10Layers:
    def fresh(self, fused):
        first = [cmlp.Dense(2, 5, activation="sigmoid")]
        if not fused:
            first = [cmlp.Dense(2, 5), cmlp.Sigmoid()]
        return net_of(*first, cmlp.Dense(5, 3))

    def test_fc_and_act_equal_the_fused_form(self, points):
        x, labels = points
        fused, apart = self.fresh(True), self.fresh(False)
        for net in (fused, apart):
            cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy()).fit(x, labels, epochs=3, batch_size=30)
        np.testing.assert_array_equal(fused.get_flat(), apart.get_flat())

    @pytest.mark.parametrize(
        ("loss", "ending"),
        [(cmlp.SoftmaxCrossEntropy, []), (cmlp.SquaredError, [cmlp.Sigmoid])],
    )
    def test_layer_by_layer_equals_the_trainer(self, loss, ending, points):
        x, t = points[0], np.eye(3)[points[1]]
        net = net_of(
            cmlp.Dense(2, 5), cmlp.Sigmoid(), cmlp.Dense(5, 3), *[kind() for kind in ending]
        )
        trained = net.copy()
        trainer = cmlp.Trainer(trained, loss(), cmlp.SGD(0.2))
        trainer.fit(x, t, epochs=4, batch_size=None, shuffle=False)
        error, optimizer = loss(), cmlp.SGD(0.2)
        for _ in range(4):
            y = x
            for layer in net.layers:
                y = layer.forward(y)
            error.forward(y, t)
            delta = error.backward()
            for layer in reversed(net.layers):
                delta = layer.backward(delta)
            optimizer.step(net)
        np.testing.assert_allclose(net.get_flat(), trained.get_flat(), rtol=1e-10)
