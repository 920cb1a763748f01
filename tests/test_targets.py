"""Targets: labels of every kind, numbers, class and sample weights."""

import numpy as np
import pytest
from formulas import loss_value, sigmoid
from trainer_parts import build

import cmlp


class TestTargets:
    def test_strings(self, points):
        x, y = points
        names = np.array(["cat", "dog", "eel"])[y]
        trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy(), cmlp.Adam(0.05))
        trainer.fit(x, names, epochs=40)
        assert trainer.net.classes.tolist() == ["cat", "dog", "eel"]
        assert trainer.evaluate(x, names.tolist())["accuracy"] > 0.95
        with pytest.raises(ValueError, match="y holds the label 'cow'"):
            trainer.evaluate(x, ["cow"] * 90)
        with pytest.raises(ValueError, match="y has labels such as"):
            trainer.evaluate(x, y)

    def test_booleans_and_one_output(self, points):
        x, y = points[0], points[1] == 1
        net = build(sizes=(2, 5, 1))
        trainer = cmlp.Trainer(net, cmlp.BinaryCrossEntropy(), cmlp.Adam(0.05))
        trainer.fit(x, y, epochs=60)
        assert trainer.evaluate(x, y)["accuracy"] > 0.95
        p = net.predict_proba(x)[:, 0]
        np.testing.assert_allclose(p, sigmoid(net.predict(x)[:, 0]), rtol=1e-9)

    def test_labels_that_are_not_numbered(self, points):
        trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy())
        trainer.net.classes = np.array([10, 20, 30])
        labels = 10 + 10 * points[1]
        trainer.fit(points[0], labels, epochs=1)
        trainer.evaluate(points[0], labels)

    def test_number_of_classes(self, points):
        trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy())
        with pytest.raises(ValueError, match="y has 2 different labels; expected 3"):
            trainer.fit(points[0], np.where(points[1] == 0, "a", "b"))
        assert trainer.net.classes is None

    def test_one_versus_rest(self, points):
        trainer = cmlp.Trainer(build(), cmlp.BinaryCrossEntropy(), cmlp.Adam(0.05))
        trainer.fit(*points, epochs=60)
        assert trainer.evaluate(*points)["accuracy"] > 0.95

    def test_regression_in_one_dimension(self, points):
        x = points[0]
        net = build(sizes=(2, 8, 1))
        trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.Adam(0.02))
        trainer.fit(x, x[:, 0] * 2, epochs=200)
        scores = trainer.evaluate(x, x[:, 0] * 2)
        assert scores["mean_squared_error"] == pytest.approx(2 * scores["loss"])
        assert scores["mean_squared_error"] < 0.05

    def test_class_weight_is_sample_weight(self, points):
        results = []
        for loss, weight in (
            (cmlp.SoftmaxCrossEntropy(class_weight={1: 3.0}), None),
            (cmlp.SoftmaxCrossEntropy(), np.where(points[1] == 1, 3.0, 1.0)),
        ):
            trainer = cmlp.Trainer(build(), loss)
            history = trainer.fit(*points, epochs=3, batch_size=16, sample_weight=weight)
            results.append([*trainer.net.get_flat(), *history["loss"]])
        assert results[0] == results[1]

    def test_evaluation_weighs_the_loss(self, points, rng):
        trainer, w = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy()), rng.random(90)
        y = trainer.net.predict(points[0])
        expected = loss_value("softmax_cross_entropy", y, points[1], w / w.mean())
        assert trainer.evaluate(*points, w)["loss"] == pytest.approx(expected, rel=1e-12)
