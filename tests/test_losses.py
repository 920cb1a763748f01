import pickle

import numpy as np
import pytest
from formulas import loss_value, targets_for
from oracle import numerical_gradient, relative_error

import cmlp
from cmlp import losses

SQUARED, POISSON = cmlp.SquaredError(), cmlp.Poisson()
SOFTMAX, BINARY = cmlp.SoftmaxCrossEntropy(), cmlp.BinaryCrossEntropy()
ROWS = [kind() for kind in losses.KINDS.values()]
ROWS += [cmlp.Huber(0.3), cmlp.SoftmaxCrossEntropy(label_smoothing=0.2)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ROWS, ids=repr)
def test_value_and_gradient(loss, weighted, rng):
    y = rng.normal(size=(9, 5))
    t = targets_for(loss.name, rng, 9, 5)
    w = rng.random(9) + 0.1 if weighted else None
    expected = loss_value(loss.name, y, t, w, loss.param)
    assert loss.forward(y, t, w) == pytest.approx(expected, rel=1e-12)
    dy = loss.backward()
    assert dy.shape == y.shape
    numeric = numerical_gradient(lambda v: loss_value(loss.name, v, t, w, loss.param), y)
    assert relative_error(dy, numeric) < 1e-6


def test_softmax_delta_is_y_minus_t(rng):
    y, labels = rng.normal(size=(8, 4)), rng.integers(4, size=8)
    loss = cmlp.SoftmaxCrossEntropy()
    loss.forward(y, labels)
    p = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loss.backward(), (p - np.eye(4)[labels]) / 8, atol=1e-15)


def test_labels_equal_one_hot_rows(rng):
    y, labels = rng.normal(size=(8, 4)), rng.integers(4, size=8)
    for loss in (cmlp.SoftmaxCrossEntropy(), cmlp.SoftmaxCrossEntropy(label_smoothing=0.1)):
        a, da = loss.forward(y, labels), loss.backward()
        b, db = loss.forward(y, np.eye(4)[labels]), loss.backward()
        assert a == b
        assert np.array_equal(da, db)


@pytest.mark.parametrize("size", [1e4, 1e30])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_at_huge_logits(size, dtype):
    y = np.array([[size, -size], [-size, size]], dtype)
    for loss in (cmlp.SoftmaxCrossEntropy(), cmlp.BinaryCrossEntropy()):
        for t in ([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]):
            assert np.isfinite(loss.forward(y, t))
            assert np.isfinite(loss.backward()).all()
    assert cmlp.SoftmaxCrossEntropy().forward(y, [0, 1]) == 0.0
    assert cmlp.SoftmaxCrossEntropy().forward(y, [1, 0]) == pytest.approx(2 * size)


def test_nan_stays_nan():
    y = np.array([[np.nan, 1.0]])
    assert np.isnan(cmlp.SoftmaxCrossEntropy().forward(y, [0]))
    assert np.isnan(cmlp.SquaredError().forward(y, [[0.0, 0.0]]))


class TestClassWeight:
    def test_dict_is_sample_weights(self, rng):
        y, labels = rng.normal(size=(20, 3)), np.r_[0, 1, 2, rng.integers(3, size=17)]
        weighted = cmlp.SoftmaxCrossEntropy(class_weight={0: 2.0, 2: 0.5})
        w = np.array([2.0, 1.0, 0.5])[labels]
        assert weighted.forward(y, labels) == pytest.approx(
            loss_value("softmax_cross_entropy", y, labels, w), rel=1e-12
        )
        array = cmlp.SoftmaxCrossEntropy(class_weight=[2.0, 1.0, 0.5])
        assert array.forward(y, labels) == weighted.forward(y, labels)
        assert array.forward(y, np.eye(3)[labels]) == pytest.approx(array.forward(y, labels))

    def test_balanced(self, rng):
        y, labels = rng.normal(size=(10, 3)), np.array([0] * 6 + [1] * 3 + [2])
        w = (10 / (3 * np.array([6, 3, 1])))[labels]
        loss = cmlp.SoftmaxCrossEntropy(class_weight="balanced")
        expected = loss_value("softmax_cross_entropy", y, labels, w)
        assert loss.forward(y, labels) == pytest.approx(expected, rel=1e-12)

    def test_times_sample_weight(self, rng):
        y, labels = rng.normal(size=(6, 2)), np.array([0, 1, 0, 1, 1, 0])
        sample = rng.random(6)
        loss = cmlp.SoftmaxCrossEntropy(class_weight=[1.0, 3.0])
        w = sample * np.array([1.0, 3.0])[labels]
        expected = loss_value("softmax_cross_entropy", y, labels, w)
        assert loss.forward(y, labels, sample) == pytest.approx(expected, rel=1e-12)

    def test_binary(self, rng):
        y, t = rng.normal(size=(6, 1)), np.array([0.0, 1, 0, 1, 1, 0])
        loss = cmlp.BinaryCrossEntropy(class_weight={1: 4.0})
        expected = loss_value("binary_cross_entropy", y, t[:, None], 1 + 3 * t)
        assert loss.forward(y, t) == pytest.approx(expected, rel=1e-12)

    def test_labels_of_the_user(self):
        loss = cmlp.SoftmaxCrossEntropy(class_weight={"cat": 5.0})
        classes = np.array(["cat", "dog"])
        t = loss.targets(["dog", "cat"], 2, "float32", classes)
        assert loss.weights(t, None, "float32", classes).tolist() == [1.0, 5.0]


class TestTargets:
    def test_forms(self):
        softmax, binary = cmlp.SoftmaxCrossEntropy(), cmlp.BinaryCrossEntropy()
        assert softmax.targets(np.uint8([2, 0]), 3, "float32").dtype == np.int64
        assert softmax.targets([[1.0], [2.0]], 3, "float32").tolist() == [1, 2]
        assert softmax.targets([[0.5, 0.5]], 2, "float32").dtype == np.float32
        assert binary.targets([True, False], 1, "float64").tolist() == [[1.0], [0.0]]
        assert binary.targets([1, 0], 2, "float64").tolist() == [[0.0, 1.0], [1.0, 0.0]]
        assert cmlp.SquaredError().targets([1, 2], 1, "float64").tolist() == [[1.0], [2.0]]

    def test_classes(self):
        classes = np.array([3, 5, 9])
        assert cmlp.SoftmaxCrossEntropy().targets([9, 3], 3, "float32", classes).tolist() == [2, 0]

    @pytest.mark.parametrize(
        ("loss", "t", "n_out", "error", "words"),
        [
            (SOFTMAX, [0, 3], 3, ValueError, r"y has labels 0\.\.3; expected 0\.\.2"),
            (SOFTMAX, [-1, 0], 3, ValueError, r"labels -1\.\.0"),
            (SOFTMAX, [0.5, 1.0], 3, ValueError, "fractions"),
            (SOFTMAX, [np.nan, 1.0], 3, ValueError, "holds nan"),
            (SOFTMAX, ["a", "b"], 3, TypeError, "expected integer labels"),
            (SOFTMAX, [], 3, ValueError, "expected labels"),
            (SOFTMAX, [[0.5, 0.6, 0.0]], 3, ValueError, "sums to 1.1"),
            (SOFTMAX, [[1.5, -0.5, 0.0]], 3, ValueError, "smallest value -0.5"),
            (SOFTMAX, np.ones((2, 4)), 3, ValueError, r"shape \(2, 4\); expected \(batch, 3\)"),
            (BINARY, [[1.5]], 1, ValueError, r"expected \[0, 1\]"),
            (BINARY, [2, 0], 1, ValueError, r"expected \[0, 1\]"),
            (POISSON, [[-1.0]], 1, ValueError, "expected counts >= 0"),
            (SQUARED, [[np.inf]], 1, ValueError, r"holds inf at \[0, 0\]"),
            (SQUARED, [1.0, 2.0], 2, ValueError, r"shape \(2,\); expected \(batch, 2\)"),
            (SQUARED, [["x"]], 1, TypeError, "expected real numbers"),
        ],
    )
    def test_refused(self, loss, t, n_out, error, words):
        with pytest.raises(error, match=words):
            loss.targets(t, n_out, "float64")

    def test_unknown_label(self):
        classes = np.array(["cat", "dog"])
        with pytest.raises(ValueError, match="holds the label 'cow'; expected one of 'cat', 'dog'"):
            cmlp.SoftmaxCrossEntropy().targets(["dog", "cow"], 2, "float32", classes)


class TestMetrics:
    def test_accuracy(self):
        y = np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]])
        assert cmlp.SoftmaxCrossEntropy().metrics(y, np.array([1, 0, 0]))["accuracy"] == 2 / 3
        one_hot = np.eye(2)[[1, 0, 0]]
        assert cmlp.SoftmaxCrossEntropy().metrics(y, one_hot)["accuracy"] == 2 / 3

    def test_binary_accuracy(self):
        binary = cmlp.BinaryCrossEntropy()
        y = np.array([[-1.0], [2.0], [3.0], [-0.5]])
        assert binary.metrics(y, np.array([[0.0], [1.0], [0.0], [0.0]]))["accuracy"] == 0.75
        rest = np.array([[-1.0, -2.0, -3.0], [1.0, 2.0, -1.0]])  # one-vs-rest: the largest wins
        assert binary.metrics(rest, np.eye(3)[[0, 1]])["accuracy"] == 1.0
        assert binary.metrics(rest, np.array([[0.0, 0, 0], [1, 1, 0]]))["accuracy"] == 1.0

    def test_errors(self):
        metrics = cmlp.SquaredError().metrics(np.array([[1.0], [3.0]]), np.array([[0.0], [0.0]]))
        assert metrics == {"mean_squared_error": 5.0, "mean_absolute_error": 2.0}


@pytest.mark.parametrize(
    "loss",
    [
        *ROWS,
        cmlp.SoftmaxCrossEntropy(class_weight="balanced"),
        cmlp.SoftmaxCrossEntropy(class_weight=[1.0, 2.0]),
        cmlp.SoftmaxCrossEntropy(class_weight={"a": 2.0}),
        cmlp.SoftmaxCrossEntropy(class_weight={np.int64(1): 2.0}),
    ],
    ids=repr,
)
def test_config_and_pickle(loss):
    for again in (losses.from_config(losses.to_config(loss)), pickle.loads(pickle.dumps(loss))):
        assert again.config() == loss.config()
        assert type(again) is type(loss)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: cmlp.Huber(0), ValueError, "delta is 0"),
        (lambda: cmlp.SoftmaxCrossEntropy("even"), ValueError, "class_weight is 'even'"),
        (lambda: cmlp.SoftmaxCrossEntropy({0: -1}), ValueError, r"class_weight\[0\] is -1"),
        (lambda: cmlp.SoftmaxCrossEntropy([1, -1]), ValueError, "class_weight has values"),
        (lambda: cmlp.SoftmaxCrossEntropy(label_smoothing=1), ValueError, "label_smoothing is 1"),
        (lambda: cmlp.SquaredError().backward(), RuntimeError, "before forward"),
        (lambda: cmlp.SquaredError().forward([[1.0]], [[1.0], [2.0]]), ValueError, "t has 2 rows"),
        (
            lambda: cmlp.SquaredError().forward([[1.0]], [[1.0]], [1, 2]),
            ValueError,
            r"sample_weight has shape \(2,\); expected \(1,\)",
        ),
        (
            lambda: cmlp.SquaredError().forward([[1.0]], [[1.0]], [-1.0]),
            ValueError,
            "sample_weight has values",
        ),
    ],
)
def test_errors_name_the_argument(make, error, words):
    with pytest.raises(error, match=words):
        make()
