"""Copies, pickles and checkpoints made in the middle of training go on as the original does."""

import copy
import pickle
import threading
from typing import ClassVar

import numpy as np
import pytest
from test_checkpoint import OPTIMIZERS, SCHEDULES, X, Y, make, same

import cmlp
from cmlp.training import callbacks as built_in


class Given:
    """What goes into files again: losses, optimizers and schedules of a user."""

    def __init__(self, trainer):
        self.trainer = trainer

    def arguments(self):
        """The parts of which a checkpoint says nothing, as they are."""
        parts = {}
        if type(self.trainer.optimizer).__module__ != "cmlp.optimizers":
            parts["optimizer"] = copy.deepcopy(self.trainer.optimizer)
        return parts


def deep(trainer, path):
    return copy.deepcopy(trainer)


def pickled(trainer, path):
    return pickle.loads(pickle.dumps(trainer))


def reloaded(trainer, path):
    trainer.save_checkpoint(path)
    return cmlp.Trainer.load_checkpoint(path, **Given(trainer).arguments())


WAYS = [deep, pickled, reloaded]


class CopyAt(cmlp.Callback):
    """Makes a copy of the trainer at one event of its training."""

    def __init__(self, event, epoch, way, path):
        self.every_steps = 2
        self.wanted, self.way, self.path, self.copy = (event, epoch), way, path, None

    def take(self, trainer, event, epoch):
        if self.copy is None and (event, epoch) == self.wanted:
            self.copy = self.way(trainer, self.path)

    def on_train_begin(self, trainer):
        self.take(trainer, "on_train_begin", 1)

    def on_epoch_begin(self, trainer):
        self.take(trainer, "on_epoch_begin", trainer.epoch + 1)

    def on_steps(self, trainer):
        self.take(trainer, "on_steps", trainer.epoch + 1)

    def on_epoch_end(self, trainer, row):
        self.take(trainer, "on_epoch_end", row["epoch"])

    def on_train_end(self, trainer):
        self.take(trainer, "on_train_end", 1)


class Count(cmlp.Callback):
    """Counts what it is told; what it has counted goes on with it."""

    every_steps = 3

    def __init__(self):
        self.begun = self.stepped = self.ended = 0

    def on_train_begin(self, trainer):
        self.__init__()

    def on_epoch_begin(self, trainer):
        self.begun += 1

    def on_steps(self, trainer):
        self.stepped += 1

    def on_epoch_end(self, trainer, row):
        self.ended += 1

    def state(self):
        return dict(vars(self))

    def set_state(self, state):
        vars(self).update(state)


EVENTS = [
    ("on_train_begin", 1), ("on_epoch_begin", 1), ("on_epoch_begin", 3), ("on_steps", 1),
    ("on_steps", 3), ("on_epoch_end", 3), ("on_epoch_end", 4), ("on_train_end", 1),
]  # fmt: skip


def run(trainer, *observers, first=True):
    """Train with callbacks before and behind those that are given."""
    count, stopper = Count(), cmlp.EarlyStopping(patience=2)
    others = [count, cmlp.Converged(1e-9)]
    trainer.fit(
        X, Y, epochs=7, batch_size=16, validation=(X[::3], Y[::3]),
        callbacks=[*observers, *others, stopper] if first else [*others, stopper, *observers],
    )  # fmt: skip
    return vars(count), stopper.best, stopper.best_epoch


class Momentum:
    """An optimizer of a user's with a state."""

    def __init__(self):
        self.v = 0.0

    def step(self, net):
        self.v = 0.9 * self.v - 0.05 * net.get_flat_grad()
        net.set_flat(net.get_flat() + self.v)


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("event", "epoch"), EVENTS)
def test_at_every_event(event, epoch, way, first, tmp_path):
    """The copy goes on where it was made; its callbacks are told what the original's are."""
    whole = make(0, 2)
    taker = CopyAt(event, epoch, way, tmp_path / "c")
    told = run(whole, taker, first=first)
    assert taker.copy is not None
    same_told = run(taker.copy, CopyAt("never", 0, way, None), first=first)
    same(whole, taker.copy)
    assert told == same_told


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize("optimizer", [*range(len(OPTIMIZERS)), Momentum])
def test_every_optimizer(optimizer, python, way, tmp_path):
    trainer = make(0 if optimizer is Momentum else optimizer, 1, python)
    if optimizer is Momentum:
        trainer.optimizer, trainer.schedule = Momentum(), None
    taker = CopyAt("on_steps", 2, way, tmp_path / "c")
    run(trainer, taker)
    run(taker.copy)
    assert np.array_equal(trainer.net.get_flat(), taker.copy.net.get_flat())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("schedule", range(len(SCHEDULES)))
def test_every_schedule(schedule, way, tmp_path):
    trainer = make(0, schedule)
    taker = CopyAt("on_epoch_end", 3, way, tmp_path / "c")
    run(trainer, taker)
    run(taker.copy)
    same(trainer, taker.copy)


@pytest.mark.parametrize("way", WAYS)
def test_between_single_steps(way, tmp_path):
    trainer = make(2)
    for n in (16, 7, 40, 16):
        trainer.train_step(X[:n], Y[:n])
    other = way(trainer, tmp_path / "c")
    for one in (trainer, other):
        for n in (7, 40, 16):
            one.train_step(X[:n], Y[:n])
        one.fit(X, Y, epochs=2)
    same(trainer, other)


@pytest.mark.parametrize("way", WAYS)
def test_after_an_error_of_a_callback(way, tmp_path):
    """A call that was cut short goes on from a checkpoint, and begins anew in a copy."""

    class Break(cmlp.Callback):
        every_steps = 12

        def on_steps(self, trainer):
            if trainer.step_count == 12:
                raise RuntimeError("mine")

    whole, cut = make(0), make(0)
    run(whole)
    with pytest.raises(RuntimeError, match="mine"):
        run(cut, Break())
    other = way(cut, tmp_path / "c")
    if way is reloaded:
        run(other)
        same(whole, other)
    else:
        for one in (cut, other):
            run(one)
        same(cut, other)


@pytest.mark.parametrize("way", WAYS)
def test_when_the_best_weights_were_put_back(way, tmp_path):
    """What goes on goes on from the last weights, not from those that `EarlyStopping` chose."""

    class Cut(cmlp.Callback):
        every_steps = 17

        def on_steps(self, trainer):
            if trainer.step_count == 17:
                raise KeyboardInterrupt

    settings = {"epochs": 7, "batch_size": 16, "validation": (X[::3], Y[::3])}

    def stopper():
        return cmlp.EarlyStopping(9, min_delta=10.0)  # the first epoch is the best

    whole, cut = make(0), make(0)
    whole.fit(X, Y, callbacks=[stopper()], **settings)
    with pytest.raises(KeyboardInterrupt):
        cut.fit(X, Y, callbacks=[stopper(), Cut()], **settings)
    best = cut.net.get_flat()
    assert np.array_equal(best, whole.net.get_flat())
    cut.save_checkpoint(tmp_path / "c")
    assert np.array_equal(cmlp.load(tmp_path / "c").get_flat(), best)
    again = cmlp.Trainer.load_checkpoint(tmp_path / "c")
    again.fit(X, Y, callbacks=[cmlp.EarlyStopping(9, restore_best=False)], **settings)
    straight = make(0)
    straight.fit(X, Y, **settings)
    same(straight, again)


def test_a_copy_shares_nothing():
    taker = CopyAt("on_epoch_end", 2, deep, None)
    trainer = make(0, 2)
    run(trainer, taker)
    after = trainer.net.get_flat(), trainer.step_count, trainer.history.to_dict()
    run(taker.copy)
    assert np.array_equal(after[0], trainer.net.get_flat())
    assert after[1:] == (trainer.step_count, trainer.history.to_dict())


@pytest.mark.parametrize("way", WAYS)
def test_other_threads_cannot_copy_what_is_being_trained(way, tmp_path):
    refused = []

    class Ask(cmlp.Callback):
        def on_epoch_end(self, trainer, row):
            def work():
                try:
                    way(trainer, tmp_path / "c")
                except RuntimeError as error:
                    refused.append(str(error))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    make(0).fit(X, Y, epochs=2, callbacks=[Ask()])
    assert len(refused) == 2
    assert "copies and checkpoints are made between two steps" in refused[0]


# ---- callbacks with a state ----------------------------------------------------------------


def best_of(history):
    return min(history["validation_loss"])


class TestModelCheckpoint:
    """The best score belongs to a trainer and its net."""

    settings: ClassVar[dict] = {"batch_size": 16, "validation": (X[::3], Y[::3])}

    def saver(self, tmp_path):
        return cmlp.ModelCheckpoint(tmp_path / "best", save_best_only=True)

    @pytest.mark.parametrize("way", [None, *WAYS])
    def test_is_kept_where_a_finished_run_is_continued(self, way, tmp_path):
        trainer, saver = make(0), self.saver(tmp_path)
        best = best_of(trainer.fit(X, Y, epochs=6, callbacks=[saver], **self.settings))
        if way is not None:
            trainer, saver = way(trainer, tmp_path / "c"), self.saver(tmp_path)
        content = (tmp_path / "best").read_bytes()
        trainer.optimizer.lr = 5.0  # all epochs are worse now
        trainer.fit(X, Y, epochs=2)  # without it
        trainer.fit(X, Y, epochs=2, callbacks=[saver], **self.settings)
        assert saver.best == best
        assert (tmp_path / "best").read_bytes() == content

    def test_does_not_go_over_to_another_net(self, tmp_path):
        saver = self.saver(tmp_path)
        for seed in (1, 2):
            trainer = make(0)
            trainer.net.set_flat(seed * trainer.net.get_flat())
            saver.path = str(tmp_path / str(seed))
            history = trainer.fit(X, Y, epochs=3, callbacks=[saver], **self.settings)
            assert saver.best == best_of(history)
        assert (tmp_path / "2").exists()

    @pytest.mark.parametrize("part", ["net", "loss"])
    def test_does_not_go_over_to_another_part(self, part, tmp_path):
        trainer, saver = make(0), self.saver(tmp_path)
        trainer.fit(X, Y, epochs=6, callbacks=[saver], **self.settings)
        setattr(trainer, part, getattr(make(0), part))
        trainer.optimizer.lr = 5.0  # all epochs are worse now
        history = trainer.fit(X, Y, epochs=1, callbacks=[saver], **self.settings)
        assert saver.best == best_of(history)


STATES = {
    "EarlyStopping": lambda path: cmlp.EarlyStopping(2),
    "Converged": lambda path: cmlp.Converged(1e-9),
    "ModelCheckpoint": lambda path: cmlp.ModelCheckpoint(path, save_best_only=True),
    "GradientMonitor": lambda path: cmlp.GradientMonitor(n=5),
    "ProgressBar": lambda path: cmlp.ProgressBar(),
}


def test_every_callback_is_here():
    assert set(STATES) == set(built_in.__all__) - {"Callback"}


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=False) for k in a)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("event", ["on_epoch_begin", "on_steps", "on_epoch_end"])
@pytest.mark.parametrize("name", STATES)
def test_states_of_callbacks(name, event, way, tmp_path):
    """They are those of the uninterrupted training; another trainer's training begins without."""
    whole, make_one = make(0), STATES[name]
    taker, one = CopyAt(event, 3, way, tmp_path / "c"), make_one(tmp_path / "a")
    settings = {"epochs": 5, "batch_size": 16, "validation": (X[::3], Y[::3])}
    whole.fit(X, Y, callbacks=[one, taker], **settings)
    other = make_one(tmp_path / "b")
    taker.copy.fit(X, Y, callbacks=[other], **settings)
    assert equal(one.state(), other.state())
    unused = make_one(tmp_path / "d")
    for callback in (other, unused):
        make(1).fit(X, Y, callbacks=[callback], **settings)
    assert equal(other.state(), unused.state())
