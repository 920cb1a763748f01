import numpy as np
import pytest
from formulas import sigmoid, softmax
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import linear_model
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import PolynomialFeatures

import cmlp
from cmlp import models

CLASSIFIERS = [
    models.LogisticRegression,
    models.SoftmaxRegression,
    models.OneVsRest,
    models.Perceptron,
    models.Adaline,
]
TWO_CLASSES = [models.LogisticRegression, models.Perceptron, models.Adaline]


@pytest.fixture
def line(rng):
    """200 samples of a noisy linear map: x (200, 3), t (200, 2)."""
    x = rng.normal(size=(200, 3)) * [1.0, 2.0, 0.5] + 1.0
    w = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]])
    return x, x @ w.T + [0.3, -0.7] + 0.1 * rng.normal(size=(200, 2))


@pytest.fixture
def two_clouds(rng):
    """120 points of two clouds that overlap: x (120, 2), labels 0 and 1."""
    labels = np.arange(120) % 2
    return rng.normal(size=(120, 2)) + 1.5 * labels[:, None], labels


@pytest.fixture
def apart(rng):
    """80 points of two clouds that a line parts."""
    labels = np.arange(80) % 2
    return 0.4 * rng.normal(size=(80, 2)) + np.where(labels, 2.0, 0.0)[:, None], labels


class TestLinearRegression:
    @pytest.mark.parametrize("weight_decay", [0.0, 0.3])
    @pytest.mark.parametrize("method", ["closed_form", "gradient"])
    def test_equals_scikit_learn(self, method, weight_decay, line):
        x, t = line
        settings = {"weight_decay": weight_decay, "tol": 1e-9}
        model = models.LinearRegression(method=method, **settings).fit(x, t)
        expected = linear_model.Ridge(alpha=len(x) * weight_decay, solver="svd").fit(x, t)
        np.testing.assert_allclose(model.weight, expected.coef_, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(model.bias, expected.intercept_, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(model.predict(x[:5]), expected.predict(x[:5]), rtol=1e-5)
        assert model.score(x, t) == pytest.approx(expected.score(x, t), abs=1e-6)
        assert model.converged

    def test_plain_descent_by_hand(self, line):
        x, t = line
        model = models.LinearRegression(method="gradient", lr=0.05, momentum=0, epochs=7)
        model.fit(x, t)
        w, b = np.zeros((2, 3)), np.zeros(2)
        for _ in range(7):
            d = x @ w.T + b - t
            w, b = w - 0.05 * d.T @ x / len(x), b - 0.05 * d.mean(axis=0)
        np.testing.assert_allclose(model.weight, w, rtol=1e-12)
        np.testing.assert_allclose(model.bias, b, rtol=1e-12)
        assert model.n_iter == 7 and not model.converged

    @given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32 - 1))
    @settings(max_examples=40, deadline=None)
    def test_normal_equations(self, n, n_in, seed):
        rng = np.random.default_rng(seed)
        x, t = rng.normal(size=(n, n_in)), rng.normal(size=(n, 2))
        model = models.LinearRegression().fit(x, t)
        left = model.predict(x) - t
        np.testing.assert_allclose(left.sum(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(left.T @ x, 0, atol=1e-9)

    def test_the_shortest_of_many_solutions(self):
        model = models.LinearRegression().fit([[0.0, 0.0], [1.0, 1.0]], [0.0, 1.0])
        np.testing.assert_allclose(model.weight, [[0.5, 0.5]], atol=1e-12)

    @pytest.mark.parametrize("method", ["closed_form", "gradient"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_shape_and_type_follow_the_targets(self, method, dtype, line):
        x, t = line
        model = models.LinearRegression(method=method, dtype=dtype).fit(x, t[:, 0])
        assert model.predict(x).shape == (200,) and model.predict(x).dtype == dtype
        assert model.weight.shape == (1, 3) and model.bias.shape == (1,)
        assert model.predict(x) == pytest.approx(t[:, 0], abs=0.5)

    def test_more_columns_than_samples(self, rng):
        x, t = rng.normal(size=(5, 9)), rng.normal(size=5)
        model = models.LinearRegression(method="gradient").fit(x, t)
        np.testing.assert_allclose(model.predict(x), t, atol=1e-5)

    def test_minibatches(self, line):
        x, t = line
        model = models.LinearRegression(
            method="gradient", lr=0.05, momentum=0, batch_size=16, epochs=150
        )
        exact = models.LinearRegression().fit(x, t)
        np.testing.assert_allclose(model.fit(x, t).weight, exact.weight, atol=0.05)

    def test_score_of_constant_targets(self):
        x = np.arange(4.0)[:, None]
        model = models.LinearRegression().fit(x, np.full(4, 2.0))
        assert model.score(x, np.full(4, 2.0)) == 1.0
        assert model.score(x, np.full(4, 3.0)) == 0.0


class TestPolynomialFeatures:
    @pytest.mark.parametrize(("n_in", "degree"), [(1, 1), (1, 9), (2, 3), (4, 2)])
    def test_equals_scikit_learn(self, n_in, degree, rng):
        x = rng.normal(size=(6, n_in))
        expected = PolynomialFeatures(degree, include_bias=False).fit_transform(x)
        np.testing.assert_allclose(models.polynomial_features(x, degree), expected, rtol=1e-12)

    @pytest.mark.parametrize("degree", [1, 2, 9])
    def test_regression_equals_polyfit(self, degree, rng):
        x = np.linspace(-1, 1, 40)
        t = np.sin(3 * x) + 0.1 * rng.normal(size=40)
        model = models.LinearRegression().fit(models.polynomial_features(x, degree), t)
        expected = np.polyfit(x, t, degree)[::-1]
        np.testing.assert_allclose(model.bias[0], expected[0], rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(model.weight[0], expected[1:], rtol=1e-6, atol=1e-8)

    def test_types(self):
        assert models.polynomial_features(np.ones(3, np.float32), 2).dtype == np.float32
        assert models.polynomial_features([1, 2, 3], 2).tolist() == [[1, 1], [2, 4], [3, 9]]

    @pytest.mark.parametrize(
        ("x", "degree", "error", "words"),
        [
            (np.ones(3), 0, ValueError, "degree is 0"),
            (np.ones(3), 1.5, TypeError, "degree is 1.5"),
            (np.ones((2, 2, 2)), 1, ValueError, r"x has shape \(2, 2, 2\)"),
            ([np.nan], 1, ValueError, "x holds nan"),
        ],
    )
    def test_errors(self, x, degree, error, words):
        with pytest.raises(error, match=words):
            models.polynomial_features(x, degree)


class TestLogisticRegression:
    @pytest.mark.parametrize("weight_decay", [0.0, 0.05])
    def test_equals_scikit_learn(self, weight_decay, two_clouds):
        x, y = two_clouds
        model = models.LogisticRegression(weight_decay=weight_decay).fit(x, y)
        c = 1 / (len(x) * weight_decay) if weight_decay else np.inf
        expected = linear_model.LogisticRegression(C=c, tol=1e-9, max_iter=1000).fit(x, y)
        np.testing.assert_allclose(model.weight, expected.coef_, rtol=1e-4)
        np.testing.assert_allclose(model.bias, expected.intercept_, rtol=1e-4)
        np.testing.assert_allclose(
            model.predict_proba(x), expected.predict_proba(x), rtol=1e-4, atol=1e-6
        )
        assert (model.predict(x) == expected.predict(x)).all()
        assert model.score(x, y) == expected.score(x, y)
        assert model.converged

    def test_gradient_is_y_minus_t_times_x(self, two_clouds):
        x, t = two_clouds
        settings = {"lr": 0.5, "momentum": 0.0}
        w = np.zeros(3)
        with_bias = np.column_stack([x, np.ones(len(x))])
        for _ in range(5):
            w -= 0.5 * (sigmoid(with_bias @ w) - t) @ with_bias / len(x)
        model = models.LogisticRegression(**settings, epochs=5).fit(x, t)
        np.testing.assert_allclose([*model.weight[0], *model.bias], w, rtol=1e-12)

    def test_decides_at_one_half(self, two_clouds):
        x, y = two_clouds
        model = models.LogisticRegression().fit(x, y)
        second = model.predict_proba(x)[:, 1]
        assert (model.predict(x) == (second >= 0.5)).all()


class TestSoftmaxRegression:
    @pytest.mark.parametrize("weight_decay", [0.01, 0.2])
    def test_equals_scikit_learn(self, weight_decay, points):
        x, y = points
        model = models.SoftmaxRegression(weight_decay=weight_decay, tol=1e-9).fit(x, y)
        expected = linear_model.LogisticRegression(
            C=1 / (len(x) * weight_decay), tol=1e-9, max_iter=1000
        ).fit(x, y)
        np.testing.assert_allclose(model.weight, expected.coef_, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(model.predict_proba(x), expected.predict_proba(x), atol=1e-5)
        assert model.score(x, y) == expected.score(x, y) == 1.0

    def test_rows_of_w_sum_to_zero(self, points):
        model = models.SoftmaxRegression(weight_decay=0.01, epochs=50).fit(*points)
        np.testing.assert_allclose(model.weight.sum(axis=0), 0, atol=1e-12)

    def test_two_classes_are_logistic_regression_on_the_difference(self, two_clouds):
        x, y = two_clouds
        both = models.SoftmaxRegression().fit(x, y)
        one = models.LogisticRegression().fit(x, y)
        np.testing.assert_allclose(both.weight[1] - both.weight[0], one.weight[0], rtol=1e-4)
        np.testing.assert_allclose(both.predict_proba(x), one.predict_proba(x), atol=1e-5)

    def test_one_sample_at_a_time(self, points):
        x, y = points
        model = models.SoftmaxRegression(
            lr=0.1, momentum=0.0, batch_size=1, shuffle=False, epochs=2
        ).fit(x, y)
        w, b = np.zeros((3, 2)), np.zeros(3)
        for _ in range(2):
            for x_n, t in zip(x, np.eye(3)[y], strict=True):
                d = softmax((w @ x_n + b)[None])[0] - t
                w, b = w - 0.1 * np.outer(d, x_n), b - 0.1 * d
        np.testing.assert_allclose(model.weight, w, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(model.bias, b, rtol=1e-10, atol=1e-12)


class TestOneVsRest:
    def test_equals_scikit_learn(self, points):
        x, y = points
        model = models.OneVsRest(weight_decay=0.05, tol=1e-9).fit(x, y)
        one = linear_model.LogisticRegression(C=1 / (len(x) * 0.05), tol=1e-9, max_iter=1000)
        expected = OneVsRestClassifier(one).fit(x, y)
        coefficients = np.vstack([e.coef_ for e in expected.estimators_])
        np.testing.assert_allclose(model.weight, coefficients, rtol=1e-4, atol=1e-6)
        assert (model.predict(x) == expected.predict(x)).all()

    def test_answers_are_independent(self, points):
        x, y = points
        model = models.OneVsRest(weight_decay=0.05, tol=1e-9).fit(x, y)
        p = model.predict_proba(x)
        np.testing.assert_allclose(p, sigmoid(x @ model.weight.T + model.bias), rtol=1e-9)
        assert abs(p.sum(axis=1) - 1).max() > 0.01
        for k in range(3):
            alone = models.LogisticRegression(weight_decay=0.05, tol=1e-9).fit(x, y == k)
            np.testing.assert_allclose(alone.weight[0], model.weight[k], rtol=1e-5, atol=1e-7)


def by_the_perceptron_rule(x, t, lr, epochs):
    """Online, for t = -1 or 1: the weights with the bias last, and the epoch without a mistake."""
    x, w = np.column_stack([x, np.ones(len(x))]), np.zeros(x.shape[1] + 1)
    for epoch in range(1, epochs + 1):
        mistakes = 0
        for x_n, t_n in zip(x, t, strict=True):
            if t_n * (x_n @ w) <= 0:
                w += lr * t_n * x_n
                mistakes += 1
        if not mistakes:
            return w, epoch
    return w, epochs


class TestPerceptron:
    @pytest.mark.parametrize("lr", [1.0, 0.25])
    def test_online_rule(self, lr, apart):
        x, y = apart
        model = models.Perceptron(lr=lr).fit(x, y)
        w, epochs = by_the_perceptron_rule(x, 2 * y - 1, lr, 1000)
        np.testing.assert_allclose([*model.weight[0], *model.bias], w, rtol=1e-12)
        assert model.n_iter == epochs and model.converged
        assert model.score(x, y) == 1.0

    @pytest.mark.parametrize("epochs", [1, 3, 10])
    def test_equals_scikit_learn(self, epochs, two_clouds):
        x, y = two_clouds
        model = models.Perceptron(epochs=epochs).fit(x, y)
        expected = linear_model.Perceptron(shuffle=False, tol=None, max_iter=epochs).fit(x, y)
        np.testing.assert_allclose(model.weight, expected.coef_, rtol=1e-9)
        np.testing.assert_allclose(model.bias, expected.intercept_, rtol=1e-9)
        assert not model.converged

    def test_batch_rule(self, apart):
        x, y = apart
        model = models.Perceptron(batch_size=None, lr=0.5, tol=1e-9).fit(x, y)
        t = 2 * y - 1
        with_bias, theta = np.column_stack([x, np.ones(len(x))]), np.zeros(3)
        epoch, delta = 0, theta + np.inf
        while np.linalg.norm(delta) >= 1e-9:
            epoch += 1
            wrong = t * (with_bias @ theta) <= 0
            delta = (t * wrong) @ with_bias / len(x)
            theta += 0.5 * delta
        np.testing.assert_allclose([*model.weight[0], *model.bias], theta, rtol=1e-12)
        assert model.n_iter == epoch and model.converged

    def test_length_of_steps_changes_no_prediction(self, two_clouds):
        x, y = two_clouds
        one = models.Perceptron(lr=1.0, epochs=4).fit(x, y)
        two = models.Perceptron(lr=2.0, epochs=4).fit(x, 2 * y - 1)
        np.testing.assert_allclose(two.weight, 2 * one.weight, rtol=1e-12)
        assert (two.predict(x) == 2 * one.predict(x) - 1).all()

    def test_updates_that_cancel_out_do_not_end_it(self):
        # an epoch brings the weights back to where they were, with mistakes
        xor = cmlp.datasets.boolean("xor")
        model = models.Perceptron(epochs=20).fit(xor.x, xor.y)
        assert model.n_iter == 20 and not model.converged
        assert models.Perceptron(batch_size=None).fit(xor.x, xor.y).n_iter == 1


class TestAdaline:
    @pytest.mark.parametrize("labels", [(0, 1), (-1, 1)])
    def test_online_rule(self, labels, two_clouds):
        x, y = two_clouds
        t = np.array(labels)[y]
        model = models.Adaline(lr=0.02, epochs=3).fit(x, t)
        w, b = np.zeros(2), 0.0
        for _ in range(3):
            for x_n, t_n in zip(x, t, strict=True):
                missed = t_n - (w @ x_n + b)
                w, b = w + 0.02 * missed * x_n, b + 0.02 * missed
        np.testing.assert_allclose([*model.weight[0], *model.bias], [*w, b], rtol=1e-10)
        middle = sum(labels) / 2
        assert (model.predict(x) == np.where(x @ w + b > middle, *labels[::-1])).all()

    def test_batch_descends_to_the_least_squares(self, two_clouds):
        x, y = two_clouds
        model = models.Adaline(batch_size=None, lr=0.2, tol=1e-9).fit(x, y)
        exact = models.LinearRegression().fit(x, y)
        np.testing.assert_allclose(model.weight, exact.weight, atol=1e-6)
        np.testing.assert_allclose(model.bias, exact.bias, atol=1e-6)
        assert model.converged

    def test_online_comes_near_it(self, two_clouds):
        x, y = two_clouds
        model = models.Adaline(lr=1e-3).fit(x, y)
        exact = models.LinearRegression().fit(x, y)
        np.testing.assert_allclose(model.weight, exact.weight, atol=0.01)
        assert model.converged


class TestHabits:
    @pytest.mark.parametrize("model", CLASSIFIERS)
    @pytest.mark.parametrize(
        "labels",
        [
            np.array([0, 1]),
            np.array([-1, 1]),
            np.array([3, 8], np.uint8),
            np.array([False, True]),
            np.array(["no", "yes"]),
            np.array(["no", "yes"], object),
            np.array([0.5, 2.5]),
        ],
        ids=str,
    )
    def test_labels_of_any_kind(self, model, labels, apart):
        x, y = apart
        fitted = model(epochs=200).fit(x, labels[y])
        assert fitted.classes.tolist() == labels.tolist()
        assert fitted.predict(x).tolist() == labels[y].tolist()
        assert fitted.score(x, labels[y]) == 1.0

    @pytest.mark.parametrize("model", [*CLASSIFIERS, models.LinearRegression])
    def test_fit_starts_anew(self, model, apart):
        x, y = apart
        fitted = model(epochs=5)
        assert fitted.fit(x, y) is fitted
        once = fitted.weight
        fitted.fit(x[:40], y[:40])
        np.testing.assert_array_equal(fitted.fit(x, y).weight, once)

    @pytest.mark.parametrize("model", [*CLASSIFIERS, models.LinearRegression])
    def test_before_fit(self, model):
        unfitted = model()
        with pytest.raises(RuntimeError, match="call fit first"):
            unfitted.predict([[0.0]])
        with pytest.raises(RuntimeError, match="call fit first"):
            unfitted.score([[0.0]], [0])
        with pytest.raises(RuntimeError, match="call fit first"):
            _ = unfitted.weight

    @pytest.mark.parametrize("model", CLASSIFIERS)
    def test_bad_fit_leaves_the_model_as_it_was(self, model, apart):
        x, y = apart
        fitted = model(epochs=5).fit(x, y)
        net, n_iter = fitted.net, fitted.n_iter
        for bad_x, bad_y in ((x, y[:-1]), (x, np.zeros(80, int)), (x * np.nan, y), (x[:0], y)):
            with pytest.raises(ValueError, match="x|y"):
                fitted.fit(bad_x, bad_y)
        assert fitted.net is net and fitted.n_iter == n_iter

    def test_divergence_leaves_the_model_as_it_was(self, line):
        x, t = line
        model = models.LinearRegression(method="gradient").fit(x, t)
        net = model.net
        model.lr = 50.0
        with pytest.raises(cmlp.DivergenceError):
            model.fit(x, t)
        assert model.net is net

    def test_the_net_is_saved_with_its_labels(self, apart, tmp_path):
        x, y = apart
        model = models.SoftmaxRegression(epochs=50).fit(x, np.array(["a", "b"])[y])
        model.net.save(tmp_path / "net.safetensors")
        net = cmlp.load(tmp_path / "net.safetensors")
        assert net.classes.tolist() == ["a", "b"]
        np.testing.assert_array_equal(net.predict_proba(x), model.predict_proba(x))

    def test_history(self, two_clouds):
        model = models.LogisticRegression(momentum=0).fit(*two_clouds)
        assert model.n_iter == len(model.history) < model.epochs
        assert model.history["loss"][0] == pytest.approx(np.log(2))
        assert (np.diff(model.history["loss"][:20]) < 0).all()

    def test_repr(self):
        assert repr(models.Adaline(lr=0.5)).startswith("Adaline(lr=0.5, batch_size=1, ")

    def test_safe_rate_does_not_overshoot(self, line):
        x, t = line
        model = models.LinearRegression(method="gradient", momentum=0, epochs=300)
        model.fit(1000 * x, t)
        assert (np.diff(model.history["loss"]) <= 0).all()


class TestBooleanNets:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("name", models.BOOLEAN_NETS)
    def test_truth_table(self, name, dtype):
        table = cmlp.datasets.boolean(name.removesuffix("_signs"))
        y = models.boolean_net(name, dtype=dtype).predict(table.x)
        assert y.dtype == dtype
        expected = 2 * table.y - 1 if name == "xor_signs" else table.y
        np.testing.assert_allclose(y[:, 0], expected, atol=1e-4)

    def test_unknown(self):
        with pytest.raises(ValueError, match="name is 'implies'; expected one of not, and, or"):
            models.boolean_net("implies")


class TestErrors:
    @pytest.mark.parametrize(
        ("settings", "error", "words"),
        [
            ({"lr": 0.0}, ValueError, "lr is 0.0"),
            ({"lr": "fast"}, TypeError, "lr is 'fast'"),
            ({"batch_size": 0, "lr": 0.1}, ValueError, "batch_size is 0"),
            ({"batch_size": 8}, ValueError, "lr is None"),
            ({"epochs": 0}, ValueError, "epochs is 0"),
            ({"tol": -1.0}, ValueError, "tol is -1.0"),
            ({"dtype": "float16"}, ValueError, "dtype is 'float16'"),
            ({"seed": -1}, ValueError, "seed is -1"),
            ({"shuffle": 1}, TypeError, "shuffle is 1"),
            ({"momentum": 1.0}, ValueError, "momentum is 1.0"),
            ({"weight_decay": -0.1}, ValueError, "weight_decay is -0.1"),
            ({"method": "magic"}, ValueError, "method is 'magic'"),
        ],
    )
    def test_settings(self, settings, error, words):
        with pytest.raises(error, match=words):
            models.LinearRegression(**settings)

    @pytest.mark.parametrize("model", [models.Perceptron, models.Adaline])
    def test_rules_need_a_rate(self, model):
        with pytest.raises(ValueError, match="lr is None"):
            model(lr=None, batch_size=None)

    def test_arguments_go_by_name(self):
        with pytest.raises(TypeError, match="positional"):
            models.Perceptron(0.5)

    @pytest.mark.parametrize("model", TWO_CLASSES)
    def test_two_classes(self, model):
        with pytest.raises(ValueError, match="y has 3 different labels; expected 2$"):
            model().fit(np.eye(3), [0, 1, 2])

    @pytest.mark.parametrize("model", CLASSIFIERS)
    def test_one_class(self, model):
        with pytest.raises(ValueError, match="y has 1 different labels; expected 2"):
            model().fit(np.eye(3), ["a", "a", "a"])

    @pytest.mark.parametrize(
        ("x", "y", "words"),
        [
            ([1.0, 2.0], [1.0, 2.0], r"x has shape \(2,\)"),
            ([[1.0], [np.inf]], [1.0, 2.0], "x holds inf"),
            ([[1.0], [2.0]], [1.0, np.nan], "y holds nan"),
            ([[1.0], [2.0]], [1.0], "y has 1 rows; expected 2"),
            ([[1.0], [2.0]], 1.0, r"y has shape \(\)"),
        ],
    )
    def test_data_of_a_regression(self, x, y, words):
        with pytest.raises(ValueError, match=words):
            models.LinearRegression().fit(x, y)

    def test_data_of_a_fitted_model(self, line):
        x, t = line
        model = models.LinearRegression().fit(x, t)
        with pytest.raises(ValueError, match=r"x has shape \(200, 2\); expected \(batch, 3\)"):
            model.predict(x[:, :2])
        with pytest.raises(ValueError, match="y has 1 columns; expected 2"):
            model.score(x, t[:, 0])
        with pytest.raises(ValueError, match="y has 3 rows; expected 200"):
            model.score(x, t[:3])

    def test_labels_of_a_fitted_model(self, apart):
        x, y = apart
        model = models.Perceptron().fit(x, y)
        with pytest.raises(ValueError, match="y has 3 rows; expected 80"):
            model.score(x, y[:3])
        with pytest.raises(ValueError, match=r"y has shape \(80, 2\)"):
            model.score(x, np.eye(2)[y])
        assert model.score(x, y + 7) == 0.0
