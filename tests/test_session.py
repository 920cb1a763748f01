"""A session makes the steps that `fit` makes, and can be looked at, changed and taken back."""

import threading
import time

import numpy as np
import pytest
from oracle import numerical_gradient, relative_error
from session_cases import CASES, LABELS, NUMBERS, X, by_fit, make, of_planes, open_session, same
from thread_comm import Comm
from trainer_parts import PythonSgd, build

import cmlp
from cmlp import _core

STEPS = 6  # in an epoch of 90 samples, the last of 10


@pytest.mark.parametrize("name", CASES)
class TestSameBits:
    def test_random_portions(self, name, rng):
        with open_session(name) as session:
            left = 4 * STEPS
            while left:
                n = int(rng.integers(1, min(left, 9) + 1))
                session.advance(n)
                left -= n
            assert same(session.trainer, by_fit(name, 4))

    def test_its_own_thread(self, name):
        with open_session(name) as session:
            session.start(steps=STEPS + 2)
            assert session.wait(60)
            session.start(epochs=3)
            while session.running:
                session.snapshot(X[:5])
            assert session.wait()
            assert same(session.trainer, by_fit(name, 4))

    def test_fit_before_and_after(self, name):
        trainer, y, more = make(name)
        trainer.fit(X, y, epochs=1, **more)
        with cmlp.Session(trainer, X, y, **more) as session:
            session.advance(2 * STEPS)
        trainer.fit(X, y, epochs=1, **more)
        expected = by_fit(name, 1)
        for epochs in (2, 1):
            expected.fit(X, y, epochs=epochs, **more)
        assert same(trainer, expected)

    def test_restored(self, name):
        with open_session(name) as session:
            if isinstance(session.trainer.optimizer, PythonSgd):
                pytest.skip("an optimizer of the user's own")
            session.advance(STEPS + 3)
            snapshot = session.snapshot()
            for steps in (2 * STEPS, 1, 2 * STEPS + 3):
                session.advance(steps)
                session.restore(snapshot)
                assert session.step == STEPS + 3
            session.advance(3 * STEPS - 3)
            assert same(session.trainer, by_fit(name, 4))


class TestSnapshot:
    @pytest.mark.parametrize("name", CASES)
    def test_of_a_paused_net(self, name):
        with open_session(name) as session:
            session.advance(STEPS + 2)
            trainer, net = session.trainer, session.trainer.net
            snapshot = session.snapshot(X[:7])
            assert (snapshot.step, snapshot.epoch) == (STEPS + 2, 1)
            flat = [a.ravel() for own in snapshot.parameters for a in own.values()]
            assert np.array_equal(np.concatenate(flat), net.get_flat())
            for own, layer in zip(snapshot.parameters, net.layers, strict=True):
                if isinstance(layer, cmlp.Layer):
                    assert {k: a.tolist() for k, a in own.items()} == {
                        k: a.tolist() for k, a in layer.parameters().items()
                    }
            y = snapshot.inputs
            for layer, a in zip(net.layers, snapshot.activations, strict=True):
                y = layer.forward(y)
                assert np.array_equal(a, y)
            assert np.array_equal(snapshot.predict(X), net.predict(X))
            assert np.array_equal(snapshot.to_net().predict(X), net.predict(X))
            held_out = session.trainer.fitting.held_out
            if held_out is not None:
                assert snapshot.validation == {
                    k[11:]: v for k, v in session.history.last().items() if k.startswith("valid")
                }
            y = CASES[name][1]
            assert snapshot.evaluate(X, y) == pytest.approx(trainer.evaluate(X, y), rel=1e-6)

    def test_while_it_runs(self):
        """Weights and all else are of one step: those that a session led there has."""
        with open_session("adam, drawing, one thread") as session:
            session.start()
            seen = []
            for _ in range(20):
                seen.append(session.snapshot(X[:3]))
                time.sleep(0.001)  # it goes on meanwhile
            session.pause()
        with open_session("adam, drawing, one thread") as again:
            for snapshot in seen:
                if snapshot.step > again.step:
                    again.advance(snapshot.step - again.step)
                expected = again.snapshot(X[:3])
                assert np.array_equal(snapshot.state.weights, expected.state.weights)
                assert snapshot.loss == expected.loss or np.isnan(snapshot.loss)
                assert snapshot.validation == expected.validation
                assert np.array_equal(snapshot.activations[-1], expected.activations[-1])
        assert seen[-1].step > seen[0].step

    def test_loss(self):
        with open_session() as session:
            assert np.isnan(session.snapshot().loss)
            session.advance(STEPS)
            assert session.snapshot().loss == session.history["loss"][0]
            session.advance(1)
            x, y = X[_core.permutation(90, 0, 1)[:16]], LABELS[_core.permutation(90, 0, 1)[:16]]
            before = open_session()
            before.advance(STEPS)
            assert session.snapshot().loss == pytest.approx(before.trainer.evaluate(x, y)["loss"])
            before.close()

    @pytest.mark.parametrize(
        ("net", "loss", "y"),
        [
            (build(), cmlp.SoftmaxCrossEntropy(), LABELS),
            (build(), cmlp.SquaredError(), NUMBERS),
            (of_planes("float64"), cmlp.SoftmaxCrossEntropy(), LABELS),
            (
                cmlp.Sequential(cmlp.Dense(2, 4), cmlp.PReLU(), cmlp.Dense(4, 3, "softmax"),
                                dtype="float64", seed=2),
                cmlp.SoftmaxCrossEntropy(), LABELS,
            ),
            (
                cmlp.Sequential(cmlp.Dense(2, 3), cmlp.Softmax(), dtype="float64", seed=2),
                cmlp.SoftmaxCrossEntropy(), LABELS,
            ),
            (
                cmlp.Sequential(cmlp.Dense(2, 3, "tanh"), dtype="float64", seed=2),
                cmlp.Huber(), NUMBERS,
            ),
        ],
    )  # fmt: skip
    def test_gradients(self, net, loss, y):
        """Against differences of the mean loss, by weights, inputs and outputs of layers."""
        x, y = X[:6], y[:6]
        with cmlp.Session(cmlp.Trainer(net, loss), X, np.resize(y, (90, *y.shape[1:]))) as session:
            found = session.snapshot(x, y).backward
            trainer = session.trainer
            weights = net.get_flat()

            def by_weights(w):
                net.set_flat(w)
                return trainer.evaluate(x, y)["loss"]

            expected = numerical_gradient(by_weights, weights.copy())
            net.set_flat(weights)
            flat = [a.ravel() for own in found.parameters for a in own.values()]
            assert relative_error(np.concatenate(flat), expected) < 1e-6
            expected = numerical_gradient(lambda v: trainer.evaluate(v, y)["loss"], x.copy())
            assert relative_error(found.dx, expected) < 1e-6
            assert found.loss == pytest.approx(trainer.evaluate(x, y)["loss"])
            assert [d.shape for d in found.dy] == [a.shape for a in session.snapshot(x).activations]
            first = net.layers[0]
            u = found.dy[0] * (1 - first.forward(x) ** 2 if first.activation == "tanh" else 1)
            assert relative_error(u.T @ x, found.parameters[0]["weight"]) < 1e-6

    def test_nothing_in_it_can_change(self):
        with open_session() as session:
            snapshot = session.snapshot()
            with pytest.raises(ValueError, match="read-only"):
                snapshot.parameters[0]["weight"][0, 0] = 1.0
            with pytest.raises(AttributeError):
                snapshot.step = 3


class TestSet:
    def test_settings_of_the_optimizer(self):
        """As one that is made with them and has seen the same gradients."""
        with open_session("momentum, float64") as session:
            session.advance(7)
            session.set(momentum=0.5, decay=0.01, l1=0.001, learning_rate=0.02)
            session.advance(9)
            trainer = session.trainer
            assert repr(trainer.optimizer) == (
                "SGD(lr=0.02, weight_decay=0.01, l1=0.001, momentum=0.5, nesterov=True)"
            )
        other, y, more = make("momentum, float64")
        net, loss = other.net, other.loss
        samples = cmlp.training.data.check(net, loss, None, X, y, more["sample_weight"])
        for i in range(16):
            if i == 7:
                slots = other.running.get_slots()
                other.optimizer = cmlp.SGD(0.02, 0.5, nesterov=True, weight_decay=0.01, l1=0.001)
                other.running.set_slots(slots)
                other.running.step_count = 7
            order = _core.permutation(90, 0, i // STEPS)
            rows = order[i % STEPS * 16 : (i % STEPS + 1) * 16]
            other.loop_for(16).step(samples.take(rows), other.optimizer.lr, None)
        assert np.array_equal(other.net.get_flat(), trainer.net.get_flat())

    @pytest.mark.parametrize("name", ["sgd", "adam, drawing, one thread", "layers in python"])
    def test_as_fit_with_other_settings(self, name):
        """Between two epochs: learning rate, size of minibatches, optimizer, loss."""
        changes = [
            {"learning_rate": 0.01},
            {"batch_size": 32},
            {"optimizer": cmlp.RMSprop(0.002)},
            {"learning_rate": 0.03, "batch_size": 9},
        ]
        trainer, y, more = make(name)
        with open_session(name) as session:
            for change in [{}, *changes]:
                session.set(**change)
                session.start(epochs=2)
                session.wait()
                if "optimizer" in change:
                    trainer.optimizer = cmlp.RMSprop(0.002)
                if "learning_rate" in change:
                    trainer.optimizer.lr = change["learning_rate"]
                more["batch_size"] = change.get("batch_size", more["batch_size"])
                trainer.fit(X, y, epochs=2, **more)
                assert np.array_equal(trainer.net.get_flat(), session.trainer.net.get_flat())
            assert len(session.history) == 10
            assert session.batch_size == 9

    def test_another_loss(self):
        trainer = cmlp.Trainer(build("float32"), cmlp.SquaredError())
        y = np.eye(3)[LABELS]
        with cmlp.Session(trainer, X, y, batch_size=30) as session:
            session.advance(3)
            before = session.snapshot(X, y)
            session.set(loss=cmlp.SoftmaxCrossEntropy())
            assert session.snapshot(X, y).backward.loss != before.backward.loss
            session.advance(4)
            assert trainer.net.link == "softmax"
            other = cmlp.Trainer(build("float32"), cmlp.SquaredError())
            other.fit(X, y, epochs=1, batch_size=30)
            other.loss = cmlp.SoftmaxCrossEntropy()
            other.fit(X, y, epochs=1, batch_size=30)
            session.restore(before)
            assert trainer.loss is before.state.loss
            session.set(loss=other.loss)
            session.advance(3)
            assert np.array_equal(trainer.net.get_flat(), other.net.get_flat())

    def test_a_new_size_begins_the_epoch_anew(self):
        with open_session() as session:
            session.advance(STEPS + 2)
            session.set(batch_size=45)
            weights = session.snapshot().state.weights
            session.advance(2)
            assert (session.epoch, session.step) == (2, STEPS + 4)
        trainer, y, more = make("sgd")
        trainer.fit(X, y, epochs=1, **more)
        trainer.net.set_flat(weights)
        trainer.fit(X, y, epochs=1, batch_size=45)
        assert np.array_equal(trainer.net.get_flat(), session.trainer.net.get_flat())

    def test_restored_with_its_settings(self):
        with open_session() as session:
            session.advance(4)
            snapshot = session.snapshot()
            session.advance(9)
            expected = session.snapshot()
            session.restore(snapshot)
            session.set(learning_rate=0.5, momentum=0.5, batch_size=90)
            session.advance(5)
            aside = session.snapshot()
            session.restore(snapshot)
            session.advance(9)
            assert np.array_equal(session.snapshot().state.weights, expected.state.weights)
            session.restore(aside)
            assert session.trainer.optimizer.lr == 0.5
            assert session.batch_size == 90
            assert len(session.history) == aside.state.n_rows
            session.restore(expected)
            assert session.history["epoch"] == [1, 2]

    def test_edit(self):
        with open_session() as session:
            session.advance(3)
            session.edit(0, "weight", (4, 1), -2.5)
            session.edit(1, "bias", 2, 0.25)
            net = session.trainer.net
            assert net.layers[0].weight[4, 1] == -2.5
            assert net.layers[1].bias[2] == 0.25
            weights = net.get_flat()
            session.advance(3)
        other, y, more = make("sgd")
        with cmlp.Session(other, X, y, **more) as session:
            session.advance(3)
            other.net.set_flat(weights)
            session.advance(3)
            assert np.array_equal(other.net.get_flat(), net.get_flat())


SET = [
    ({"learning_rate": -1.0}, ValueError, "learning_rate is -1.0"),
    ({"learning_rate": 0.5, "momentum": 1.5}, ValueError, "momentum is 1.5"),
    ({"learning_rate": 0.5, "decay": "x"}, TypeError, "weight_decay is 'x'"),
    ({"learning_rate": 0.5, "batch_size": 0}, ValueError, "batch_size is 0"),
    ({"learning_rate": 0.5, "optimizer": 3}, TypeError, "optimizer is 3"),
    ({"learning_rate": 0.5, "optimizer": cmlp.LBFGS()}, TypeError, "LBFGS"),
    ({"learning_rate": 0.5, "loss": "x"}, ValueError, "loss is 'x'"),
    ({"momentum": 0.5, "loss": cmlp.SquaredError()}, ValueError, "y"),
    ({"optimizer": cmlp.Adam(), "momentum": 0.5}, ValueError, "momentum is 0.5; Adam"),
    ({"optimizer": PythonSgd(0.1), "decay": 0.5}, ValueError, "weight_decay is 0.5"),
    ({"rate": 0.5}, TypeError, "rate"),
]


class TestRefused:
    """Before anything is changed, in one line that says what came and what was expected."""

    @pytest.mark.parametrize(("given", "kind", "text"), SET)
    def test_settings(self, given, kind, text):
        with open_session(batch_size=16) as session:
            session.advance(2)
            before = session.snapshot()
            with pytest.raises(kind, match=text):
                session.set(**given)
            after = session.snapshot().state
            for name in ("lr", "optimizer", "loss", "batch_size"):
                assert getattr(after, name) is getattr(before.state, name), name
            session.advance(4)
        assert same(session.trainer, by_fit("sgd", 1))

    @pytest.mark.parametrize(
        ("given", "kind", "text"),
        [
            ((2, "bias", 0, 1.0), ValueError, "layer is 2; expected 0 to 1"),
            ((-1, "bias", 0, 1.0), ValueError, "layer is -1"),
            ((0, "slope", 0, 1.0), ValueError, "part is 'slope'; expected weight, bias"),
            ((0, "weight", 0, 1.0), ValueError, r"index is 0; expected a place in shape \(5, 2\)"),
            ((0, "weight", (5, 0), 1.0), ValueError, r"index is \(5, 0\)"),
            ((0, "bias", slice(2), 1.0), TypeError, "index is slice"),
            ((0, "bias", 0, np.nan), ValueError, "value is nan"),
            ((0, "bias", 0, 1e300), ValueError, "expected a finite float32"),
        ],
    )
    def test_edits(self, given, kind, text):
        with open_session() as session:
            before = session.snapshot().state.weights
            with pytest.raises(kind, match=text):
                session.edit(*given)
            assert np.array_equal(session.snapshot().state.weights, before)

    def test_arguments(self):
        trainer, y, _ = make("sgd")
        for arguments, kind, text in [
            ((trainer.net, X, y), TypeError, "expected a Trainer"),
            ((trainer, X, y[:5]), ValueError, "y has 5 rows; expected 90"),
            ((trainer, X[:, :1], y), ValueError, "x has shape"),
            ((cmlp.Trainer(build(), trainer.loss, cmlp.LBFGS()), X, y), TypeError, "LBFGS"),
        ]:
            with pytest.raises(kind, match=text):
                cmlp.Session(*arguments)
        alone = Comm(0, 1, (threading.Barrier(1), [None]))
        shared = cmlp.Trainer(build("float32"), trainer.loss, comm=alone)
        with pytest.raises(TypeError, match="the trainer has a comm"):
            cmlp.Session(shared, X, y)
        with pytest.raises(ValueError, match="batch_size is 0"):
            cmlp.Session(trainer, X, y, batch_size=0)
        with pytest.raises(TypeError, match="shuffle is 3"):
            cmlp.Session(trainer, X, y, shuffle=3)
        with pytest.raises(ValueError, match="validation is None"):
            cmlp.Session(make("plateau")[0], X, y)
        trainer.fit(X, y, epochs=1)  # it is free

    @pytest.mark.parametrize("name", ["advance", "start"])
    def test_steps(self, name):
        with open_session() as session:
            for bad in (0, -1, 1.5, True):
                with pytest.raises((ValueError, TypeError), match="steps is"):
                    getattr(session, name)(bad)
            with pytest.raises(TypeError, match="until is 'x'"):
                session.start(until="x")

    def test_snapshots(self):
        with open_session() as session, open_session() as other:
            with pytest.raises(ValueError, match="of another session"):
                session.restore(other.snapshot())
            with pytest.raises(TypeError, match="expected a Snapshot"):
                session.restore(3)
            with pytest.raises(ValueError, match="inputs is None"):
                session.snapshot(targets=[1])
            with pytest.raises(ValueError, match="inputs has shape"):
                session.snapshot(X[:, :1])
        with (
            open_session("all in python") as session,
            pytest.raises(ValueError, match="whose state is known"),
        ):
            session.restore(session.snapshot())

    def test_attributes(self):
        with open_session() as session:
            for name in ("trainer", "step", "running", "history", "learning_rate"):
                with pytest.raises(AttributeError):
                    setattr(session, name, 3)


@pytest.mark.parametrize("name", ["momentum, float64", "squared errors in python"])
def test_divergence_falls_back_to_where_the_epoch_began(name):
    """However the epoch was cut into portions; and training can go on."""
    with open_session(name) as session:
        session.advance(STEPS)
        good = session.trainer.net.get_flat()
        session.advance(2)
        session.set(learning_rate=1e200)
        session.advance(1)
        with pytest.raises(cmlp.DivergenceError, match="in epoch 2"):
            session.advance(1)
        assert np.array_equal(session.trainer.net.get_flat(), good)
        assert (session.step, session.epoch) == (STEPS, 1)
        session.set(learning_rate=0.02)
        session.advance(STEPS)
        assert session.history["epoch"] == [1, 2]


def test_fit_with_pauses_falls_back_to_where_the_epoch_began():
    class Often(cmlp.Callback):
        every_steps = 1

        def on_steps(self, trainer):
            if trainer.step_count == STEPS + 2:
                trainer.optimizer.lr = 1e200

    good = by_fit("momentum, float64", 1).net.get_flat()
    trainer, y, more = make("momentum, float64")
    with pytest.raises(cmlp.DivergenceError, match="are those after epoch 1"):
        trainer.fit(X, y, epochs=3, callbacks=[Often()], **more)
    assert np.array_equal(trainer.net.get_flat(), good)


@pytest.mark.parametrize("name", ["sgd", "all in python"])
def test_a_source(name):
    """Data read by windows, as `fit` takes them; the reader ends with the session."""

    def source():
        chunks = [(X[i : i + 20], LABELS[i : i + 20]) for i in range(0, 90, 20)]
        return cmlp.data.Source.from_chunks(lambda: iter(chunks), 90, window=32)

    trainer, _, _ = make(name)
    trainer.fit(source(), epochs=3, batch_size=16)
    with cmlp.Session(make(name)[0], source(), batch_size=16) as session:
        session.advance(4)
        session.start(epochs=2)
        while session.running:
            session.snapshot(X[:3])
        session.advance(STEPS)
        assert same(session.trainer, trainer)
    with pytest.raises(TypeError, match="batch_size is None"):
        cmlp.Session(make(name)[0], source(), batch_size=None)
    with pytest.raises(TypeError, match="y is None"):
        cmlp.Session(make(name)[0], X)
