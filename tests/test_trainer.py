import copy
import itertools
import pickle
import signal
import sys
import threading

import numpy as np
import pytest
from oracle import Mlp, Updates, loss_value, numerical_gradient, relative_error, sigmoid

import cmlp
from cmlp import _core


def build(dtype="float64", sizes=(2, 5, 3), seed=0):
    layers = [cmlp.Dense(a, b, activation="tanh") for a, b in itertools.pairwise(sizes[:-1])]
    return cmlp.Sequential(*layers, cmlp.Dense(*sizes[-2:]), dtype=dtype, seed=seed)


def ctrl_c_after(seconds):
    """A timer that sends SIGINT to the main thread, as a terminal does."""
    main = threading.main_thread().ident
    return threading.Timer(seconds, signal.pthread_kill, [main, signal.SIGINT])


def reference_of(net):
    dense = [layer for layer in net.layers if isinstance(layer, cmlp.Dense)]
    return Mlp([la.weight for la in dense], [la.bias for la in dense])


def reference_fit(reference, updates, x, labels, epochs, batch, seed, shuffle=True, weight=None):
    """Step by step in NumPy, the samples in the order that the core documents."""
    losses = []
    for epoch in range(epochs):
        order = _core.permutation(len(x), seed, epoch) if shuffle else np.arange(len(x))
        total = mass = 0.0
        for start in range(0, len(x), batch):
            rows = order[start : start + batch]
            w = None if weight is None else weight[rows]
            loss, dw, db = reference.gradients(x[rows], labels[rows], w)
            size = len(rows) if w is None else w.sum()
            updates.step(reference, dw, db, mass=size)
            total, mass = total + loss * size, mass + size
        losses.append(total / mass)
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


ROWS = {
    "squared_error": cmlp.SquaredError(),
    "absolute_error": cmlp.AbsoluteError(),
    "huber": cmlp.Huber(0.6),
    "poisson": cmlp.Poisson(),
    "softmax_cross_entropy": cmlp.SoftmaxCrossEntropy(label_smoothing=0.1),
    "binary_cross_entropy": cmlp.BinaryCrossEntropy(),
}
ENDS = [name for name in _core.activations() if name != "step"]
PAIRS = [(e, n) for e in ENDS for n in ROWS if _core.pair_mode(e, n) != "refused"]


class Watch:
    """An optimizer that keeps the gradient and changes nothing."""

    def step(self, net):
        self.gradient = net.get_flat_grad()


@pytest.mark.parametrize(("end", "name"), PAIRS)
def test_numerical_gradient_of_every_pair(end, name, rng):
    net = cmlp.Sequential(
        cmlp.Dense(3, 4, activation="silu"),
        cmlp.Dense(4, 3, activation=end),
        dtype="float64",
        seed=2,
    )
    x, w = rng.normal(size=(6, 3)), rng.random(6) + 0.2
    t = rng.dirichlet(np.ones(3), size=6)
    watch, loss = Watch(), ROWS[name]
    trainer = cmlp.Trainer(net, loss, watch)
    value = trainer.train_step(x, t, w)

    def by_formula(flat):
        net.set_flat(flat)
        y = net.predict(x)
        if (end, name) == ("softmax", "softmax_cross_entropy"):
            y = np.log(y)
        if (end, name) == ("sigmoid", "binary_cross_entropy"):
            y = np.log(y / (1 - y))
        return loss_value(name, y, t, w, loss.param)

    flat = net.get_flat()
    assert value == pytest.approx(by_formula(flat), rel=1e-9)
    expected = numerical_gradient(by_formula, flat)
    assert relative_error(watch.gradient, expected) < 1e-6
    # the compiled loop takes the same step
    net.set_flat(flat)
    cmlp.Trainer(net, loss, cmlp.SGD(0.5)).train_step(x, t, w)
    np.testing.assert_allclose(net.get_flat(), flat - 0.5 * watch.gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("end", ["relu", "tanh", "softmax"])
def test_refused_pairs(end):
    net = cmlp.Sequential(cmlp.Dense(2, 3, activation=end))
    with pytest.raises(ValueError, match=f"ends with {end}; BinaryCrossEntropy"):
        cmlp.Trainer(net, cmlp.BinaryCrossEntropy())


def test_a_step_activation_cannot_be_trained():
    for layers in ([cmlp.Dense(2, 2, activation="step")], [cmlp.Dense(2, 2), cmlp.Step()]):
        net = cmlp.Sequential(*layers, cmlp.Dense(2, 1))
        net.predict([[1.0, 2.0]])
        with pytest.raises(ValueError, match="has no slope"):
            cmlp.Trainer(net, cmlp.SquaredError())


# ---- parts written in Python ----


class PythonTanh:
    def forward(self, x, training=False):
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy):
        return dy * (1 - self.y**2)


class PythonLoss:
    def forward(self, y, t, sample_weight=None):
        w = np.ones(len(y)) if sample_weight is None else sample_weight
        shifted = y - y.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self.dy = (np.exp(log_p) - np.eye(y.shape[1])[t]) * (w / w.sum())[:, None]
        return -(w * log_p[np.arange(len(t)), t]).sum() / w.sum()

    def backward(self):
        return self.dy

    def metrics(self, y, t):
        return {"hits": (y.argmax(axis=1) == t).sum()}


class PythonSgd:
    def __init__(self, lr):
        self.lr = lr

    def step(self, net):
        net.set_flat(net.get_flat() - self.lr * net.get_flat_grad())


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
            trainer = cmlp.Trainer(build(), loss)
            pick = np.r_[0:30, 60:90] if rows == slice(0, 30) else np.arange(90)
            history = trainer.fit(
                x[pick], y[pick], epochs=2, batch_size=30, shuffle=False, sample_weight=weight[pick]
            )
            results.append((trainer.net.get_flat(), history["loss"]))
        np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
        np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12)

    def test_inputs_are_not_copied_or_changed(self, points):
        x = np.ascontiguousarray(points[0], dtype="float32")
        trainer = cmlp.Trainer(build("float32"), cmlp.SoftmaxCrossEntropy())
        data = trainer._training_data(x, points[1], None)
        assert data.x is x
        x.flags.writeable = False
        trainer.fit(x, points[1], epochs=1)

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
        expected = loss_value("softmax_cross_entropy", y, points[1], w)
        assert trainer.evaluate(*points, w)["loss"] == pytest.approx(expected, rel=1e-12)


X, Y = np.ones((6, 2)), np.zeros(6, int)


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
                {"loss": "mse"},
                TypeError,
                "loss is 'mse'; expected an object with forward, backward",
            ),
            ({"optimizer": "adam"}, TypeError, "optimizer is 'adam'; expected an object with step"),
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
            b._fast = None
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
            b._fast = None
            assert a.train_step(x[:n], y[:n]) == b.train_step(x[:n], y[:n])
        assert a.step_count == 6


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


class TestBestOf:
    def build(self, seed):
        return cmlp.Trainer(build(seed=seed), cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.05))

    def test_keeps_the_best(self, points):
        found = cmlp.best_of(self.build, points, n_runs=4, validation=points, epochs=3)
        alone = []
        for seed in range(4):
            trainer = self.build(seed)
            trainer.fit(*points, epochs=3)
            alone.append(trainer.evaluate(*points)["loss"])
        assert found.losses == alone
        assert found.seeds == [0, 1, 2, 3]
        assert found.best is found.trainers[int(np.argmin(alone))]
        assert found.net is found.best.net
        assert len(found.history) == 3

    def test_callbacks_are_made_for_each_run(self, points):
        found = cmlp.best_of(
            self.build, points, seeds=[7, 9], validation=points, epochs=4,
            callbacks=lambda: [cmlp.EarlyStopping(1, min_delta=9.0)],
        )  # fmt: skip
        assert [len(trainer.history) for trainer in found.trainers] == [2, 2]

    def test_diverged_runs_count_as_infinite(self, rng):
        x = rng.normal(size=(64, 4))

        def make(seed):
            net = cmlp.Sequential(cmlp.Dense(4, 1), dtype="float64", seed=seed)
            return cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(1e3 if seed else 1e-3))

        found = cmlp.best_of(make, (x, x[:, :1]), n_runs=2, epochs=200)
        assert found.losses[1] == float("inf")
        assert found.best is found.trainers[0]
        with pytest.raises(cmlp.DivergenceError, match="all 1 runs"):
            cmlp.best_of(make, (x, x[:, :1]), seeds=[1], epochs=200)

    def test_ctrl_c_ends_all_runs(self, points):
        timer = ctrl_c_after(0.2)
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                cmlp.best_of(self.build, points, n_runs=4, epochs=10**8)
        finally:
            timer.cancel()

    def test_trainers_get_their_threads_back(self, points):
        found = cmlp.best_of(self.build, points, n_runs=2, epochs=1)
        assert [trainer.n_threads for trainer in found.trainers] == [None, None]

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"callbacks": [cmlp.EarlyStopping()]}, TypeError, "expected a function that makes"),
            ({"build": 3}, TypeError, "build is 3"),
            ({"build": lambda seed: seed}, TypeError, "build gave 0"),
            ({"data": X}, TypeError, "data is ndarray"),
            ({"n_runs": 0}, ValueError, "n_runs is 0"),
            ({"seeds": []}, ValueError, "seeds is empty"),
            ({"seeds": ["a"]}, TypeError, "seeds is 'a'"),
        ],
    )
    def test_errors(self, arguments, error, words):
        with pytest.raises(error, match=words):
            cmlp.best_of(**{"build": self.build, "data": (X, Y), **arguments})


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
