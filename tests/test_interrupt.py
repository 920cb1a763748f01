"""Ctrl-C at any moment of a training: the net is usable, and training goes on exactly."""

from __future__ import annotations

import os
import signal
import threading
import time
from io import StringIO
from itertools import pairwise

import numpy as np
import pytest

import cmlp

# Widths, rows of a minibatch, samples.  The last one's step takes about a second on two cores.
NETS = {
    "small": ((2, 4, 2), 4, 100),
    "one step an epoch": ((4, 32, 16, 4), 10_000, 10_000),
    "medium": ((784, 512, 512, 10), 128, 2_000),
    "layer by layer": ((1024, 1024, 1024, 10), 256, 512),
    "large": ((4096, 4096, 4096, 10), 1024, 2_048),
}
FOREVER = 10**7


class Began(cmlp.Callback):
    """Says when training begins."""

    def __init__(self, tell):
        self.on_train_begin = lambda trainer: tell()


def problem(name, **settings):
    """A trainer, its data and the rows of a minibatch."""
    widths, batch, n = NETS[name]
    hidden = [cmlp.Dense(a, b, activation="relu") for a, b in pairwise(widths[:-1])]
    net = cmlp.Sequential(*hidden, cmlp.Dropout(0.1), cmlp.Dense(*widths[-2:]), seed=1)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((n, widths[0]), dtype=np.float32)
    y = rng.integers(0, widths[-1], n)
    optimizer = cmlp.SGD(1e-3, momentum=0.9)
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), optimizer, **settings)
    return trainer, (x, y), batch


def interrupt(trainer, data, batch, seconds, **settings):
    """Train, until Ctrl-C comes some seconds after the beginning.

    Returns the seconds from then until the caller had KeyboardInterrupt.
    """
    sent = []

    def send():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(seconds, send)
    callbacks = [*settings.pop("callbacks", []), Began(timer.start)]
    try:
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(*data, epochs=FOREVER, batch_size=batch, callbacks=callbacks, **settings)
        return time.perf_counter() - sent[0]
    finally:
        timer.cancel()


def check_usable(trainer, data):
    """What Ctrl-C leaves is whole."""
    history = trainer.history
    assert history.interrupted
    if len(history):
        last = trainer.epoch
        assert history["epoch"] == list(range(last - len(history) + 1, last + 1))
    assert all(len(column) == len(history) for column in history.to_dict().values())
    assert np.isfinite(trainer.net.get_flat()).all()
    assert np.isfinite(trainer.net.predict(data[0][:5])).all()


def check_exact(name, trainer, data, batch, path):
    """Resumed from a checkpoint to the end of its epoch, it has the bits of an undisturbed run."""
    trainer.save_checkpoint(path)
    epochs = trainer.epoch + 1
    resumed, again = problem(name)[0], problem(name)[0]
    history = resumed.fit(*data, epochs=epochs, batch_size=batch, resume=path)
    again.fit(*data, epochs=epochs, batch_size=batch)
    assert not history.interrupted
    assert resumed.epoch == again.epoch == epochs
    assert resumed.step_count == again.step_count
    assert np.array_equal(resumed.net.get_flat(), again.net.get_flat())


def show(name, latencies):
    """Print how long it took, for who wants to know; no test depends on it."""
    found = 1e3 * np.sort(latencies)
    print(
        f"\n{name}: {len(found)} times Ctrl-C, back in Python after {np.median(found):.1f} ms "
        f"(median), {np.quantile(found, 0.99):.1f} ms (99 %), {found[-1]:.1f} ms (longest)"
    )


def many_moments(name, times, longest, path, fit=None):
    """Interrupt so many trainings; ``fit`` gives more arguments for each."""
    latencies = []
    for moment in np.random.default_rng(3).uniform(0, longest, times):
        trainer, data, batch = problem(name)
        more = fit(data) if fit else {}
        latencies.append(interrupt(trainer, data, batch, moment, **more))
        check_usable(trainer, data)
        check_exact(name, trainer, data, batch, path)
    show(name, latencies)


def busy_between_epochs(data):
    """Most of the time goes to Python: scores, history and callbacks after each small epoch."""
    bar = cmlp.ProgressBar(force=True, stream=StringIO())
    return {
        "validation": data,
        "callbacks": [cmlp.EarlyStopping(10**9, restore_best=False), bar],
    }


@pytest.mark.parametrize("name", ["small", "one step an epoch", "medium"])
def test_any_moment(name, tmp_path):
    many_moments(name, 3, 0.1, tmp_path / "c")


def test_any_moment_between_epochs(tmp_path):
    many_moments("small", 10, 0.05, tmp_path / "c", busy_between_epochs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "one step an epoch", "medium"])
def test_a_hundred_moments(name, tmp_path):
    many_moments(name, 100, 0.3, tmp_path / "c")


@pytest.mark.slow
def test_a_hundred_moments_between_epochs(tmp_path):
    many_moments("small", 100, 0.1, tmp_path / "c", busy_between_epochs)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_twenty_five_moments_of_a_large_net(seed):
    """One trainer for all, since it takes long to make; steps of half a second and more."""
    trainer, data, batch = problem("large")
    latencies = []
    for moment in np.random.default_rng(seed).uniform(0, 1.5, 25):
        latencies.append(interrupt(trainer, data, batch, moment))
        check_usable(trainer, data)
    show("large", latencies)


def test_a_large_net_goes_on_exactly(tmp_path):
    """Its layers are worked through one by one, and a step is stopped within."""
    name = "layer by layer"
    many_moments(name, 2, 0.15, tmp_path / "c")


def test_history_is_whole_whatever_is_cut_short():
    history = cmlp.History()
    history.add({"epoch": 1.0, "loss": 0.5})
    history._columns["epoch"].append(2.0)  # as a Ctrl-C within add leaves it
    history.add({"epoch": 2.0, "loss": 0.25})
    assert history.to_dict() == {"epoch": [1.0, 2.0], "loss": [0.5, 0.25]}


@pytest.mark.parametrize(
    "event", ["on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end"]
)
def test_within_a_callback(event, tmp_path):
    trainer, data, batch = problem("small")
    before = trainer.net.get_flat()

    def stop(*arguments):
        os.kill(os.getpid(), signal.SIGINT)

    callback = cmlp.Callback()
    setattr(callback, event, stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*data, epochs=3, batch_size=batch, callbacks=[callback])
    check_usable(trainer, data)
    assert (trainer.epoch == 0) == np.array_equal(trainer.net.get_flat(), before)
    assert trainer.epoch == {"on_epoch_end": 1, "on_train_end": 3}.get(event, 0)
    check_exact("small", trainer, data, batch, tmp_path / "c")


def test_another_call_after_it_is_a_new_one(tmp_path):
    """Only a checkpoint goes on with the call that was cut short."""
    trainer, data, batch = problem("medium")
    interrupt(trainer, data, batch, 0.05)
    epoch = trainer.epoch
    history = trainer.fit(data[0][:300], data[1][:300], epochs=2, batch_size=batch)
    assert not history.interrupted
    assert history["epoch"] == [epoch + 1, epoch + 2]
    trainer.save_checkpoint(tmp_path / "c")
    again = cmlp.Trainer.load_checkpoint(tmp_path / "c")
    assert again.fit(*data, epochs=1)["epoch"][-1] == epoch + 3


def test_command_line(tmp_path, monkeypatch, capsys):
    """The checkpoint is there when the command ends, and training goes on from it."""
    pytest.importorskip("rich")
    from cmlp.cli import main

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, "--no-picture"])
        return stopped.value.code

    monkeypatch.chdir(tmp_path)
    options = ("--layers", "8", "--seed", "5")
    timer = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    with monkeypatch.context() as patch:
        patch.setattr(cmlp.ProgressBar, "on_train_begin", lambda self, trainer: timer.start())
        assert run("train", *options, "--epochs", str(FOREVER)) == 130
    assert "to go on: cmlp train --resume digits.checkpoint.safetensors" in capsys.readouterr().err
    saved = cmlp.Trainer.load_checkpoint("digits.checkpoint.safetensors")
    epochs = str(saved.epoch + 1)
    assert run("train", "--resume", "digits.checkpoint.safetensors", "--epochs", epochs) == 0
    assert run("train", *options, "--epochs", epochs, "--out", "whole") == 0
    resumed, whole = cmlp.load("digits.safetensors"), cmlp.load("whole")
    assert np.array_equal(resumed.get_flat(), whole.get_flat())
