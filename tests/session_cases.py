"""Trainings of many kinds, for the tests of sessions."""

import numpy as np
from trainer_parts import PythonLoss, PythonSgd, PythonTanh, build

import cmlp

X = np.random.default_rng(5).normal(size=(90, 2))
LABELS = np.repeat(np.arange(3), 30)
X += 2.0 * np.array([[0.0, 1.0], [1.0, -0.5], [-1.0, -0.5]])[LABELS]
NUMBERS = np.column_stack([np.sin(X[:, 0]), X.prod(axis=1), X[:, 1]])
WEIGHT = np.linspace(0.0, 2.0, 90)


def drawing():
    layers = [cmlp.Dense(2, 9), cmlp.RReLU(), cmlp.Dropout(0.3), cmlp.Dense(9, 3)]
    return cmlp.Sequential(*layers, seed=3)


def in_python(*more):
    return cmlp.Sequential(cmlp.Dense(2, 5), PythonTanh(), *more, cmlp.Dense(5, 3), seed=1)


def frozen():
    net = build("float32", (2, 6, 5, 3))
    net.layers[1].trainable = False
    return net


def standardised():
    net = build("float32")
    means = cmlp.datasets.Standardizer(X.mean(axis=0), X.std(axis=0))
    net.preprocessing = cmlp.Preprocessing(inputs=means)
    return net


def of_planes(dtype="float32"):
    return cmlp.Sequential(
        cmlp.Dense(2, 32, "tanh"), cmlp.Reshape((2, 4, 4)), cmlp.Conv2D(2, 3, 3), cmlp.ReLU(),
        cmlp.MaxPool2D(2), cmlp.Flatten(), cmlp.Dense(3, 3), dtype=dtype, seed=4,
    )  # fmt: skip


CROSS, SQUARED = cmlp.SoftmaxCrossEntropy, cmlp.SquaredError
# name -> the trainer; what is trained on beside X; further arguments
CASES = {
    "sgd": (lambda: cmlp.Trainer(build("float32"), CROSS()), LABELS, {}),
    "momentum, float64": (
        lambda: cmlp.Trainer(build(), SQUARED(), cmlp.SGD(0.05, momentum=0.9, nesterov=True)),
        NUMBERS,
        {"sample_weight": WEIGHT},
    ),
    "adam, drawing, one thread": (
        lambda: cmlp.Trainer(drawing(), CROSS(), cmlp.Adam(0.01), n_threads=1, seed=8),
        LABELS,
        {"validation": (X[::3], LABELS[::3])},
    ),
    "wide, two threads": (
        lambda: cmlp.Trainer(build("float32", (2, 300, 200, 3)), CROSS(), n_threads=2),
        LABELS,
        {},
    ),
    "clipped, decayed, frozen": (
        lambda: cmlp.Trainer(
            frozen(), CROSS({0: 2.0}), cmlp.RMSprop(0.01, clip_norm=0.1, weight_decay=0.01)
        ),
        LABELS,
        {"shuffle": False},
    ),
    "schedules": (
        lambda: cmlp.Trainer(
            build("float32"),
            CROSS(),
            cmlp.SGD(0.3, momentum=cmlp.MomentumStep(0.5, 0.9, 20)),
            schedule=cmlp.Cosine(40),
        ),
        LABELS,
        {},
    ),
    "plateau": (
        lambda: cmlp.Trainer(build("float32"), CROSS(), schedule=cmlp.Plateau(patience=1)),
        LABELS,
        {"validation": (X[:9], LABELS[::10])},
    ),
    "standardised, names": (
        lambda: cmlp.Trainer(standardised(), CROSS()),
        np.array(["a", "b", "c"])[LABELS],
        {},
    ),
    "planes": (lambda: cmlp.Trainer(of_planes(), CROSS(), cmlp.Adam(0.01)), LABELS, {}),
    "all in python": (
        lambda: cmlp.Trainer(in_python(), PythonLoss(), PythonSgd(0.1)),
        LABELS,
        {"sample_weight": WEIGHT},
    ),
    "squared errors in python": (
        lambda: cmlp.Trainer(in_python(), SQUARED(), cmlp.SGD(0.02)),
        NUMBERS,
        {},
    ),
    "layers in python": (
        lambda: cmlp.Trainer(in_python(cmlp.Dropout(0.2)), CROSS(), cmlp.Adam(0.01)),
        LABELS,
        {"validation": (X[::3], LABELS[::3])},
    ),
}


def make(name):
    """The trainer, its targets and the further arguments of a case."""
    trainer, y, more = CASES[name]
    return trainer(), y, {"batch_size": 16, **more}


def open_session(name="sgd", **settings):
    trainer, y, more = make(name)
    return cmlp.Session(trainer, X, y, **{**more, **settings})


def by_fit(name, epochs):
    """A trainer that `fit` has trained."""
    trainer, y, more = make(name)
    trainer.fit(X, y, epochs=epochs, **more)
    return trainer


def same(a, b):
    """Whether two trainings stand at the same place with the same bits."""
    histories = [trainer.history.to_dict() for trainer in (a, b)]
    for history in histories:
        history.pop("seconds", None)
    return (
        np.array_equal(a.net.get_flat(), b.net.get_flat())
        and np.array_equal(str(histories[0]), str(histories[1]))
        and (a.epoch, a.step_count) == (b.epoch, b.step_count)
        and (a.running is None or np_equal(a.running.get_slots(), b.running.get_slots()))
    )


def np_equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
