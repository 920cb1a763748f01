"""L-BFGS."""

import numpy as np
import pytest
from trainer_parts import PythonTanh, build

import cmlp


class TestLbfgs:
    def test_finds_the_least_squares(self, rng):
        pytest.importorskip("scipy")
        x, t = rng.normal(size=(80, 4)), rng.normal(size=(80, 2))
        net = cmlp.Sequential(cmlp.Dense(4, 2), dtype="float64", seed=0)
        trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.LBFGS(tol=1e-10))
        history = trainer.fit(x, t, epochs=100, batch_size=32, validation=(x, t))
        exact, *_ = np.linalg.lstsq(np.c_[x, np.ones(80)], t, rcond=None)
        np.testing.assert_allclose(net.layers[0].weight, exact[:4].T, atol=1e-7)
        np.testing.assert_allclose(net.layers[0].bias, exact[4], atol=1e-7)
        assert len(history) == trainer.epoch < 100
        assert history["loss"] == pytest.approx(history["validation_loss"])

    def test_decay_is_the_ridge(self, rng):
        pytest.importorskip("scipy")
        x, t = rng.normal(size=(50, 3)), rng.normal(size=(50, 1))
        net = cmlp.Sequential(cmlp.Dense(3, 1, bias=False), dtype="float64", seed=0)
        cmlp.Trainer(net, cmlp.SquaredError(), cmlp.LBFGS(tol=1e-10, weight_decay=0.3)).fit(
            x, t, epochs=100
        )
        exact = np.linalg.solve(x.T @ x / 50 + 0.3 * np.eye(3), x.T @ t / 50)
        np.testing.assert_allclose(net.layers[0].weight, exact.T, atol=1e-7)

    def test_callbacks_and_layers_in_python(self, points):
        pytest.importorskip("scipy")
        net = cmlp.Sequential(
            cmlp.Dense(2, 5), PythonTanh(), cmlp.Dense(5, 3, activation="softmax"),
            dtype="float64", seed=0,
        )  # fmt: skip
        trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.LBFGS())

        class Stop:
            def on_epoch_end(self, trainer, row):
                return row["epoch"] == 5

        history = trainer.fit(*points, epochs=50, callbacks=[Stop()])
        assert len(history) == 5
        assert history["loss"][-1] < history["loss"][0]
        assert trainer.evaluate(*points)["loss"] == pytest.approx(history["loss"][-1])

    def test_no_single_steps(self, points):
        trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy(), cmlp.LBFGS())
        with pytest.raises(TypeError, match="no single steps"):
            trainer.train_step(*points)
