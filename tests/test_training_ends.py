"""Training that diverges or is interrupted, and what the history says."""

import numpy as np
import pytest
from trainer_parts import PythonLoss, build, ctrl_c_after

import cmlp


class TestDivergence:
    @pytest.mark.parametrize("callbacks", [[], [cmlp.EarlyStopping(99, restore_best=False)]])
    def test_last_good_epoch_is_kept(self, callbacks, rng):
        x = rng.normal(size=(64, 4))
        net = cmlp.Sequential(cmlp.Dense(4, 4), cmlp.Dense(4, 1), dtype="float64", seed=0)
        trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(5.0))
        weights = [net.get_flat()]

        class Keep(cmlp.Callback):
            def on_epoch_end(self, trainer, row):
                weights.append(net.get_flat())

        with pytest.raises(cmlp.DivergenceError, match=r"epoch \d+ \(learning rate 5\)"):
            trainer.fit(x, x[:, :1], epochs=50, batch_size=16, callbacks=[*callbacks, Keep()])
        assert np.array_equal(net.get_flat(), weights[-1])
        assert len(trainer.history) == len(weights) - 1 == trainer.epoch
        trainer.optimizer.lr = 0.01
        net.set_flat(weights[0])
        assert np.isfinite(trainer.fit(x, x[:, :1], epochs=2)["loss"]).all()

    def test_momentum_starts_anew(self, rng):
        x = rng.normal(size=(64, 4)) * 1e3
        net = cmlp.Sequential(cmlp.Dense(4, 1), dtype="float64", seed=0)
        trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(1e3, momentum=0.9))
        with pytest.raises(cmlp.DivergenceError):
            trainer.fit(x, x[:, :1], epochs=500, batch_size=8)
        assert np.isfinite(net.get_flat()).all()
        net.set_flat(np.zeros(5))
        trainer.optimizer.lr = 1e-9
        assert np.isfinite(trainer.fit(x, x[:, :1], epochs=2)["loss"]).all()


class TestInterrupt:
    @pytest.mark.parametrize("python", [False, True])
    def test_ctrl_c(self, python, points):
        loss = PythonLoss() if python else cmlp.SoftmaxCrossEntropy()
        trainer = cmlp.Trainer(build(), loss)
        ended = []

        class Ends(cmlp.Callback):
            def on_train_end(self, trainer):
                ended.append(trainer.history.interrupted)

        timer = ctrl_c_after(0.15)
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                trainer.fit(*points, epochs=10**7, batch_size=4, callbacks=[Ends()])
        finally:
            timer.cancel()
        assert ended == [True]
        assert trainer.history.interrupted
        assert np.isfinite(trainer.net.predict(points[0])).all()
        again = trainer.fit(*points, epochs=1)
        assert not again.interrupted
        assert again["epoch"] == [trainer.epoch]

    def test_rows_of_epochs_whose_losses_were_not_seen(self, points):
        trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy())
        timer = ctrl_c_after(0.15)
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                trainer.fit(*points, epochs=10**7)
        finally:
            timer.cancel()
        assert trainer.history["epoch"] == list(range(1, trainer.epoch + 1))
        assert trainer.step_count == trainer.epoch


class TestHistory:
    def test_columns(self, points):
        trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy())
        history = trainer.fit(*points, epochs=3, validation=points)
        assert history is trainer.history
        assert history.columns == [
            "epoch", "loss", "validation_loss", "validation_accuracy", "lr", "seconds",
        ]  # fmt: skip
        assert all(len(column) == len(history) == 3 for column in history.to_dict().values())
        assert history["validation_loss"][-1] == trainer.evaluate(*points)["loss"]
        assert (np.array(history["seconds"]) > 0).all()
        assert not history.interrupted
        assert "loss" in history
        assert "History(3 epochs: epoch=3" in repr(history)
        with pytest.raises(KeyError, match="no column 'auc'"):
            history["auc"]

    def test_round_trip(self):
        history = cmlp.History()
        history.add({"loss": 1.0})
        history.add({"loss": 0.5, "extra": 3.0})
        again = cmlp.History.from_dict(history.to_dict())
        assert again["loss"] == [1.0, 0.5]
        assert np.isnan(again["extra"][0])
        assert again.last() == {"loss": 0.5, "extra": 3.0}
        with pytest.raises(ValueError, match=r"columns has lengths \[1, 2\]"):
            cmlp.History.from_dict({"a": [1.0], "b": [1.0, 2.0]})
