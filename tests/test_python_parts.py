"""Layers, losses and optimizers written in Python, in the same trainer."""

import copy

import numpy as np
import pytest
from trainer_parts import PythonLoss, PythonSgd, PythonTanh

import cmlp


class TestPython:
    def pieces(self, python):
        hidden = PythonTanh() if "layer" in python else cmlp.Tanh()
        net = cmlp.Sequential(cmlp.Dense(2, 5), hidden, cmlp.Dense(5, 3), dtype="float64", seed=0)
        loss = PythonLoss() if "loss" in python else cmlp.SoftmaxCrossEntropy()
        optimizer = PythonSgd(0.1) if "optimizer" in python else cmlp.SGD(0.1)
        return net, loss, optimizer

    @pytest.mark.parametrize(
        "python", [("layer",), ("loss",), ("optimizer",), ("layer", "loss", "optimizer")]
    )
    def test_same_numbers_as_built_in(self, python, points, rng):
        x, y = points
        weight = rng.random(90)
        results = []
        for which in ((), python):
            trainer = cmlp.Trainer(*self.pieces(which), seed=3)
            history = trainer.fit(
                x, y, epochs=4, batch_size=16, sample_weight=weight, validation=points
            )
            results.append((trainer.net.get_flat(), history["loss"], history["validation_loss"]))
            assert trainer.step_count == 24
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize(
        "optimizer",
        [
            cmlp.SGD(0.1, weight_decay=0.5, l1=0.1, decay_over_batch=True),
            cmlp.AdamW(0.01, weight_decay=0.5, decay_over_batch=True),
        ],
        ids=repr,
    )
    def test_decay_over_the_batch(self, optimizer, points, rng):
        weight = rng.random(90)
        results = []
        for which in ((), ("layer",), ("loss",)):
            net, loss, _ = self.pieces(which)
            trainer = cmlp.Trainer(net, loss, copy.deepcopy(optimizer), seed=3)
            trainer.fit(*points, epochs=3, batch_size=16, sample_weight=weight)
            results.append(net.get_flat())
        np.testing.assert_allclose(results[0], results[1], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(results[0], results[2], rtol=1e-9, atol=1e-12)

    def test_metrics_of_a_loss(self, points):
        trainer = cmlp.Trainer(*self.pieces(("loss",)))
        assert set(trainer.evaluate(*points)) == {"loss", "hits"}

    def test_schedule_sets_the_rate_of_an_optimizer(self, points):
        net, loss, optimizer = self.pieces(("optimizer",))
        rates = []
        step = optimizer.step
        optimizer.step = lambda net: (rates.append(optimizer.lr), step(net))
        cmlp.Trainer(net, loss, optimizer, schedule=cmlp.InverseTime(1, 2)).fit(
            *points, epochs=1, batch_size=30
        )
        assert rates == [1 / 2, 1 / 3, 1 / 4]

    @pytest.mark.parametrize("end", [cmlp.Dense(5, 3, activation="softmax"), cmlp.Softmax()])
    def test_logits_of_a_net_that_ends_with_softmax(self, end, points):
        middle = [] if isinstance(end, cmlp.Dense) else [cmlp.Dense(5, 3)]
        results = []
        for hidden in (cmlp.Tanh(), PythonTanh()):
            net = cmlp.Sequential(
                cmlp.Dense(2, 5), hidden, *copy.deepcopy([*middle, end]), dtype="float64", seed=1
            )
            trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1), seed=1)
            trainer.fit(*points, epochs=3, batch_size=16)
            results.append([*net.get_flat(), trainer.evaluate(*points)["loss"]])
            np.testing.assert_allclose(net.predict(points[0]).sum(axis=1), 1.0)
        np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-12)

    def test_diverging_puts_weights_back(self, points):
        net, _, optimizer = self.pieces(("layer",))
        before = net.get_flat()

        class Bad(PythonLoss):
            def forward(self, y, t, sample_weight=None):
                super().forward(y, t, sample_weight)
                self.calls = getattr(self, "calls", 0) + 1
                return float("nan") if self.calls > 3 else 1.0

        trainer = cmlp.Trainer(net, Bad(), optimizer)
        with pytest.raises(cmlp.DivergenceError):
            trainer.fit(*points, batch_size=20)
        assert np.array_equal(net.get_flat(), before)

    def test_a_wrong_gradient_is_named(self, points):
        class Bad(PythonLoss):
            def backward(self):
                return self.dy[:, :2]

        trainer = cmlp.Trainer(self.pieces(())[0], Bad())
        with pytest.raises(ValueError, match=r"dy of .* has shape \(90, 2\); expected \(90, 3\)"):
            trainer.fit(*points)
