"""What the tests of the live page share."""

from __future__ import annotations

import contextlib
import io
import threading
from contextlib import contextmanager

from cmlp.playground.settings import Settings

SETTINGS = {
    "mode": "textbook",
    "problem": "classification",
    "dataset": "circle",
    "regDataset": "reg-plane",
    "noise": 10,
    "percTrainData": 50,
    "seed": "0.12345",
    "start": 0,
    "features": ["x", "y"],
    "networkShape": [4, 2],
    "activations": ["tanh", "relu"],
    "loss": "cross-entropy",
    "optimizer": "sgd",
    "learningRate": 0.03,
    "momentum": 0,
    "regularization": "none",
    "regularizationRate": 0,
    "dropout": 0,
    "batchSize": 10,
    "initZero": False,
}

DIGITS = {
    "set": "digits",
    "net": "ConvNetJS",
    "optimizer": "adadelta",
    "learningRate": 1.0,
    "momentum": 0,
    "decay": 0.001,
    "batchSize": 20,
    "seed": 1,
}

# Sixteen points in the quarters of the plane, as the mouse draws them.
DRAWN = [[x, y, 1 if x * y > 0 else -1] for x in (-4, -2.5, 2.5, 4.05) for y in (-4.5, -2, 2, 3.15)]

CSV = "width,height,kind\n" + "".join(
    f"{10 + i % 7},{200 + 30 * (i % 5)},{'big' if (i % 7) + (i % 5) > 4 else 'small'}\n"
    for i in range(60)
)
NUMBERS = "a,b,price\n" + "".join(f"{i % 9},{i % 4},{3.5 * (i % 9) - i % 4}\n" for i in range(80))


def settings(**changed):
    return Settings.read({**SETTINGS, **changed})


def run_program(text):
    """The names of a program that the page gave, and what it printed."""
    names, shown = {}, io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(text, "playground.py", "exec"), names)
    return names, shown.getvalue()


@contextmanager
def served(**options):
    """A server in a thread of its own."""
    from cmlp.playground.server import Server

    server = Server(**options)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
