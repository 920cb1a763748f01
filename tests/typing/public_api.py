"""Every public name in use, for `mypy --strict`; a test runs it and sees that none is missing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import cmlp
from cmlp import (
    callbacks,
    data,
    datasets,
    graph,
    initializers,
    kernels,
    layers,
    losses,
    models,
    optimizers,
    preprocessing,
    schedules,
)
from cmlp.errors import DivergenceError, FormatError
from cmlp.network import Sequential
from cmlp.training import History, Restarts, Trainer

Array = NDArray[Any]

X = np.random.default_rng(0).normal(size=(40, 3))
LABELS = (X[:, 0] > 0).astype(np.int64)


def several_processes() -> None:
    with suppress(TypeError):  # no communicator
        ranks = cmlp.training.Ranks(object(), row_groups=4, exchange="ordered", local_steps=1)
        assert_type(ranks.bytes_sent, int)
    assert issubclass(cmlp.training.RankError, RuntimeError)
    net = cmlp.Sequential(cmlp.Dense(3, 2), seed=0)
    net.set_flat_grad(net.get_flat_grad())


def sources() -> None:
    rows = data.Source.from_arrays(X, LABELS, shuffle="blocks", window=32, block_rows=8)
    chunks = data.Source.from_chunks(lambda: [(X, LABELS)], n_rows=40, n_readers=2)
    for source in (rows, chunks):
        assert_type(source, data.Source)
        assert_type(source.shape, tuple[int, int])
        assert_type(source.memory_bytes(batch_size=8), int)
        net = cmlp.Sequential(cmlp.Dense(3, 2), seed=0)
        assert_type(cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy()).fit(source), History)


def package() -> None:
    assert_type(cmlp.__version__, str)
    assert_type(cmlp.info(), dict[str, Any])
    assert_type(cmlp.get_include(), str)
    assert_type(cmlp.get_library_dir(), str)
    problems: list[type[Exception]] = [cmlp.DivergenceError, cmlp.FormatError]
    assert problems == [DivergenceError, FormatError]


class Twice(cmlp.Layer):
    """A layer in Python."""

    def forward(self, x: Any, training: bool = False) -> Array:
        return 2 * np.asarray(x)

    def backward(self, dy: Any) -> Array:
        return 2 * np.asarray(dy)


def layers_of_images() -> None:
    conv = cmlp.Conv2D(1, 2, (2, 1), stride=1, padding="same", bias=True, connections=[[1], [1]])
    net = cmlp.Sequential(
        conv,
        cmlp.MaxPool2D(2, stride=(1, 2), padding=1, ceil_mode=True),
        cmlp.AvgPool2D((1, 2)),
        cmlp.SubSample2D(1, stride=1, padding=0, activation="tanh"),
        cmlp.Flatten(),
        cmlp.Reshape(6),
        n_in=(1, 2, 2),
    )
    assert_type((conv.channels_in, conv.channels_out), tuple[int, int])
    assert_type((conv.kernel, conv.stride), tuple[tuple[int, int], tuple[int, int]])
    assert_type(conv.padding, tuple[int, int] | str)
    assert_type(
        (net.in_shape, net.out_shape), tuple[tuple[int, ...] | None, tuple[int, ...] | None]
    )
    assert_type(conv.weight, Array)
    assert_type(net.predict(np.ones((5, 1, 2, 2))), Array)
    again = cmlp.Sequential(cmlp.Reshape((1, 2, 2)), cmlp.Flatten(), n_in=None)
    assert_type(again.n_in, int | None)


def every_layer() -> None:
    rows: list[cmlp.Layer] = [
        cmlp.Dense(3, 4, weight_init=cmlp.He("uniform"), bias_init=initializers.Zeros()),
        cmlp.Identity(),
        cmlp.Sigmoid(),
        cmlp.Tanh(),
        cmlp.ReLU(),
        cmlp.LeakyReLU(0.1),
        cmlp.PReLU(init=0.2),
        cmlp.RReLU(0.1, 0.2),
        cmlp.ELU(alpha=0.5),
        cmlp.GELU(),
        cmlp.SiLU(),
        cmlp.Softplus(),
        cmlp.Softsign(),
        cmlp.ScaledTanh(),
        cmlp.Dropout(0.1),
        cmlp.Dense(4, 4, activation=layers.Tanh(), bias=False),
        cmlp.Step(),
        cmlp.Softmax(),
    ]
    assert all(isinstance(row, (cmlp.Dense, layers.Activation, cmlp.Layer)) for row in rows)
    assert_type(layers.activation_names(), list[str])
    net = cmlp.Sequential(*rows, seed=0)
    assert_type(net.predict(X), Array)

    assert_type(cmlp.register_layer(Twice), type[Twice])
    python: layers.PythonLayer = Twice()
    assert_type(python.forward(X, training=True), Array)
    assert_type(python.backward(X), Array)

    dense = cmlp.Dense(3, 2).build(rng=0)
    assert_type(dense, cmlp.Dense)
    assert_type(dense.weight, Array)
    assert_type(dense.bias, Array | None)
    dense.weight = [[1, 2, 3], [4, 5, 6]]
    dense.bias = np.zeros(2)
    dense.forward(X, training=True)
    assert_type(dense.backward(np.ones((40, 2))), Array)
    assert_type(dense.grad_weight, Array)
    assert_type(dense.grad_bias, Array | None)
    assert_type(dense.parameters(), dict[str, Array])
    assert_type(dense.gradients(), dict[str, Array])
    assert_type(dense.shapes(3), dict[str, tuple[int, ...]])
    assert_type(dense.config(), dict[str, Any])
    assert_type(cmlp.Dense.from_config(dense.config()), cmlp.Dense)
    assert_type((dense.n_in, dense.n_out, dense.n_parameters), tuple[int, int, int])
    assert_type(dense.dtype, str | None)

    shares: list[cmlp.Initializer] = [
        cmlp.Constant(0.1),
        cmlp.He(),
        cmlp.Normal(std=0.1),
        cmlp.Xavier("uniform"),
        cmlp.Zeros(),
    ]
    assert len(shares) == 5


def net_and_files() -> None:
    net = Sequential(cmlp.Dense(3, 4, activation="relu"), cmlp.Dense(4, 2), dtype="float64", seed=0)
    out = np.empty((40, 2))
    assert_type(net.predict(X, out=out), Array)
    assert_type(net.predict_proba(X), Array)
    assert_type(net.forward(X, training=True), Array)
    assert_type(net.backward(out, need_dx=True), Array)
    assert_type(net.n_parameters, int)
    assert_type(net.get_flat(), Array)
    assert_type(net.get_flat_grad(), Array)
    net.set_flat(np.zeros(net.n_parameters))
    assert_type(net.copy(), cmlp.Sequential)
    assert_type(net.lerp_(net.copy(), 0.5), cmlp.Sequential)
    assert_type(net.summary(), str)
    net.classes = ["no", "yes"]
    assert_type(net.classes, Array | None)
    assert_type((net.link, net.n_threads), tuple[str | None, int | None])
    net.link, net.n_threads = "softmax", 1
    net.metadata = {"from": "here"}
    assert_type(net.metadata, dict[str, Any])
    assert_type((net.dtype, net.seed), tuple[str, int])
    assert_type((net.n_in, net.n_out), tuple[int | None, int | None])
    assert_type(net.layers, tuple[Any, ...])
    net.layers[0].trainable = False
    assert_type((net.trainable, net.n_trainable), tuple[bool, int])
    net.trainable = True
    assert_type(net.last_batch, int | None)
    assert_type(net.output_activation, str)
    assert_type(net.probability_link(), str | None)
    assert len(net.split()) > 0
    net.save("net.safetensors")
    net.save(Path("net.safetensors"))
    assert_type(cmlp.load("net.safetensors"), cmlp.Sequential)
    net.to_c("net.c", task="classifier", name="predict")


def exports() -> None:
    net = cmlp.Sequential(cmlp.Dense(3, 2), seed=0)
    net.to_onnx("net.onnx", task="classifier")


def peers() -> None:
    cmlp.from_sklearn(cmlp.to_sklearn(cmlp.Sequential(cmlp.Dense(3, 1), seed=0)))


def torch() -> None:
    cmlp.from_torch(cmlp.to_torch(cmlp.Sequential(cmlp.Dense(3, 1), seed=0)))


def every_loss() -> None:
    rows: list[cmlp.Loss] = [
        cmlp.SquaredError(),
        cmlp.AbsoluteError(),
        cmlp.Huber(delta=0.5),
        cmlp.Poisson(),
        cmlp.BinaryCrossEntropy(class_weight="balanced"),
        cmlp.SoftmaxCrossEntropy(class_weight={0: 1.0, 1: 2.0}, label_smoothing=0.1),
    ]
    y, t = np.ones((4, 2)), np.zeros((4, 2))
    for loss in rows[:4]:
        assert_type(loss.forward(y, t), float)
        assert_type(loss.backward(), Array)
    python: losses.PythonLoss = cmlp.SquaredError()
    assert python.forward(y, t, None) > 0


def every_optimizer() -> None:
    rows: list[cmlp.Optimizer] = [
        cmlp.SGD(lr=0.1, momentum=cmlp.MomentumStep(), nesterov=True),
        cmlp.Adam(),
        cmlp.AdamW(weight_decay=0.1),
        cmlp.RMSprop(rho=0.8),
        cmlp.Adagrad(clip_norm=1.0),
        cmlp.Adadelta(rho=0.9),
    ]
    net = cmlp.Sequential(cmlp.Dense(3, 1), seed=0)
    for optimizer in rows:
        net.forward(X)
        net.backward(np.ones((40, 1)))
        optimizer.step(net)


def lbfgs() -> None:
    rule: optimizers.LBFGS = cmlp.LBFGS(memory=5)
    trainer = cmlp.Trainer(cmlp.Sequential(cmlp.Dense(3, 1), seed=0), cmlp.SquaredError(), rule)
    trainer.fit(X, X[:, :1], epochs=3)


def every_schedule() -> None:
    rows: list[cmlp.Schedule] = [
        cmlp.InverseTime(1.0, 10.0),
        cmlp.InverseSqrt(),
        cmlp.Exponential(0.9, n_steps=5),
        cmlp.StepDecay(0.5, n_steps=10),
        cmlp.Cosine(100, lr_min=0.01),
        cmlp.Warmup(5, then=cmlp.Cosine(100)),
        cmlp.Halving(),
        cmlp.Plateau(patience=2),
    ]
    for schedule in rows:
        assert schedule.values(0, 10, 0.1).shape == (10,)
    by_epoch: schedules.EpochSchedule = cmlp.Plateau()
    by_epoch.observe(1.0)


class Counter(callbacks.Callback):
    """A callback of one's own."""

    count = 0

    def on_epoch_end(self, trainer: cmlp.Trainer, row: dict[str, float]) -> bool | None:
        assert_type(trainer.first_samples(5), tuple[Array, Array])
        self.count += 1
        return None


def training() -> None:
    net = cmlp.Sequential(cmlp.Dense(3, 2), seed=0)
    augment = cmlp.Augment((1, 3), rotate=5.0, elastic=(3.0, 1.0), fill=0.0)
    assert_type(augment.predict_proba(net, X, n_crops=4), Array)
    trainer = Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.Adam(), schedule=cmlp.Halving(), seed=1)
    trainer.augment = None
    calls: list[cmlp.Callback] = [
        Counter(),
        cmlp.Converged(tol=1e-9),
        cmlp.EarlyStopping(patience=2),
        cmlp.GradientMonitor(),
        cmlp.ModelCheckpoint("training.ckpt", every=2),
        cmlp.ProgressBar(),
    ]
    history = trainer.fit(
        X, LABELS, epochs=3, batch_size=8, validation=(X, LABELS), callbacks=calls, progress=False
    )
    assert_type(history, cmlp.History)
    assert_type(history.last(), dict[str, float])
    assert_type(history.columns, list[str])
    assert_type(history.to_dict(), dict[str, list[float]])
    assert_type(History.from_dict(history.to_dict()), cmlp.History)
    assert_type(history.head(1), cmlp.History)
    history.add({"epoch": 4.0})
    history.extend({"epoch": [5.0, 6.0]})
    history.mark_interrupted()
    assert_type(history.interrupted, bool)
    assert_type(trainer.train_step(X, LABELS, sample_weight=np.ones(40)), float)
    assert_type(trainer.evaluate(X, LABELS), dict[str, float])
    assert_type((trainer.epoch, trainer.step_count), tuple[int, int])
    assert_type(trainer.gradient_norms(X, LABELS), tuple[list[float], list[float]])
    assert len(list(trainer.weighted_layers())) == 1
    with trainer.on_threads(1):
        trainer.train_step(X, LABELS)
    trainer.save_checkpoint("training.ckpt")
    assert_type(cmlp.Trainer.load_checkpoint("training.ckpt"), cmlp.Trainer)

    with cmlp.Session(trainer, X, LABELS, batch_size=4, validation=(X, LABELS)) as session:
        assert_type(session, cmlp.Session)
        session.advance(3)
        session.start(steps=9, until=lambda snapshot: snapshot.loss < 0.1)
        assert_type(session.wait(1.0), bool)
        snapshot = session.snapshot(X, LABELS)
        assert_type(snapshot, cmlp.Snapshot)
        assert_type(snapshot.evaluate(X, LABELS), dict[str, float])
        assert_type(snapshot.to_net(), cmlp.Sequential)
        session.set(learning_rate=0.1, decay=0.01)
        session.edit(0, "weight", (0, 0), 1.0)
        session.restore(snapshot)

    def build(seed: int) -> cmlp.Trainer:
        return cmlp.Trainer(cmlp.Sequential(cmlp.Dense(3, 1), seed=seed), cmlp.SquaredError())

    best = cmlp.best_of(build, (X, X[:, :1]), n_runs=2, epochs=1)
    assert_type(best, cmlp.Restarts)
    assert isinstance(best, Restarts)
    assert isinstance(best.best, cmlp.training.Trainer)
    assert_type(best.best, cmlp.Trainer)
    assert_type(best.losses, list[float])
    assert_type(best.seeds, list[int])
    assert_type(best.trainers, list[cmlp.Trainer])
    assert_type(best.history, cmlp.History)
    assert best.net is best.best.net

    runs = cmlp.fit_many(
        [build(0), build(1)],
        X,
        X[:, :1],
        epochs=[1, 2],
        rows=[[0, 1], [2, 2]],
        early_stopping=cmlp.EarlyStopping(),
        rung=1,
        on_rung=lambda seen: [int(np.argmax(seen.losses))],
    )
    assert_type(runs, cmlp.Runs)
    assert_type(runs.best, cmlp.Trainer)
    assert_type(runs.losses, list[float])
    assert_type(runs.seconds, list[float])
    assert_type(runs.histories, list[cmlp.History])


def many_nets() -> None:
    def build(seed: int = 0, lr: float = 0.1) -> cmlp.Trainer:
        net = cmlp.Sequential(cmlp.Dense(3, 2), seed=seed)
        return cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(lr))

    assert cmlp.many.sweep is cmlp.sweep
    found = cmlp.sweep(build, {"lr": [0.1, 0.2]}, X, LABELS, epochs=1)
    assert_type(found, cmlp.Sweep)
    assert_type(found.best, cmlp.Trainer | None)
    assert_type(found.best_settings, dict[str, Any])
    assert_type(found.to_dict(), dict[str, list[Any]])
    folds = cmlp.cross_validate(build, X, LABELS, folds=2, epochs=1)
    assert_type(folds, cmlp.CrossValidation)
    assert_type(folds.mean, dict[str, float])
    ensemble = cmlp.Ensemble.trained(build, X, LABELS, n=2, bootstrap=True, epochs=1)
    assert_type(ensemble, cmlp.Ensemble)
    assert_type(ensemble.predict(X), Array)
    said = cmlp.predict_many(ensemble.nets, X, probabilities=True)
    assert_type(said, cmlp.Predictions)
    assert_type(said.spread, Array)
    population = cmlp.Population(lambda seed: build(seed).net, 3)
    assert_type(population.values, Array)
    assert_type(population.fit(X, LABELS, "softmax_cross_entropy", epochs=1), NDArray[np.float64])
    assert_type(population.net(0), cmlp.Sequential)


def sets() -> None:
    digits = datasets.digits()
    assert_type(digits, datasets.Dataset)
    assert_type(digits.split(0.5, seed=1), datasets.Split)
    assert_type(digits.split().x_train, Array)
    assert_type(digits.split().x_test, Array)
    assert_type(digits.split().y_train, Array)
    assert_type(digits.split().y_test, Array)
    assert_type(digits.x, Array)
    assert_type(digits.y, Array)
    assert_type((digits.name, digits.n_in, digits.n_out, digits.n_test), tuple[str, int, int, int])
    assert_type(digits.feature_names, tuple[str, ...] | None)
    assert_type(digits.image_shape, tuple[int, int] | None)
    assert digits.classes is not None

    points = datasets.points_2d(datasets.POINTS_2D[0], 20, noise=0.1)
    assert_type(datasets.features_2d(points.x, datasets.FEATURES_2D[:3]), Array)
    assert_type(datasets.boolean(next(iter(datasets.BOOLEAN_FUNCTIONS))), datasets.Dataset)
    assert_type(datasets.load("digits"), datasets.Dataset)
    Path("table.csv").write_text("a,b,c\n1,2,no\n3,4,yes\n5,6,no\n")
    assert_type(datasets.load_table("table.csv", target="c"), datasets.Dataset)
    table = datasets.read_table("table.csv", header=True, delimiter=",", na_values=["none"])
    assert_type(table, datasets.Table)
    assert_type(table["a"], datasets.Column)
    assert_type((table.name, table.names, table.about), tuple[str, tuple[str, ...], dict[str, str]])
    assert_type((table["a"].kind, table["a"].n_missing), tuple[str, int])
    assert_type(table.select(["a", "b"])["a"].numbers(), NDArray[np.float64])
    assert_type(datasets.load_inputs("table.csv", features=["a", "b"]), Array)
    Path("a.idx").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    assert_type(datasets.read_idx("a.idx"), Array)
    with suppress(FileNotFoundError):
        assert_type(datasets.mnist("no folder", download=False), datasets.Dataset)

    scale = datasets.Standardizer.fit(X)
    assert_type(scale, datasets.Standardizer)
    assert_type(scale.transform(X), Array)
    assert_type(scale.inverse_transform(X), Array)
    assert_type((scale.mean, scale.scale), tuple[NDArray[np.float64], NDArray[np.float64]])
    assert_type(scale.to_dict(), dict[str, list[float]])
    assert_type(scale.scaled(X), NDArray[np.float64])
    assert_type(datasets.Standardizer.from_dict(scale.to_dict()), datasets.Standardizer)

    columns = cmlp.TablePreprocessor({"0": "number"}, numbers="standard", max_categories=9)
    assert_type(columns.fit(X), cmlp.TablePreprocessor)
    assert_type(columns.fit_transform(X), NDArray[np.float64])
    assert_type(columns.transform(X), NDArray[np.float64])
    assert_type(columns.get_feature_names_out(), Array)
    assert_type(columns.reports_, list[str])
    assert_type(columns.encoder_, preprocessing.TableEncoder)

    before = cmlp.Preprocessing.fit(X, X[:, 0])
    assert_type(before, cmlp.Preprocessing)
    assert_type(before.inputs, preprocessing.Standardizer | preprocessing.TableEncoder | None)
    assert_type(before.table, preprocessing.TableEncoder | None)
    assert_type(before.scaler("an export"), preprocessing.Standardizer | None)
    assert_type(before.targets, preprocessing.Standardizer | None)
    assert_type(before.feature_names, tuple[str, ...] | None)
    assert_type((before.scales, before.scales_as(before)), tuple[bool, bool])
    net = cmlp.Sequential(cmlp.Dense(3, 1), seed=0)
    net.preprocessing = before
    assert_type(net.preprocessing, cmlp.Preprocessing)


def small_models() -> None:
    classifiers = [
        models.Adaline(epochs=5),
        models.Perceptron(epochs=5),
    ]
    for model in classifiers:
        assert_type(model.fit(X, LABELS).predict(X), Array)
        assert_type(model.score(X, LABELS), float)
    for kind in (models.LogisticRegression, models.SoftmaxRegression, models.OneVsRest):
        assert_type(kind(epochs=5).fit(X, LABELS).predict_proba(X), Array)
    line = models.LinearRegression().fit(models.polynomial_features(X[:, :1], 2), X[:, 1])
    assert_type(line, models.LinearRegression)
    assert_type(line.weight, Array)
    assert_type(line.bias, Array)
    assert_type(models.boolean_net(next(iter(models.BOOLEAN_NETS))), cmlp.Sequential)
    assert_type(models.convnetjs(seed=0), cmlp.Sequential)
    assert_type(models.convnetjs_fc(seed=0), cmlp.Sequential)
    assert_type(models.lenet5(dtype="float64"), cmlp.Sequential)
    assert_type(models.IMAGE_NETS["lenet5"](seed=1), cmlp.Sequential)


def array_kernels() -> None:
    x, w, b, dy = X, np.ones((2, 3)), np.ones(2), np.ones((40, 2))
    y = kernels.dense_forward(x, w, b, activation="tanh", n_threads=1)
    assert_type(y, Array)
    assert_type(kernels.dense_backward_dx(dy, w), Array)
    assert_type(kernels.dense_backward_dw(dy, x), tuple[Array, Array])
    slots = [np.zeros_like(w), np.zeros_like(b)]
    kernels.dense_backward_update(dy, x, w, b, "sgd", slots, lr=0.1, momentum=0.9)
    assert_type(kernels.activation_forward(x, "elu", param=0.5), Array)
    assert_type(kernels.activation_backward(dy, y, "tanh"), Array)
    assert_type(kernels.softmax(x), Array)
    assert_type(kernels.log_softmax(x), Array)
    assert_type(kernels.loss_delta("squared_error", y, dy), tuple[Array, float])
    kernels.update("sgd", b, np.ones(2), [np.zeros(2)], lr=0.1)


def graphs() -> None:
    x = graph.Placeholder("x", (None, 3))
    w, c = graph.Variable(np.ones((3, 2)), name="w"), graph.Constant(2.0)
    z = graph.matmul(x, w) * c
    assert_type(z, graph.Node)
    assert_type(graph.run(z, {x: X}), Array)
    assert_type(graph.run([z, w], {x: X}), list[Array])
    loss = graph.mean(graph.softmax_cross_entropy(z, np.eye(2)[LABELS]))
    assert_type(graph.gradients(loss, w), graph.Node)
    assert_type(graph.gradients(loss, [w]), list[graph.Node])
    assert_type(graph.check_gradients(loss, {x: X}), float)
    assert_type(graph.minimize(loss, [{x: X}], graph.SGD(lr=0.1)), NDArray[np.float64])
    v = graph.Variable([0.5, 1.0])
    parts = [f(v) for f in (graph.cos, graph.exp, graph.log, graph.relu, graph.sigmoid, graph.sin)]
    parts += [f(v) for f in (graph.softplus, graph.sqrt, graph.tanh, graph.log_softmax)]
    parts += [graph.max(v), graph.sum(v, axis=0), graph.reshape(v, (2, 1)), graph.transpose(w)]
    assert all(isinstance(part, graph.Node) for part in parts)
    assert_type(graph.to_dot(loss), str)
    with suppress(RuntimeError):  # Graphviz may not be there
        graph.draw(loss, "loss.svg", {x: X})
    inner = cmlp.Sequential(cmlp.Dense(3, 1), dtype="float64", seed=0)
    assert isinstance(graph.net(inner, x), graph.Node)
    layer = graph.GraphLayer(graph.tanh(x), x)
    assert_type(layer.forward(X), Array)


def pictures() -> None:
    net = cmlp.Sequential(cmlp.Dense(2, 4, activation="tanh"), cmlp.Dense(4, 2), seed=0)
    x, monitor = X[:, :2], cmlp.GradientMonitor()
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy())
    history = trainer.fit(x, LABELS, epochs=2, callbacks=[monitor])
    assert_type((monitor.delta_norms, monitor.weight_norms), tuple[Array, Array])
    cmlp.plots.loss_curves(history)
    history.plot()
    cmlp.plots.gradient_flow(monitor, of="weight")
    cmlp.plots.confusion_matrix(LABELS, net.predict(x).argmax(axis=1))
    cmlp.plots.predicted_values(x[:, 0], x[:, 1])
    cmlp.plots.decision_regions(net, x, LABELS, resolution=10, extent=cmlp.plots.SQUARE)
    cmlp.plots.hidden_units(net, features=["x1", "x2"])
    digits = cmlp.models.lenet5(seed=0)
    images = np.zeros((3, 1, 28, 28), "float32")
    cmlp.plots.filters(digits)
    cmlp.plots.feature_maps(digits, images[0])
    cmlp.plots.misclassified(images, [1, 2, 3], digits.predict_proba(images), n=2)
    cmlp.plots.parallel_coordinates({"lr": [0.1, 0.2], "loss": [1.0, 2.0]})


def for_sklearn() -> None:
    # scikit-learn's decorator of fit has no types.
    classifier = cmlp.MLPClassifier(hidden_layer_sizes=(4,), max_iter=300, random_state=0)
    classifier.fit(X, LABELS)
    assert_type(classifier.predict(X), Array)
    assert_type(classifier.predict_proba(X), Array)
    regressor = cmlp.estimators.MLPRegressor(max_iter=300, random_state=0)
    regressor.fit(X, X[:, 0])
    assert_type(regressor.predict(X), Array)
    assert_type(regressor.coefs_, list[Array])


def for_river() -> None:
    cmlp.estimators.as_river(cmlp.MLPRegressor()).learn_one({"a": 1.0}, 2.0)


def command_line() -> None:
    with suppress(SystemExit):
        cmlp.cli.main(["info"])
