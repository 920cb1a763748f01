import json
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_parts import Cut, Gain, Stopped

import cmlp

RNG = np.random.default_rng(5)
X = RNG.normal(size=(70, 3)).astype("f")
Y = RNG.integers(3, size=70)

OPTIMIZERS = [
    lambda: cmlp.SGD(0.1, momentum=0.9, weight_decay=1e-3),
    lambda: cmlp.SGD(0.1, momentum=cmlp.MomentumStep(0.5, 0.9, after=9), nesterov=True),
    lambda: cmlp.Adam(0.01),
    lambda: cmlp.AdamW(0.01, clip_norm=0.5),
    lambda: cmlp.RMSprop(0.01, momentum=0.5),
    lambda: cmlp.Adagrad(0.1),
    lambda: cmlp.Adadelta(),
]
SCHEDULES = [None, cmlp.InverseTime(1, 20), cmlp.Halving(0.05), cmlp.Plateau(0.05, patience=0)]


def make(optimizer=0, schedule=0, python=False):
    layers = [cmlp.Dense(3, 8, activation="tanh"), cmlp.Dropout(0.2), cmlp.PReLU()]
    if python:
        layers.insert(1, Gain(8))
    net = cmlp.Sequential(*layers, cmlp.Dense(8, 3), seed=1)
    loss = cmlp.SoftmaxCrossEntropy(class_weight={1: 2.0})
    return cmlp.Trainer(net, loss, OPTIMIZERS[optimizer](), schedule=SCHEDULES[schedule])


def run(trainer, *callbacks, epochs=4, batch=16, **more):
    stopper = cmlp.EarlyStopping(patience=2)
    return trainer.fit(
        X, Y, epochs=epochs, batch_size=batch, validation=(X[::3], Y[::3]),
        callbacks=[stopper, *callbacks], **more,
    )  # fmt: skip


def same(a, b):
    """Every number of two trainers is the same, seconds apart."""
    assert np.array_equal(a.net.get_flat(), b.net.get_flat())
    assert (a.epoch, a.step_count) == (b.epoch, b.step_count)
    first, second = a.history.to_dict(), b.history.to_dict()
    del first["seconds"], second["seconds"]
    assert first == second
    for name, slot in a.optimizer.state_for(a.net).get_slots().items():
        assert np.array_equal(slot, b.optimizer.state_for(b.net).get_slots()[name])


@settings(max_examples=25, deadline=None)
@given(
    step=st.integers(1, 19),
    batch=st.sampled_from([7, 16, 70]),
    optimizer=st.integers(0, len(OPTIMIZERS) - 1),
    schedule=st.integers(0, len(SCHEDULES) - 1),
    python=st.booleans(),
    fresh=st.booleans(),
)
def test_resumed_equals_uninterrupted(
    tmp_path_factory, step, batch, optimizer, schedule, python, fresh
):
    path = tmp_path_factory.mktemp("cut") / "c.safetensors"
    whole = make(optimizer, schedule, python)
    run(whole, batch=batch)
    if step > whole.step_count:
        step = whole.step_count
    with pytest.raises(Stopped):
        run(make(optimizer, schedule, python), Cut(step, path), batch=batch)
    if fresh:
        resumed = cmlp.Trainer.load_checkpoint(path)
        run(resumed, batch=batch)
    else:
        resumed = make(optimizer, schedule, python)
        resumed.net.set_flat(np.zeros(resumed.net.n_parameters))
        run(resumed, batch=batch, resume=path)
    same(whole, resumed)


class Drawn:
    """A training drawn at random, and what it ends with."""

    def __init__(self, seed):
        rng = self.rng = np.random.default_rng(seed)
        self.seed, self.dtype = seed, str(rng.choice(["float32", "float64"]))
        self.widths = [int(w) for w in rng.integers(3, 90, rng.integers(1, 4))]
        self.activations = rng.choice(["relu", "tanh", "gelu", "sigmoid", "elu"], len(self.widths))
        self.extras = rng.integers(4, size=len(self.widths))
        n = int(rng.integers(30, 300))
        self.x = 0.3 * rng.normal(size=(n, 6)).astype(self.dtype)
        self.y = rng.integers(3, size=n)
        self.fit = {
            "epochs": int(rng.integers(1, 6)),
            "batch_size": int(rng.choice([5, 16, 64, 128])),
            "shuffle": bool(rng.integers(4)),
            "sample_weight": rng.random(n) + 0.1 if rng.integers(2) else None,
        }
        self.optimizer = OPTIMIZERS[rng.integers(len(OPTIMIZERS))]
        self.schedule = [
            None,
            cmlp.Cosine(30),
            cmlp.Warmup(9, then=cmlp.StepDecay(n_steps=5, factor=0.5)),
            cmlp.InverseTime(1, 20),
            cmlp.Halving(0.05),
            cmlp.Plateau(0.05, patience=0),
        ][rng.integers(6)]

    def trainer(self):
        layers, n_in = [], 6
        for width, activation, extra in zip(
            self.widths, self.activations, self.extras, strict=True
        ):
            layers.append(cmlp.Dense(n_in, width, activation=str(activation)))
            layers += [[cmlp.Dropout(0.3)], [cmlp.RReLU()], [cmlp.PReLU()], []][extra]
            n_in = width
        net = cmlp.Sequential(*layers, cmlp.Dense(n_in, 3), dtype=self.dtype, seed=self.seed)
        loss = cmlp.SoftmaxCrossEntropy(class_weight={1: 2.0})
        return cmlp.Trainer(net, loss, self.optimizer(), schedule=self.schedule, n_threads=1)

    def run(self, trainer, *callbacks):
        trainer.fit(
            self.x, self.y, validation=(self.x[::3], self.y[::3]), progress=False,
            callbacks=[cmlp.EarlyStopping(patience=2), *callbacks], **self.fit,
        )  # fmt: skip


def cut_anywhere(seed, path):
    """Cut a training at one step and at a later one: it ends as the uninterrupted one does."""
    drawn = Drawn(seed)
    whole, cut = drawn.trainer(), drawn.trainer()
    drawn.run(whole)
    for step in sorted(drawn.rng.integers(1, whole.step_count + 1, drawn.rng.integers(1, 3))):
        if step > cut.step_count:
            with pytest.raises(Stopped):
                drawn.run(cut, Cut(int(step), path))
            cut = cmlp.Trainer.load_checkpoint(path, n_threads=int(drawn.rng.integers(1, 4)))
    drawn.run(cut)
    same(whole, cut)


def test_cut_at_random_steps(tmp_path):
    for seed in range(12):
        cut_anywhere(seed, tmp_path / "c.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 300))
def test_cut_at_many_random_steps(tmp_path, seed):
    cut_anywhere(seed, tmp_path / "c.safetensors")


def test_at_the_end_of_an_epoch(tmp_path):
    path = tmp_path / "{epoch}.safetensors"
    whole = make()
    run(whole, cmlp.ModelCheckpoint(path, every=1))
    for epoch in range(1, whole.epoch + 1):
        resumed = cmlp.Trainer.load_checkpoint(tmp_path / f"{epoch}.safetensors")
        run(resumed)
        same(whole, resumed)


def test_callbacks_are_known_by_their_class(tmp_path):
    path = tmp_path / "{epoch}.safetensors"

    def callbacks():
        return [cmlp.EarlyStopping(2), cmlp.ModelCheckpoint(path, save_best_only=True)]

    make().fit(X, Y, epochs=2, progress=True, callbacks=callbacks())
    best = cmlp.Trainer.load_checkpoint(tmp_path / "1.safetensors").history["loss"][0]
    stopper, saver = callbacks()
    make().fit(X, Y, epochs=3, callbacks=[saver, stopper], resume=tmp_path / "1.safetensors")
    assert saver.best <= best


@pytest.mark.parametrize("python", [False, True])
def test_between_single_steps(python, tmp_path):
    path = tmp_path / "c.safetensors"
    a = make(2, python=python)
    for i in range(0, 64, 16):
        a.train_step(X[i : i + 16], Y[i : i + 16])
    a.save_checkpoint(path)
    b = cmlp.Trainer.load_checkpoint(path)
    for trainer in (a, b):
        trainer.train_step(X[:16], Y[:16])
    assert np.array_equal(a.net.get_flat(), b.net.get_flat())
    assert a.step_count == b.step_count == 5


def test_more_epochs_after_the_end(tmp_path):
    path = tmp_path / "c.safetensors"
    whole, half = make(), make()
    whole.fit(X, Y, epochs=4)
    half.fit(X, Y, epochs=2, callbacks=[cmlp.ModelCheckpoint(path)])
    history = make().fit(X, Y, epochs=4, resume=path)
    assert history["epoch"] == [1, 2, 3, 4]
    assert history["loss"] == whole.history["loss"]


def test_a_checkpoint_is_a_model_too(tmp_path):
    trainer = make()
    trainer.fit(X, Y, epochs=1)
    trainer.save_checkpoint(tmp_path / "c")
    assert np.array_equal(cmlp.load(tmp_path / "c").predict(X), trainer.net.predict(X))


def test_parts_of_the_user_are_given_again(tmp_path):
    class Mine:
        def step(self, net):
            net.set_flat(net.get_flat() - 0.1 * net.get_flat_grad())

    net = cmlp.Sequential(cmlp.Dense(3, 3), seed=0)
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), Mine(), schedule=lambda t: 0.1)
    trainer.fit(X, Y, epochs=1)
    trainer.save_checkpoint(tmp_path / "c")
    with pytest.raises(ValueError, match="optimizer is None; expected the optimizer of your own"):
        cmlp.Trainer.load_checkpoint(tmp_path / "c")
    with pytest.raises(ValueError, match="schedule is None"):
        cmlp.Trainer.load_checkpoint(tmp_path / "c", optimizer=Mine())
    again = cmlp.Trainer.load_checkpoint(tmp_path / "c", optimizer=Mine(), schedule=lambda t: 0.1)
    for one in (trainer, again):
        one.fit(X, Y, epochs=1)
    assert np.array_equal(trainer.net.get_flat(), again.net.get_flat())


class TestRefused:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "c.safetensors"
        with pytest.raises(Stopped):
            run(make(), Cut(7, path))
        return path

    def test_other_settings(self, path):
        for arguments, words in (
            ({"batch": 17}, "batch_size is 17; expected 16"),
            ({"shuffle": False}, "shuffle is False; expected True"),
        ):
            with pytest.raises(ValueError, match=words):
                run(make(), resume=path, **arguments)
        with pytest.raises(ValueError, match="n_samples is 60; expected 70"):
            make().fit(X[:60], Y[:60], batch_size=16, resume=path)

    def test_another_net(self, path):
        net = cmlp.Sequential(cmlp.Dense(3, 3))
        with pytest.raises(ValueError, match="resume is a checkpoint of other layers"):
            cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy()).fit(X, Y, resume=path)

    def test_another_optimizer(self, path):
        with pytest.raises(ValueError, match="trained by SGD; expected Adam"):
            make(2).fit(X, Y, resume=path)

    def test_a_model_is_no_checkpoint(self, tmp_path):
        make().net.save(tmp_path / "m")
        with pytest.raises(cmlp.FormatError, match="a 'model'; expected a checkpoint"):
            cmlp.Trainer.load_checkpoint(tmp_path / "m")

    def test_missing_file(self):
        with pytest.raises(FileNotFoundError):
            cmlp.Trainer.load_checkpoint("/nowhere/at/all")

    def test_tensors_of_no_callback(self, path):
        data = path.read_bytes()
        changed = data.replace(b"callbacks.0.weights", b"callbacks.9.weights")
        assert changed != data
        path.write_bytes(changed)
        with pytest.raises(cmlp.FormatError, match=r"'callbacks\.9\.weights' is of none of 2 call"):
            cmlp.Trainer.load_checkpoint(path)

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("batch_size", b"-8", "fit batch_size is -8; expected 0.."),
            ("n_samples", b"-1", "fit n_samples is -1; expected 0.."),
            ("first_epoch", b"-1", "fit first_epoch is -1; expected 0.."),
            ("first_epoch", str(2**64).encode(), f"fit first_epoch is {2**64}; expected 0.."),
            ("first_epoch", b"99", "fit first_epoch is 99; expected at most the epoch"),
        ],
    )
    def test_numbers_of_no_call(self, path, name, value, words):
        head, _, rest = path.read_bytes()[8:].partition(f'\\"{name}\\": '.encode())
        assert rest
        rest = value + rest[len(re.match(rb"\d+", rest)[0]) :]
        data = head + f'\\"{name}\\": '.encode() + rest
        size = int.from_bytes(path.read_bytes()[:8], "little") + len(data) + 8 - path.stat().st_size
        path.write_bytes(size.to_bytes(8, "little") + data)
        with pytest.raises(cmlp.FormatError, match=words):
            cmlp.Trainer.load_checkpoint(path)

    def test_states_of_another_type(self, path):
        """What a schedule or callback saw is checked too, before anything is changed."""

        def change(data, old, new):
            assert old in data
            size = int.from_bytes(data[:8], "little") + len(new) - len(old)
            return size.to_bytes(8, "little") + data[8:].replace(old, new, 1)

        trainer = make(schedule=2)
        with pytest.raises(Stopped):
            run(trainer, Cut(7, path))
        data = path.read_bytes()
        state = trainer.schedule.state()
        for old, new, words in (
            (rb"\"last\": ", rb"\"last\": {}, \"x\": ", "last is {}; expected a number"),
            (rb"\"settled\": ", rb"\"settled\": -1", "settled is -1"),
            (rb"\"scale\": 1.0", rb"\"scale\": 1e9", "scale is 1000000000.0; expected a number"),
        ):
            path.write_bytes(change(data, old, new))
            with pytest.raises(cmlp.FormatError, match=words):
                run(trainer, resume=path)
            assert trainer.schedule.state() == state
        path.write_bytes(change(data, rb"\"best_epoch\": 1", rb"\"best_epoch\": 1e999"))
        with pytest.raises(cmlp.FormatError, match="state of EarlyStopping is damaged"):
            run(make(schedule=2), resume=path)

    @pytest.mark.parametrize(
        "change",
        [
            {"trainer": None},
            {"seed": "x"},
            {"epoch": -1},
            {"step_in_epoch": True},
            {"loss": {"class": "Huber", "delta": -1}},
            {"loss": {"class": "os"}},
            {"optimizer": {"class": "SGD", "lr": "fast"}},
            {"optimizer": {"class": "SGD", "speed": 1}},
            {"schedule_class": "Cosine", "schedule": {"class": "Cosine", "n_steps": 0}},
            {"fit": {"first_epoch": 0}},
            {"fit": 3},
            {"optimizer_class": "Adam"},
            {"history": ["auc"]},
            {"history": [3]},
            {"loss_sum": 1e400},
            {"optimizer_steps": 2**70},
        ],
        ids=repr,
    )
    def test_damaged_descriptions(self, change, path):
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        about = json.loads(header["__metadata__"]["cmlp"])
        if "trainer" in change:
            about.update(change)
        else:
            about["trainer"].update(change)
        header["__metadata__"]["cmlp"] = json.dumps(about)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
        with pytest.raises(cmlp.FormatError, match=os.fspath(path)):
            cmlp.Trainer.load_checkpoint(path)
