"""The trainer: whole fits against NumPy, minibatches, schedules, errors."""

import copy
import pickle
import sys
import threading

import numpy as np
import pytest
from oracle import Mlp, Updates
from trainer_parts import PythonLoss, X, Y, build

import cmlp
from cmlp import _core


def reference_of(net):
    dense = [layer for layer in net.layers if isinstance(layer, cmlp.Dense)]
    return Mlp([la.weight for la in dense], [la.bias for la in dense])


def reference_fit(reference, updates, x, labels, epochs, batch, seed, shuffle=True, weight=None):
    """Step by step in NumPy, the samples in the order that the core documents."""
    losses, unit = [], 1.0 if weight is None else weight.mean()
    for epoch in range(epochs):
        order = _core.permutation(len(x), seed, epoch) if shuffle else np.arange(len(x))
        total = 0.0
        for start in range(0, len(x), batch):
            rows = order[start : start + batch]
            w = None if weight is None else weight[rows] / unit
            loss, dw, db = reference.gradients(x[rows], labels[rows], w)
            updates.step(reference, dw, db, rows=len(rows) * unit)
            total += loss * len(rows)
        losses.append(total / len(x))
    return losses


OPTIMIZERS = [
    ("sgd", cmlp.SGD(0.1)),
    ("sgd", cmlp.SGD(0.1, momentum=0.9, weight_decay=0.01)),
    ("sgd", cmlp.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
    ("sgd", cmlp.SGD(0.1, weight_decay=1.0, decay_over_batch=True)),
    ("sgd", cmlp.SGD(0.1, l1=0.01)),
    ("sgd", cmlp.SGD(0.2, momentum=0.5, clip_value=0.02)),
    ("sgd", cmlp.SGD(0.2, momentum=0.5, clip_norm=0.1, weight_decay=0.1)),
    ("adam", cmlp.Adam(0.01)),
    ("adam", cmlp.Adam(0.01, weight_decay=0.1, clip_norm=0.1)),
    ("adamw", cmlp.AdamW(0.01, weight_decay=0.1)),
    ("rmsprop", cmlp.RMSprop(0.01, momentum=0.5)),
    ("adagrad", cmlp.Adagrad(0.1)),
    ("adadelta", cmlp.Adadelta()),
]


def settings(optimizer):
    return {k: v for k, v in optimizer.config().items() if k != "lr"}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("kind", "optimizer"), OPTIMIZERS, ids=[repr(o) for _, o in OPTIMIZERS])
def test_fifty_steps_equal_numpy(kind, optimizer, weighted, points, rng):
    x, labels = points
    weight = rng.random(90) + 0.1 if weighted else None
    net = build(sizes=(2, 7, 6, 3))
    reference, updates = reference_of(net), Updates(kind, optimizer.lr, **settings(optimizer))
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), copy.deepcopy(optimizer), seed=11)
    history = trainer.fit(x, labels, epochs=10, batch_size=20, sample_weight=weight)
    losses = reference_fit(reference, updates, x, labels, 10, 20, 11, weight=weight)
    assert trainer.step_count == 50
    np.testing.assert_allclose(net.get_flat(), reference.flat(), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-6)


class TestFit:
    def test_layer_by_layer_equals_the_trainer(self, points):
        x, y = points
        net = build()
        first, second = (copy.deepcopy(layer) for layer in net.layers)
        cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1)).fit(
            x, y, epochs=5, batch_size=30, shuffle=False
        )
        loss, optimizer = cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1)
        for _ in range(5):
            for rows in (slice(0, 30), slice(30, 60), slice(60, 90)):
                loss.forward(second.forward(first.forward(x[rows])), y[rows])
                first.backward(second.backward(loss.backward()))
                optimizer.step([first, second])
        np.testing.assert_allclose(net.layers[0].weight, first.weight, rtol=1e-10)
        np.testing.assert_allclose(net.layers[1].bias, second.bias, rtol=1e-10)

    def test_train_steps_equal_fit(self, points):
        x, y = points
        results = []
        for by_steps in (False, True):
            trainer = cmlp.Trainer(build("float32"), cmlp.SoftmaxCrossEntropy(), cmlp.Adam(0.01))
            if not by_steps:
                trainer.fit(x, y, epochs=3, batch_size=30, shuffle=False)
            for _ in range(3 * by_steps):
                for i in range(0, 90, 30):
                    trainer.train_step(x[i : i + 30], y[i : i + 30])
            assert trainer.step_count == 9
            results.append(trainer.net.get_flat())
        assert np.array_equal(*results)

    def test_two_calls_equal_one(self, points):
        results = []
        for calls in ([6], [2, 1, 3]):
            trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1, momentum=0.9))
            for epochs in calls:
                history = trainer.fit(*points, epochs=epochs, batch_size=16)
            assert trainer.epoch == 6
            assert history["epoch"][-1] == 6
            results.append(trainer.net.get_flat())
        assert np.array_equal(*results)

    def test_callbacks_change_nothing(self, points):
        results = []
        for callbacks in ([], [cmlp.ProgressBar()], [cmlp.EarlyStopping(99, restore_best=False)]):
            trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy())
            trainer.fit(*points, epochs=30, batch_size=16, callbacks=callbacks)
            results.append(trainer.net.get_flat())
        assert np.array_equal(results[0], results[1])
        assert np.array_equal(results[0], results[2])

    def test_any_number_of_threads(self, points):
        results = []
        for n_threads in (1, 2, None):
            net = build("float32", sizes=(2, 64, 64, 3))
            trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), n_threads=n_threads)
            trainer.fit(*points, epochs=2, batch_size=64)
            results.append(net.get_flat())
        assert np.array_equal(results[0], results[1])
        assert np.array_equal(results[0], results[2])

    def test_full_batch(self, points):
        x, y = points
        net = build()
        reference, updates = reference_of(net), Updates("sgd", 0.5)
        trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.5))
        trainer.fit(x, y, epochs=20, batch_size=None)
        assert trainer.step_count == 20
        reference_fit(reference, updates, x, y, 20, 90, 0, shuffle=False)
        np.testing.assert_allclose(net.get_flat(), reference.flat(), rtol=1e-6, atol=1e-9)

    def test_zero_weights_leave_samples_out(self, points):
        x, y = points
        weight = (np.arange(90) % 3 != 0).astype(float)
        keep = weight > 0
        results = []
        for args, w in (((x, y), weight), ((x[keep], y[keep]), None)):
            trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy())
            trainer.fit(*args, epochs=5, batch_size=None, sample_weight=w)
            results.append(trainer.net.get_flat())
        np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("python", [False, True])
    def test_a_minibatch_without_weight_changes_nothing(self, python, points):
        x, y = points
        weight = np.repeat([1.0, 0.0, 1.0], 30)
        results = []
        for rows in (slice(0, 30), slice(None)):
            loss = PythonLoss() if python else cmlp.SoftmaxCrossEntropy()
            pick = np.r_[0:30, 60:90] if rows == slice(0, 30) else np.arange(90)
            trainer = cmlp.Trainer(build(), loss, cmlp.SGD(0.1 * weight[pick].mean()))
            history = trainer.fit(
                x[pick], y[pick], epochs=2, batch_size=30, shuffle=False, sample_weight=weight[pick]
            )
            results.append((trainer.net.get_flat(), history["loss"]))
        np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
        np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12)

    def test_inputs_are_not_copied_or_changed(self, points):
        x = np.ascontiguousarray(points[0], dtype="float32")
        trainer = cmlp.Trainer(build("float32"), cmlp.SoftmaxCrossEntropy())
        x.flags.writeable = False

        class Look(cmlp.Callback):
            def on_train_begin(self, trainer):
                self.shared = np.shares_memory(trainer.first_samples(90)[0], x)

        look = Look()
        trainer.fit(x, points[1], epochs=1, callbacks=[look])
        assert look.shared

    def test_dropout_trains(self, points):
        layers = [cmlp.Dense(2, 32, activation="relu"), cmlp.Dropout(0.3), cmlp.RReLU()]
        net = cmlp.Sequential(*layers, cmlp.Dense(32, 3), seed=0)
        trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.Adam(0.01))
        trainer.fit(*points, epochs=50, batch_size=16)
        assert trainer.evaluate(*points)["accuracy"] > 0.97

    def test_no_python_within_epochs(self, points):
        def calls(batch_size):
            trainer = cmlp.Trainer(build("float32"), cmlp.SoftmaxCrossEntropy())
            trainer.fit(*points, epochs=1, batch_size=batch_size)
            found = []
            sys.setprofile(lambda frame, event, arg: found.append(event))
            try:
                trainer.fit(*points, epochs=1, batch_size=batch_size)
            finally:
                sys.setprofile(None)
            return len(found)

        assert calls(90) == calls(1)

    def test_training_one_net_twice_at_once_is_refused(self, points):
        net = build("float32", sizes=(2, 200, 200, 3))
        trainers = [cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy()) for _ in range(2)]
        refused = []

        class Stop(cmlp.Callback):
            every_seconds = 0.01

            def on_steps(self, trainer):
                return bool(refused)

        def work(trainer):
            try:
                trainer.fit(*points, epochs=10**5, batch_size=90, callbacks=[Stop()])
            except RuntimeError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=work, args=[trainer]) for trainer in trainers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 1
        assert "being trained by another call" in refused[0]


class TestSchedules:
    def test_inside_the_loop(self, points):
        x, y = points
        net = build()
        reference, updates = reference_of(net), Updates("sgd", 0.1)
        step = updates.step
        updates.step = lambda *a, **k: step(
            *a, **{**k, "lr": 0.5 / (1 + updates.t), "momentum": 0.5 if updates.t < 7 else 0.9}
        )
        trainer = cmlp.Trainer(
            net,
            cmlp.SoftmaxCrossEntropy(),
            cmlp.SGD(0.1, momentum=cmlp.MomentumStep(0.5, 0.9, after=7)),
            schedule=lambda t: 0.5 / (1 + t),
            seed=4,
        )
        history = trainer.fit(x, y, epochs=4, batch_size=30)
        reference_fit(reference, updates, x, y, 4, 30, 4)
        np.testing.assert_allclose(net.get_flat(), reference.flat(), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(history["lr"], 0.5 / np.array([3, 6, 9, 12]))

    def test_goes_on_from_call_to_call(self, points):
        trainer = cmlp.Trainer(
            build(), cmlp.SoftmaxCrossEntropy(), schedule=cmlp.InverseTime(1, 10)
        )
        trainer.fit(*points, epochs=2, batch_size=30)
        trainer.train_step(*points)
        assert trainer.fit(*points, epochs=1, batch_size=30)["lr"] == [1 / (10 + 9)]

    def test_halving(self, points):
        trainer = cmlp.Trainer(
            build(), cmlp.SoftmaxCrossEntropy(), cmlp.SGD(1e-6), schedule=cmlp.Halving(0.01)
        )
        rates = trainer.fit(*points, epochs=4)["lr"]
        np.testing.assert_allclose(rates, [1e-6, 1e-6, 5e-7, 2.5e-7])

    def test_plateau_needs_validation(self, points):
        trainer = cmlp.Trainer(
            build(), cmlp.SoftmaxCrossEntropy(), cmlp.SGD(1e-6), schedule=cmlp.Plateau(patience=0)
        )
        with pytest.raises(ValueError, match="validation is None; expected data, Plateau"):
            trainer.fit(*points)
        rates = trainer.fit(*points, epochs=3, validation=points)["lr"]
        np.testing.assert_allclose(rates, [1e-6, 1e-6, 5e-7])

    @pytest.mark.parametrize("bad", [float("nan"), -1.0])
    def test_bad_rates(self, bad, points):
        trainer = cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy(), schedule=lambda t: bad)
        before = trainer.net.get_flat()
        with pytest.raises(ValueError, match="expected 1 numbers >= 0"):
            trainer.fit(*points, epochs=1)
        assert np.array_equal(trainer.net.get_flat(), before)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"x": np.ones((6, 3))}, ValueError, r"x has shape \(6, 3\); expected \(batch, 2\)"),
            ({"x": np.ones(6)}, ValueError, r"x has shape \(6,\)"),
            ({"x": np.ones((0, 2)), "y": []}, ValueError, "x is empty"),
            ({"x": np.array([["a", "b"]] * 6)}, TypeError, "x has dtype"),
            ({"x": np.where(np.eye(6, 2), np.nan, 1.0)}, ValueError, r"x holds nan at \[0, 0\]"),
            ({"x": np.full((6, 2), 1e300)}, ValueError, r"x holds inf at \[0, 0\] \(as float32\)"),
            ({"y": np.zeros(5, int)}, ValueError, "y has 5 rows; expected 6"),
            ({"y": np.full(6, 3)}, ValueError, r"y has labels 3\.\.3; expected 0\.\.2"),
            ({"y": np.full(6, np.inf)}, ValueError, "y holds inf"),
            ({"y": np.ones((6, 2))}, ValueError, r"y has shape \(6, 2\); expected \(batch, 3\)"),
            ({"epochs": 0}, ValueError, "epochs is 0"),
            ({"epochs": 1.5}, TypeError, r"epochs is 1\.5"),
            ({"batch_size": 0}, ValueError, "batch_size is 0"),
            ({"batch_size": "all"}, TypeError, "batch_size is 'all'"),
            ({"shuffle": 1}, TypeError, "shuffle is 1"),
            ({"progress": "yes"}, TypeError, "progress is 'yes'"),
            ({"validation": X}, TypeError, "validation is ndarray"),
            ({"validation": (X, Y[:2])}, ValueError, "validation y has 2 rows; expected 6"),
            ({"validation": (X[:, :1], Y)}, ValueError, r"validation x has shape \(6, 1\)"),
            ({"sample_weight": np.ones(5)}, ValueError, r"sample_weight has shape \(5,\)"),
            ({"sample_weight": -np.ones(6)}, ValueError, "sample_weight has values"),
            ({"sample_weight": np.zeros(6)}, ValueError, "not all 0"),
            ({"sample_weight": np.full(6, np.nan)}, ValueError, "sample_weight holds nan"),
            ({"callbacks": [3]}, TypeError, "callbacks holds 3"),
        ],
    )
    def test_fit_changes_nothing(self, arguments, error, words):
        trainer = cmlp.Trainer(build("float32"), cmlp.SoftmaxCrossEntropy())
        before = trainer.net.get_flat()
        with pytest.raises(error, match=words):
            trainer.fit(**{"x": X, "y": Y, **arguments})
        assert np.array_equal(trainer.net.get_flat(), before)
        assert (trainer.epoch, trainer.step_count) == (0, 0)

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"net": 3}, TypeError, "net is 3; expected a Sequential"),
            ({"loss": cmlp.SquaredError}, TypeError, "loss is <class"),
            (
                {"loss": 3},
                TypeError,
                "loss is 3; expected an object with forward, backward",
            ),
            ({"optimizer": 3}, TypeError, "optimizer is 3; expected an object with step"),
            ({"schedule": 0.1}, TypeError, "schedule is 0.1"),
            ({"n_threads": 0}, ValueError, "n_threads is 0"),
            ({"seed": -1}, ValueError, "seed is -1"),
        ],
    )
    def test_trainer(self, arguments, error, words):
        with pytest.raises(error, match=words):
            cmlp.Trainer(**{"net": build(), "loss": cmlp.SquaredError(), **arguments})

    @pytest.mark.parametrize("fast", [False, True])
    def test_train_step(self, fast):
        trainer = cmlp.Trainer(build("float32"), cmlp.SoftmaxCrossEntropy())
        x, y = X.astype("f"), Y.astype(np.int64)
        if fast:
            trainer.train_step(x, y)
        before = trainer.net.get_flat()
        for wrong, error, words in (
            ((x[:, :1], y), ValueError, r"x has shape \(6, 1\)"),
            ((x, y + 3), ValueError, "y has labels"),
            ((x, y[:4]), ValueError, "y has 4 rows"),
            ((np.full_like(x, np.nan), y), ValueError, r"x holds nan at \[0, 0\]"),
            ((np.where(np.eye(6, 2), -np.inf, x).astype("f"), y), ValueError, "x holds -inf at"),
            ((x, np.ones((6, 3), "f")), ValueError, "y has a row .0. that sums to 3"),
            ((x, np.full((6, 3), np.nan, "f")), ValueError, "y holds nan"),
            ((x, y, np.ones(3, "f")), ValueError, "sample_weight has shape"),
            ((x, y, -np.ones(6, "f")), ValueError, "sample_weight has values"),
            ((x, y, np.zeros(6, "f")), ValueError, "not all 0"),
            ((x, y, np.full(6, np.inf, "f")), ValueError, "sample_weight holds inf"),
        ):
            with pytest.raises(error, match=words):
                trainer.train_step(*wrong)
        assert np.array_equal(trainer.net.get_flat(), before)
        assert trainer.step_count == int(fast)


class TestTrainStep:
    """The second call of ``train_step`` may go straight to the core; it must do the same."""

    @pytest.mark.parametrize(
        ("loss", "y"),
        [
            (cmlp.SoftmaxCrossEntropy(class_weight={1: 9.0}), np.arange(6) % 3),
            (cmlp.SoftmaxCrossEntropy(), np.eye(3, dtype="f")[np.arange(6) % 3]),
            (cmlp.BinaryCrossEntropy(), np.eye(3, dtype="f")[np.arange(6) % 3]),
            (cmlp.SquaredError(), np.eye(3, dtype="f")[np.arange(6) % 3]),
        ],
        ids=repr,
    )
    def test_same_as_the_first(self, loss, y, rng):
        x = rng.normal(size=(6, 2)).astype("f")
        a, b = (cmlp.Trainer(build("float32"), loss, cmlp.SGD(0.1)) for _ in range(2))
        for _ in range(3):
            b.forget_plans()
            assert a.train_step(x, y) == b.train_step(x, y)
        assert np.array_equal(a.net.get_flat(), b.net.get_flat())

    def test_classes_of_the_user(self, rng):
        x = rng.normal(size=(6, 2)).astype("f")
        trainer = cmlp.Trainer(build("float32"), cmlp.SoftmaxCrossEntropy())
        trainer.train_step(x, np.arange(6) % 3)
        trainer.net.classes = np.array([1, 2, 3])
        with pytest.raises(ValueError, match="y holds the label 0; expected one of 1, 2, 3"):
            trainer.train_step(x, np.arange(6) % 3)

    @pytest.mark.parametrize(
        ("loss", "y"),
        [
            (cmlp.SoftmaxCrossEntropy(), np.full((6, 3), 2.0, "f")),
            (cmlp.BinaryCrossEntropy(), np.full((6, 3), 2.0, "f")),
            (cmlp.Poisson(), np.full((6, 3), -2.0, "f")),
        ],
        ids=repr,
    )
    def test_targets_are_checked_again(self, loss, y, rng):
        x = rng.normal(size=(6, 2)).astype("f")
        trainer = cmlp.Trainer(build("float32"), loss)
        trainer.train_step(x, np.eye(3, dtype="f")[np.arange(6) % 3])
        with pytest.raises(ValueError, match="y h"):
            trainer.train_step(x, y)

    def test_other_sizes_and_rates(self, rng):
        x, y = rng.normal(size=(40, 2)).astype("f"), rng.integers(3, size=40)
        a, b = (cmlp.Trainer(build("float32"), cmlp.SoftmaxCrossEntropy()) for _ in range(2))
        for n in (16, 16, 7, 40, 16, 1):
            a.optimizer.lr = b.optimizer.lr = 1 / n
            b.forget_plans()
            assert a.train_step(x[:n], y[:n]) == b.train_step(x[:n], y[:n])
        assert a.step_count == 6


def test_pickle_and_repr(points):
    trainer = cmlp.Trainer(
        build(), cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1, momentum=0.9), schedule=cmlp.Cosine(99)
    )
    trainer.fit(*points, epochs=2, batch_size=16)
    again = pickle.loads(pickle.dumps(trainer))
    for one in (trainer, again):
        one.fit(*points, epochs=2, batch_size=16)
    assert np.array_equal(trainer.net.get_flat(), again.net.get_flat())
    assert again.epoch == 4
    text = repr(trainer)
    assert text.startswith("Trainer(Sequential(")
    assert "SGD(lr=0.1, momentum=0.9), schedule=Cosine(n_steps=99" in text
