import io
import sys

import numpy as np
import pytest

import cmlp
from cmlp.training.callbacks import (
    Callback,
    Converged,
    EarlyStopping,
    GradientMonitor,
    ModelCheckpoint,
    ProgressBar,
    _clock,
    _parse_every,
)


def trainer(lr=0.1, **settings):
    net = cmlp.Sequential(
        cmlp.Dense(2, 8, activation="tanh"), cmlp.Dense(8, 3), dtype="float64", seed=0
    )
    return cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(lr, momentum=0.9), **settings)


class Recorder(Callback):
    """Writes down what it is told."""

    def __init__(self):
        self.events = []

    def on_train_begin(self, trainer):
        self.events.append("begin")

    def on_epoch_begin(self, trainer):
        self.events.append(f"epoch {trainer.epoch}")

    def on_epoch_end(self, trainer, row):
        self.events.append(f"end {int(row['epoch'])}")

    def on_steps(self, trainer):
        self.events.append(f"step {trainer.step_count}")

    def on_train_end(self, trainer):
        self.events.append("over")


class TestProtocol:
    def test_order(self, points):
        recorder = Recorder()
        trainer().fit(*points, epochs=2, batch_size=30, callbacks=[recorder])
        assert recorder.events == ["begin", "epoch 0", "end 1", "epoch 1", "end 2", "over"]

    def test_steps(self, points):
        recorder = Recorder()
        recorder.every_steps = 2
        trainer().fit(*points, epochs=2, batch_size=30, callbacks=[recorder])
        assert [e for e in recorder.events if "step" in e] == ["step 2", "step 4", "step 6"]

    def test_seconds(self, points):
        recorder = Recorder()
        recorder.every_seconds = 0.0
        trainer().fit(*points, epochs=2, batch_size=10, callbacks=[recorder])
        assert len([e for e in recorder.events if "step" in e]) > 2

    def test_true_stops(self, points):
        class Stop:
            def on_epoch_end(self, trainer, row):
                return row["epoch"] == 3

        history = trainer().fit(*points, epochs=10, callbacks=[Stop()])
        assert len(history) == 3

    def test_true_stops_within_an_epoch(self, points):
        class Stop(Callback):
            every_steps = 4

            def on_steps(self, trainer):
                return True

        one = trainer()
        assert len(one.fit(*points, epochs=10, batch_size=30, callbacks=[Stop()])) == 1
        assert one.step_count == 4

    def test_end_is_told_after_an_error(self, points):
        class Break(Recorder):
            def on_epoch_end(self, trainer, row):
                raise RuntimeError("mine")

        callback = Break()
        with pytest.raises(RuntimeError, match="mine"):
            trainer().fit(*points, callbacks=[callback])
        assert callback.events[-1] == "over"

    @pytest.mark.parametrize("wrong", [Recorder, 3, "stop"])
    def test_what_is_no_callback(self, wrong, points):
        with pytest.raises(TypeError, match="callbacks holds"):
            trainer().fit(*points, callbacks=[wrong])


class TestEarlyStopping:
    def test_stops_and_restores(self, points):
        x, y = points
        one = trainer(lr=2.0)
        stopper = EarlyStopping(patience=3)
        weights = {}

        class Keep:
            def on_epoch_end(self, trainer, row):
                weights[int(row["epoch"])] = trainer.net.get_flat()

        history = one.fit(
            x[::2], y[::2], epochs=200, validation=(x[1::2], y[1::2]), callbacks=[Keep(), stopper]
        )
        losses = history["validation_loss"]
        best = int(np.argmin(losses)) + 1
        assert stopper.best_epoch == best
        assert len(history) == best + 3
        assert np.array_equal(one.net.get_flat(), weights[best])

    def test_without_restoring(self, points):
        one = trainer()
        one.fit(*points, epochs=3, callbacks=[EarlyStopping(1, min_delta=9.0, restore_best=False)])
        assert one.epoch == 2

    def test_accuracy_is_to_rise(self, points):
        stopper = EarlyStopping(patience=2, monitor="validation_accuracy")
        history = trainer().fit(*points, epochs=50, validation=points, callbacks=[stopper])
        assert stopper.best == -max(history["validation_accuracy"])

    def test_nan_is_no_improvement(self):
        stopper = EarlyStopping()
        assert not stopper.improved(float("nan"))
        assert stopper.improved(3.0)
        assert not stopper.improved(float("nan"))

    def test_unknown_column(self, points):
        with pytest.raises(ValueError, match="monitor is 'auc'; expected one of epoch, loss"):
            trainer().fit(*points, callbacks=[EarlyStopping(monitor="auc")])

    @pytest.mark.parametrize(
        ("settings", "error", "words"),
        [
            ({"patience": 0}, ValueError, "patience is 0"),
            ({"min_delta": -1}, ValueError, "min_delta is -1"),
            ({"monitor": 3}, TypeError, "monitor is 3"),
            ({"restore_best": None}, TypeError, "restore_best is None"),
        ],
    )
    def test_errors(self, settings, error, words):
        with pytest.raises(error, match=words):
            EarlyStopping(**settings)


def test_converged(points):
    one = trainer(lr=0.3)
    loose = len(one.fit(*points, epochs=500, callbacks=[Converged(0.01)]))
    assert 1 < loose < 500
    before = one.net.get_flat()
    one.fit(*points, epochs=1)
    change = np.linalg.norm(one.net.get_flat() - before) / np.linalg.norm(before)
    assert change < 0.02


class TestModelCheckpoint:
    def test_every_epochs(self, points, tmp_path):
        path = tmp_path / "at-{epoch}.safetensors"
        trainer().fit(*points, epochs=5, callbacks=[ModelCheckpoint(path, every=2)])
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            "at-2.safetensors",
            "at-4.safetensors",
        ]

    def test_every_steps(self, points, tmp_path):
        path = tmp_path / "{step}.safetensors"
        trainer().fit(
            *points, epochs=2, batch_size=30, callbacks=[ModelCheckpoint(path, every="4 steps")]
        )
        assert [p.name for p in tmp_path.iterdir()] == ["4.safetensors"]
        assert cmlp.Trainer.load_checkpoint(tmp_path / "4.safetensors").step_count == 4

    def test_every_seconds(self, points, tmp_path):
        path = tmp_path / "last.safetensors"
        trainer().fit(*points, epochs=3, batch_size=9, callbacks=[ModelCheckpoint(path, "1e-9s")])
        assert path.exists()

    def test_best_only(self, points, tmp_path):
        saved = []

        class Watch(ModelCheckpoint):
            def save(self, trainer):
                saved.append(trainer.epoch)
                super().save(trainer)

        watch = Watch(tmp_path / "best.safetensors", save_best_only=True)
        history = trainer(lr=3.0).fit(*points, epochs=15, validation=points, callbacks=[watch])
        losses = history["validation_loss"]
        expected = [i + 1 for i, v in enumerate(losses) if v == min(losses[: i + 1])]
        assert saved == expected
        net = cmlp.load(tmp_path / "best.safetensors")
        one = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy())
        assert one.evaluate(*points)["loss"] == pytest.approx(min(losses), rel=1e-12)

    @pytest.mark.parametrize(
        ("every", "expected"),
        [
            (3, (3, None, None)),
            ("500 steps", (None, 500, None)),
            ("1step", (None, 1, None)),
            ("10min", (None, None, 600.0)),
            ("30s", (None, None, 30.0)),
            ("1.5 h", (None, None, 5400.0)),
        ],
    )
    def test_every(self, every, expected):
        assert _parse_every(every) == expected

    @pytest.mark.parametrize(
        "every", [0, -1, "", "often", "10", "0s", "1.5 steps", "-3min", "1e999s"]
    )
    def test_every_refused(self, every):
        with pytest.raises(ValueError, match="every is"):
            ModelCheckpoint("x", every=every)

    @pytest.mark.parametrize("every", [True, 2.5, None])
    def test_every_of_a_wrong_type(self, every):
        with pytest.raises(TypeError, match="every is"):
            ModelCheckpoint("x", every=every)

    def test_best_needs_epochs(self):
        with pytest.raises(ValueError, match="expected epochs with save_best_only"):
            ModelCheckpoint("x", every="3s", save_best_only=True)


class TestGradientMonitor:
    def test_vanishing_gradient(self, rng):
        x, y = rng.normal(size=(60, 10)), rng.integers(2, size=60)

        def ratio(activation):
            layers = [cmlp.Dense(10, 10, activation=activation) for _ in range(6)]
            net = cmlp.Sequential(*layers, cmlp.Dense(10, 2), dtype="float64", seed=0)
            monitor = GradientMonitor()
            cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.01)).fit(
                x, y, epochs=2, callbacks=[monitor]
            )
            assert monitor.epochs == [0, 1, 2]
            assert monitor.delta_norms.shape == monitor.weight_norms.shape == (3, 7)
            return monitor.delta_norms[-1, 0] / monitor.delta_norms[-1, -1]

        assert ratio("sigmoid") < 1e-2 * ratio("relu")

    def test_norms(self, points):
        x, y = points
        one = trainer()
        monitor = GradientMonitor(x[:7], y[:7])
        one.fit(x, y, epochs=1, callbacks=[monitor])
        loss = cmlp.SoftmaxCrossEntropy()
        loss.forward(one.net.forward(x[:7]), y[:7])
        delta = loss.backward()
        one.net.backward(delta)
        assert monitor.delta_norms[-1, 1] == pytest.approx(np.linalg.norm(delta))
        weight = np.linalg.norm(one.net.layers[0].grad_weight)
        assert monitor.weight_norms[-1, 0] == pytest.approx(weight)
        assert monitor.layers == ["0: Dense(2, 8, activation='tanh')", "1: Dense(8, 3)"]

    def test_training_is_not_disturbed(self, points):
        nets = []
        for callbacks in ([], [GradientMonitor()]):
            one = trainer()
            one.fit(*points, epochs=3, callbacks=callbacks)
            nets.append(one.net.get_flat())
        assert np.array_equal(*nets)

    def test_a_net_that_ends_with_softmax(self, points):
        net = cmlp.Sequential(cmlp.Dense(2, 3, activation="softmax"), dtype="float64", seed=0)
        monitor = GradientMonitor()
        cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy()).fit(*points, epochs=1, callbacks=[monitor])
        assert np.isfinite(monitor.delta_norms).all()

    def test_x_needs_y(self):
        with pytest.raises(ValueError, match="x and y go together"):
            GradientMonitor(x=np.ones((2, 2)))


class TestProgressBar:
    def test_quiet_where_there_is_no_terminal(self, points):
        stream = io.StringIO()
        trainer().fit(*points, epochs=2, callbacks=[ProgressBar(stream=stream)])
        assert stream.getvalue() == ""

    @pytest.mark.parametrize("with_rich", [True, False])
    def test_shows(self, with_rich, points, monkeypatch):
        if with_rich:
            pytest.importorskip("rich")
        else:
            monkeypatch.setitem(sys.modules, "rich.console", None)
        stream = io.StringIO()
        bar = ProgressBar(force=True, stream=stream)
        trainer().fit(*points, epochs=3, validation=points, callbacks=[bar])
        text = stream.getvalue()
        assert "100%" in text
        assert "epoch 3/3" in text
        assert "val acc" in text
        assert "/s" in text

    def test_progress_argument(self, points, capsys):
        trainer().fit(*points, epochs=1, progress=True)
        assert "epoch 1/1" in capsys.readouterr().err
        trainer().fit(*points, epochs=1)
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "00:00"), (75, "01:15"), (3661, "1:01:01"), (float("inf"), "--:--")],
    )
    def test_clock(self, seconds, text):
        assert _clock(seconds) == text
