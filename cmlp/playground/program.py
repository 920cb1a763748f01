"""The Python program that does what the page has done: `program`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..layers import Dense
from .experiment import Experiment, make_layers, make_loss, make_optimizer
from .settings import FEATURES, Settings

__all__ = ["program"]

_PER_LINE = 4


def program(experiment: Experiment) -> str:
    """A program that ends with the same weights, bit by bit.

    Without changes by hand it is a call of ``fit``, otherwise a `Session`.
    """
    settings = experiment.begun_with
    lines = [
        *_imports(experiment),
        "",
        *_data(experiment),
        f"features = {_text([FEATURES[name] for name in settings.features])}",
        "x, x_test = (datasets.features_2d(part, features) for part in (x, x_test))",
        *_targets(settings),
        "",
        *_net(settings),
        f"trainer = cmlp.Trainer(net, cmlp.{make_loss(settings)!r}, "
        f"cmlp.{make_optimizer(settings)!r})",
        *_training(experiment),
        "",
        'print("training loss", trainer.evaluate(x, y)["loss"])',
        'print("test loss", trainer.evaluate(x_test, y_test)["loss"])',
    ]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    """What a value is written as; with double quotes, as everything is here."""
    if isinstance(value, str):
        return json.dumps(value)
    return repr(value).replace("'", '"')


def _imports(experiment: Experiment) -> list[str]:
    settings, points = experiment.begun_with, experiment.points
    has_arrays = (
        _carries(experiment)
        or settings.initZero
        or points.table is not None
        or points.drawn is not None
    )
    numpy = ["import numpy as np", ""] if has_arrays else []
    return [*numpy, "import cmlp", "from cmlp import datasets"]


def _data(experiment: Experiment) -> Iterator[str]:
    settings, points = experiment.begun_with, experiment.points
    share = round(1 - settings.percTrainData / 100, 2)
    if points.table is not None:
        yield from _of_table(settings, points.table.name, share)
    elif points.drawn is not None:
        yield from _drawn(settings, points.drawn, share)
    else:
        yield (
            f"data = datasets.points_2d({_text(settings.set_name)}, noise={settings.noise / 100}, "
            f"seed={settings.data_seed}, test_share={share})"
        )
        yield "x, y, x_test, y_test = data.split()"


def _of_table(settings: Settings, name: str, share: float) -> Iterator[str]:
    yield f"data = datasets.load_table({_text(name)})"
    yield f"x, y, x_test, y_test = data.split({share}, seed={settings.data_seed})"
    yield ""
    yield ""
    yield "def extent(values):"
    yield '    """Middle and half width of each column."""'
    yield "    low, high = values.min(axis=0), values.max(axis=0)"
    yield ("    return low / 2 + high / 2, np.where(low < high, high / 2 - low / 2, np.float32(1))")
    yield ""
    yield ""
    yield "middle, half = extent(data.x)"
    yield "x, x_test = (5 * ((part - middle) / half) for part in (x, x_test))"
    if not settings.classifies:
        yield "middle, half = extent(data.y)"
        yield "y, y_test = ((part - middle) / half for part in (y, y_test))"


def _drawn(
    settings: Settings, drawn: list[tuple[float, float, float]], share: float
) -> Iterator[str]:
    yield "points = np.array(["
    for i in range(0, len(drawn), _PER_LINE):
        row = ", ".join(f"[{a:g}, {b:g}, {t:g}]" for a, b, t in drawn[i : i + _PER_LINE])
        yield f"    {row},"
    yield "])"
    x = "points[:, :2].astype(np.float32)"
    if settings.classifies:
        yield f'data = datasets.Dataset("own", {x}, (points[:, 2] > 0).astype(np.int64), (0, 1))'
    else:
        yield f'data = datasets.Dataset("own", {x}, points[:, 2:].astype(np.float32))'
    yield f"x, y, x_test, y_test = data.split({share}, seed={settings.data_seed})"


def _targets(settings: Settings) -> Iterator[str]:
    if settings.classifies and settings.loss == "squared":
        yield 'y, y_test = (2 * part.astype("float32") - 1 for part in (y, y_test))  # -1 and 1'


def _net(settings: Settings) -> Iterator[str]:
    original = settings.mode == "original"
    if original:
        yield ""
        yield "def uniform(shape, rng):"
        yield "    return rng.uniform(-0.5, 0.5, shape)"
        yield ""
        yield ""
    yield "net = cmlp.Sequential("
    for layer in make_layers(settings):
        text = f"cmlp.{_text(layer)}"
        if original and isinstance(layer, Dense):
            text = f"{text[:-1]}, weight_init=uniform, bias_init=cmlp.Constant(0.1))"
        yield f"    {text},"
    yield f"    seed={settings.net_seed},"
    yield ")"
    if settings.initZero:
        yield "net.set_flat(np.zeros(net.n_parameters))"


def _training(experiment: Experiment) -> Iterator[str]:
    settings, epoch = experiment.begun_with, experiment.epoch
    n, size = len(experiment.points.x), settings.batchSize
    arguments = f"x, y, batch_size={size}"
    if settings.mode == "original":
        arguments += ", shuffle=False"
    if _carries(experiment):
        yield from _carried(size, n % size)
        arguments = "*samples, batch_size=size, shuffle=False, sample_weight=weights"
    if not experiment.changes:
        if epoch:
            yield f"trainer.fit({arguments}, epochs={epoch})"
        return
    yield f"session = cmlp.Session(trainer, {arguments})"
    done, steps = 0, experiment.first_steps
    for change in experiment.changes:
        if change.epoch > done:
            yield f"session.advance({change.epoch - done} * {steps})"
        yield f"session.{change.call}"
        done, steps = change.epoch, change.steps
    if epoch > done:
        yield f"session.advance({epoch - done} * {steps})  # epochs, and the steps of each"
    yield "session.close()"


def _carries(experiment: Experiment) -> bool:
    """Whether the original's way leaves samples over."""
    settings, n = experiment.begun_with, len(experiment.points.x)
    return settings.mode == "original" and n > settings.batchSize and n % settings.batchSize > 0


def _carried(size: int, rest: int) -> Iterator[str]:
    """The original's minibatches, whose first has the samples left over from the epoch before."""
    yield ""
    yield "# The samples left over at the end of an epoch go into the first minibatch of the next."
    yield f"n, size, rest = len(x), {size}, {rest}"
    yield "rows = np.arange(n - rest).reshape(-1, size)"
    yield "more = np.tile(np.arange(n - rest, n), (len(rows), 1))"
    yield "order = np.concatenate([rows, more], axis=1).ravel()"
    yield "weights = np.zeros((len(rows), size + rest), np.float32)"
    yield "weights[:, :size] = (size + rest) / size"
    yield "weights[0] = 1"
    yield "samples, weights, size = (x[order], y[order]), weights.ravel(), size + rest"
