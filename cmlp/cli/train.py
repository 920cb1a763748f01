"""`cmlp train`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.core import ParameterSource
from numpy.typing import NDArray

from .. import _core, datasets, losses
from ..datasets.dataset import Dataset
from ..errors import FormatError
from ..losses import Loss
from ..preprocessing import Preprocessing, Standardizer
from ..tabular import TablePreprocessor, refuse_odd_cells
from ..training import callbacks
from ..training.history import History
from ..training.trainer import Trainer
from . import build, data, model, options, output, report
from .data import Loaded, Parts
from .model import Origin

Array = NDArray[Any]

_DEFAULTS = options.Defaults(
    layers="256,128", activation="relu", optimizer="adam", epochs=60, batch_size=64
)
_VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class TrainOptions(build.NetOptions):
    """The options of the command."""

    source: str | None
    target: tuple[str, ...]
    features: tuple[str, ...] | None
    task: str | None
    standardize: bool | None
    test_share: float | None
    validation: float
    loss: str
    dtype: str
    early_stopping: int | None
    last_epoch: bool
    out: Path | None
    picture: Path | None
    no_picture: bool
    checkpoint: Path | None
    checkpoint_every: str
    resume: Path | None
    reading: dict[str, Any]
    kinds: dict[str, str]
    numbers: str | None


# What may be given beside --resume; all else is as it was.
_OF_THE_CALL = (
    "source", "epochs", "threads", "out", "picture", "no_picture", "checkpoint",
    "checkpoint_every", "resume",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A trainer and what it trains on."""

    trainer: Trainer
    origin: Origin
    loaded: Loaded
    parts: Parts
    source: str

    @property
    def dataset(self) -> Dataset:
        """The set, which has classes and a name."""
        return self.loaded.dataset

    def targets(self, y: Array) -> Array:
        """What the loss takes; rows of 0 and 1 where it takes no labels."""
        classes = self.trainer.net.classes
        if classes is not None and isinstance(self.trainer.loss, losses.SquaredError):
            return np.asarray(y[:, np.newaxis] == classes, dtype=np.float32)
        return y


@click.command()
@click.argument("source", metavar="[DATA]", required=False)
@click.option(
    "--target", metavar="NAME", multiple=True,
    help="Column to predict; several are targets of a regression.  [default: the last]",
)  # fmt: skip
@options.features_option
@options.reading
@options.columns
@click.option(
    "--task", type=click.Choice(["classification", "regression"]),
    help="What the target is.  [default: seen from its values]",
)  # fmt: skip
@click.option(
    "--standardize/--no-standardize", default=None,
    help="Bring inputs, and targets of a regression, to mean 0 and deviation 1.  "
    "[default: for tables]",
)  # fmt: skip
@click.option(
    "--test-share", type=options.SHARE,
    help="Share of the data to hold out for the test.  [default: DATA's own test part, or 0.2]",
)  # fmt: skip
@click.option(
    "--validation", type=options.BELOW_ONE, default=_VALIDATION_SHARE,
    help="Share of the training data on which the loss is followed.",
)  # fmt: skip
@options.net_and_training(_DEFAULTS)
@click.option(
    "--loss", type=click.Choice(["auto", *build.LOSSES]), default="auto",
    help="What is minimised; auto is softmax for classes, squared for numbers.",
)  # fmt: skip
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32")
@click.option(
    "--early-stopping", type=options.COUNT, metavar="EPOCHS",
    help="Stop after so many epochs without a better loss, and keep the best weights.",
)  # fmt: skip
@click.option(
    "--last-epoch", is_flag=True, help="Keep the last epoch's weights.  [default: those of the "
    "epoch with the least validation loss]",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), help="The model.  [default: DATA.safetensors]"
)
@click.option(
    "--picture", type=click.Path(path_type=Path),
    help="Loss curves and predictions.  [default: DATA.png]",
)  # fmt: skip
@click.option("--no-picture", is_flag=True, help="Draw nothing.")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Save all that is needed to go on here."
)
@click.option(
    "--checkpoint-every", default="1min", metavar="EVERY",
    help="A number of epochs, or 500steps, 30s, 10min, 2h.",
)  # fmt: skip
@click.option(
    "--resume", type=click.Path(path_type=Path),
    help="Go on from a checkpoint, exactly, up to --epochs in all.",
)  # fmt: skip
@click.pass_context
def train(context: click.Context, /, **values: Any) -> None:
    """Train a net on DATA, by default the digits.

    It is tested on held-out samples, saved and drawn.  Ctrl-C saves a checkpoint first.
    """
    values["reading"] = options.reading_given(values)
    given = TrainOptions(**values)
    if given.resume is None:
        job = start(given)
    else:
        explicit = [
            name for name in context.params
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ]  # fmt: skip
        given, job = go_on(given, given.resume, explicit)
    out = given.out or Path(f"{job.dataset.name}.safetensors")
    picture = given.picture or Path(f"{job.dataset.name}.png")
    output.check_model(out, "--out")
    draws = not given.no_picture and output.check_picture(picture, "--picture")
    kept = fit(given, job, out)
    job.trainer.net.save(out)
    rows = results(job, kept)
    rows["model"] = str(out)
    if draws:
        draw(job, picture)
        rows["picture"] = str(picture)
    output.show(f"cmlp train {job.dataset.name}", rows)


# ---- before training -------------------------------------------------------------------------


def start(given: TrainOptions) -> Job:
    """A new net for the data."""
    source = given.source or "digits"
    loaded = data.load(
        source,
        target=given.target or None,
        features=given.features,
        task=given.task,
        reading=given.reading,
        mixed=True if given.kinds or given.numbers else None,
    )
    for column in loaded.table or ():
        if column.name not in given.kinds:
            refuse_odd_cells(column)
    dataset = loaded.dataset
    parts = data.part(loaded, given.test_share, given.validation)
    loss, n_out = make_loss(given.loss, dataset)
    before, notes = learn(given, loaded, parts, loss)
    n_in = dataset.n_in if before.table is None else len(before.table.input_names)
    trainer = build.make_trainer(given, loss, n_in, n_out, len(parts.train.x), given.dtype)
    origin = Origin(
        given.target or None, given.test_share, dataset.image_shape, kept_reading(given, loaded)
    )
    net = trainer.net
    net.classes = dataset.classes
    net.preprocessing = before
    for note in [*loaded.notes, *notes]:
        output.note(note)
    net.metadata = {**origin.metadata(), "training": settings(given, source)}
    return Job(trainer, origin, loaded, parts, source)


def kept_reading(given: TrainOptions, loaded: Loaded) -> dict[str, Any] | None:
    """How text is to be read from now on: as it was told, and the header as it was found."""
    found = {k: list(v) if isinstance(v, tuple) else v for k, v in given.reading.items()}
    if "header" in loaded.about:
        found["header"] = loaded.about["header"] != "none"
    return found or None


def announced(job: Job) -> dict[str, str]:
    """What was taken for what."""
    return report.taken(job.source, job.loaded, job.parts, job.trainer)


def make_loss(name: str, dataset: Dataset) -> tuple[Loss, int]:
    """The loss, and the number of outputs that it wants."""
    classes = dataset.classes is not None
    if name == "auto":
        name = "softmax" if classes else "squared"
    of_classes = ("softmax", "binary", "squared")
    of_numbers = [short for short, kind in build.LOSSES.items() if kind.of_numbers]
    allowed = of_classes if classes else of_numbers
    if name not in allowed:
        kind = "classes" if classes else "numbers"
        raise ValueError(f"--loss: {name} does not go with {kind}, expected {', '.join(allowed)}")
    n_out = 1 if name == "binary" and dataset.n_out == 2 else dataset.n_out
    return build.LOSSES[name](), n_out


def learn(
    given: TrainOptions, loaded: Loaded, parts: Parts, loss: Loss
) -> tuple[Preprocessing, list[str]]:
    """What the training part says of how to bring samples to the net, and what to tell of it."""
    dataset, x = loaded.dataset, parts.train.x
    wanted = given.standardize
    if wanted is None:
        wanted = bool(loaded.about) and dataset.image_shape is None
    targets = None
    if wanted and dataset.classes is None and not isinstance(loss, losses.Poisson):
        targets = Standardizer.fit(parts.train.y)
    if loaded.table is not None:
        numbers = given.numbers or ("robust" if wanted else "none")
        table = TablePreprocessor(given.kinds, numbers).fit(x)
        return Preprocessing(table.encoder_, targets), table.reports_
    inputs = Standardizer.fit(x) if wanted else None
    names = dataset.feature_names if loaded.about else None
    scaled = x if inputs is None else inputs.scaled(x)
    lost = data.values_lost(x, names or (), scaled, given.dtype) if names else ()
    return Preprocessing(inputs, targets, names), [*lost]


# What a checkpoint must say of the call of `train`, with its type.
_SETTINGS = {"data": str, "epochs": int, "batch_size": int, "validation": float}


def settings(given: TrainOptions, source: str) -> dict[str, Any]:
    """What a later call must know to go on, besides what the checkpoint holds of itself."""
    return {
        "data": source,
        "epochs": given.epochs,
        "batch_size": given.batch_size,
        "validation": given.validation,
        "early_stopping": given.early_stopping or 0,
        "options": kept_options(given),
    }


def kept_options(given: TrainOptions) -> dict[str, Any]:
    """What cannot be changed with --resume, as JSON has it."""
    found = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in {**vars(given), **given.reading}.items()
        if name not in (*_OF_THE_CALL, "reading")
    }
    found.update((name, found.get(name)) for name in options.READING)
    return found


def go_on(given: TrainOptions, path: Path, explicit: list[str]) -> tuple[TrainOptions, Job]:
    """The job of a checkpoint, and the options that it was started with."""
    trainer = Trainer.load_checkpoint(path, n_threads=given.threads)
    saved = trainer.net.metadata.get("training")
    kinds = {**_SETTINGS, "early_stopping": int, "options": dict}
    if not isinstance(saved, dict) or any(type(saved.get(k)) is not t for k, t in kinds.items()):
        raise FormatError(f"{path}: not a checkpoint of cmlp train")
    before, now = saved["options"], kept_options(given)
    for name in explicit:
        if name not in _OF_THE_CALL and now.get(name) != before.get(name):
            raise ValueError(
                f"--{name.replace('_', '-')}: was {before.get(name)} and cannot be changed with "
                "--resume, expected only DATA, --epochs, --threads and the files"
            )
    given = replace(
        given,
        epochs=given.epochs if "epochs" in explicit else saved["epochs"],
        batch_size=saved["batch_size"],
        validation=saved["validation"],
        early_stopping=saved["early_stopping"] or None,
        last_epoch=bool(before.get("last_epoch")),
    )
    origin = Origin.of(trainer.net)
    source = given.source or saved["data"]
    trainer.net.metadata["training"] = {**settings(given, source), "options": before}
    loaded = model.load_for(trainer.net, origin, source)
    parts = data.part(loaded, origin.test_share, given.validation)
    return given, Job(trainer, origin, loaded, parts, source)


# ---- training --------------------------------------------------------------------------------


class _SaveAtEnd(callbacks.Callback):
    """Save a checkpoint when training ends: always, or when it was cut short."""

    def __init__(self, path: Path, always: bool) -> None:
        self.path, self.always = path, always

    def on_train_end(self, trainer: Trainer) -> None:
        if self.always or trainer.history.interrupted:
            trainer.save_checkpoint(self.path)


class _Announce(callbacks.Callback):
    """Show what was taken for what, once nothing is left to be refused."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def on_train_begin(self, trainer: Trainer) -> None:
        output.show(f"cmlp train {self.job.dataset.name}", announced(self.job))


# Epochs without a better loss that no training has.
_NEVER = 1 << 40


def fit(given: TrainOptions, job: Job, out: Path) -> int | None:
    """Train; after Ctrl-C there is a checkpoint.  The epoch that is kept, None for the last."""
    checkpoint = given.checkpoint or out.with_suffix(".checkpoint.safetensors")
    output.check_place(checkpoint, "--checkpoint")
    # The order is that of the states in a checkpoint.  The first one saves the last weights,
    # before early stopping puts the best ones back.
    observers: list[Any] = [_SaveAtEnd(checkpoint, given.checkpoint is not None)]
    best = None
    if given.early_stopping or (given.validation and not given.last_epoch):
        best = callbacks.EarlyStopping(given.early_stopping or _NEVER)
        observers.append(best)
    observers += [_Announce(job), callbacks.ProgressBar()]
    if given.checkpoint:
        every = given.checkpoint_every
        observers.append(
            callbacks.ModelCheckpoint(checkpoint, int(every) if every.isdecimal() else every)
        )
    train_part, held_out = job.parts.train, job.parts.validation
    try:
        job.trainer.fit(
            train_part.x,
            job.targets(train_part.y),
            epochs=given.epochs,
            batch_size=given.batch_size,
            validation=held_out and (held_out.x, job.targets(held_out.y)),
            callbacks=observers,
        )
    except KeyboardInterrupt:
        output.note(
            f"interrupted in epoch {job.trainer.epoch + 1}; to go on: "
            f"cmlp train --resume {shlex.quote(str(checkpoint))}"
        )
        raise
    return None if best is None else best.best_epoch


# ---- after training --------------------------------------------------------------------------


def results(job: Job, kept: int | None) -> dict[str, str]:
    """The rows of the table."""
    trainer, test = job.trainer, job.parts.test
    predicted = model.predictions(trainer.net, test.x)
    epochs = len(trainer.history)
    seconds = float(np.nansum(trainer.history["seconds"])) if epochs else 0.0
    rate = epochs * len(job.parts.train.x) / seconds if seconds else 0.0
    return {
        **{f"test {k}": v for k, v in model.scores(test.y, predicted).items()},
        **kept_epoch(trainer.history, kept),
        "epochs": str(epochs),
        "seconds": f"{seconds:.3f}",
        "samples per second": f"{rate:.0f}",
        "threads": str(trainer.n_threads or _core.default_threads()),
        "instruction set": str(_core.get_isa()),
    }


def kept_epoch(history: History, kept: int | None) -> dict[str, str]:
    """Which epoch is kept, if it is not the last."""
    if kept is None:
        return {}
    losses = dict(zip(history["epoch"], history["validation_loss"], strict=True))
    if kept not in losses or kept == max(losses):
        return {}
    best, last = losses[kept], losses[max(losses)]
    return {
        "kept": f"epoch {kept}, validation loss {best:.4g}; that of the last epoch is {last:.4g}"
    }


def draw(job: Job, path: Path) -> None:
    """Loss curves; confusions or predicted values; regions where the data are points."""
    from .. import plots

    net, test = job.trainer.net, job.parts.test
    plane = job.dataset.name in datasets.POINTS_2D
    figure = output.new_figure(15 if plane else 10.5, 4.5)
    axes = figure.subplots(1, 3 if plane else 2)
    plots.loss_curves(job.trainer.history, ax=axes[0])
    predicted = model.predictions(net, test.x)
    if net.classes is None:
        plots.predicted_values(test.y, predicted, ax=axes[1])
    else:
        plots.confusion_matrix(test.y, predicted, net.classes, ax=axes[1])
    if plane:
        plots.decision_regions(net, test.x, test.y, extent=plots.SQUARE, ax=axes[2])
    figure.suptitle(f"{job.dataset.name}: training, and test on {len(test.x):,} other samples")
    output.save_figure(path, figure)
