"""`cmlp playground-run`: one experiment with points of the plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from .. import datasets, losses
from ..datasets.dataset import Dataset, Split
from ..training import callbacks
from ..training.history import History
from ..training.trainer import Trainer
from . import build, options, output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]

_DEFAULTS = options.Defaults(
    layers="4,2", activation="tanh", optimizer="sgd", epochs=300, batch_size=10
)
_MOST_LAYERS_DRAWN = 6
_MOST_UNITS_DRAWN = 8


@dataclass(frozen=True)
class PlaygroundOptions(build.NetOptions):
    """The options of the command."""

    name: str
    n: int | None
    noise: float
    test_share: float
    features: tuple[str, ...]
    out: Path | None
    frames: int


class Snapshots(callbacks.Callback):
    """The weights before training and after some epochs, evenly spread."""

    def __init__(self, epochs: int, n: int) -> None:
        self.wanted = {round(k * epochs / n) for k in range(n + 1)}
        self.weights: dict[int, Array] = {}

    def on_train_begin(self, trainer: Trainer) -> None:
        self.weights[trainer.epoch] = trainer.net.get_flat()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> None:
        epoch = int(row["epoch"])
        if epoch in self.wanted:
            self.weights[epoch] = trainer.net.get_flat()


@dataclass(frozen=True)
class Experiment:
    """What is drawn: a trained net, its data and its history."""

    trainer: Trainer
    history: History
    dataset: Dataset
    split: Split
    features: Sequence[str]
    epochs: int


@click.command("playground-run")
@click.argument("name", metavar="[SET]", type=click.Choice(datasets.POINTS_2D), default="circle")
@click.option(
    "--n",
    type=click.IntRange(2, 10**7),
    metavar="N",
    help="Number of points.  [default: 500, or 1200 for numbers]",
)
@click.option("--noise", type=click.FloatRange(0, 0.5), default=0.0)
@click.option("--test-share", type=options.SHARE, default=0.5, help="Share of the test points.")
@click.option(
    "--features", callback=options.names, default="x1,x2", metavar="NAME,...",
    help=f"What the net is fed: some of {', '.join(datasets.FEATURES_2D)}.",
)  # fmt: skip
@options.net_and_training(_DEFAULTS)
@click.option(
    "--out", type=click.Path(path_type=Path),
    help="The picture; a name that ends in .gif makes a film of the training.  "
    "[default: SET.png]",
)  # fmt: skip
@click.option("--frames", type=click.IntRange(1, 500), default=20, help="Pictures of a film.")
def playground_run(**values: Any) -> None:
    """Do an experiment in the plane, and draw it.

    The picture has the regions, what the hidden units respond to, and the losses.  SET is
    circle, xor, gauss or spiral (two classes), plane or multi_gaussian (numbers).
    """
    given = PlaygroundOptions(**values)
    out = given.out or Path(f"{given.name}.png")
    film = out.suffix.lower() == ".gif"
    draws = output.check_picture(out, "--out", film)
    snapshots = Snapshots(given.epochs, given.frames)
    experiment = run(given, [snapshots] if film else [])
    rows = results(experiment)
    if draws:
        if film:
            save_film(out, experiment, snapshots)
        else:
            output.save_figure(out, draw(new_canvas(experiment), experiment))
        rows["picture"] = str(out)
    output.show(f"cmlp playground-run {given.name}", rows)


def run(given: PlaygroundOptions, observers: Sequence[Any]) -> Experiment:
    """Do the experiment."""
    dataset = datasets.points_2d(
        given.name, given.n, noise=given.noise, seed=given.seed, test_share=given.test_share
    )
    split = dataset.split()
    x, x_test = (datasets.features_2d(part, given.features) for part in (split[0], split[2]))
    loss = losses.SquaredError() if dataset.classes is None else losses.BinaryCrossEntropy()
    trainer = build.make_trainer(given, loss, x.shape[1], 1, len(x))
    history = trainer.fit(
        x,
        split.y_train,
        epochs=given.epochs,
        batch_size=given.batch_size,
        validation=(x_test, split.y_test),
        callbacks=[*observers, callbacks.ProgressBar()],
    )
    return Experiment(trainer, history, dataset, split, given.features, given.epochs)


def results(experiment: Experiment) -> dict[str, str]:
    """The rows of the table."""
    row = experiment.history.last()
    found = {"training loss": f"{row['loss']:.4g}", "test loss": f"{row['validation_loss']:.4g}"}
    if "validation_accuracy" in row:
        found["test accuracy"] = f"{100 * row['validation_accuracy']:.2f} %"
    found["epochs"] = str(len(experiment.history))
    found["seconds"] = f"{np.sum(experiment.history['seconds']):.3f}"
    return found


# ---- pictures --------------------------------------------------------------------------------


def new_canvas(experiment: Experiment) -> Figure:
    """A figure of the size that the experiment needs."""
    shown = min(len(hidden_layers(experiment)), _MOST_LAYERS_DRAWN)
    return output.new_figure(8.5 + 1.5 * shown, 5)


def hidden_layers(experiment: Experiment) -> range:
    """The hidden layers of the net, by number."""
    from ..layers import Dense

    n_dense = sum(isinstance(layer, Dense) for layer in experiment.trainer.net.layers)
    return range(n_dense - 1)


def draw(figure: Figure, experiment: Experiment, epoch: int | None = None) -> Figure:
    """Draw units, regions and the losses up to an epoch on an empty figure."""
    from .. import plots

    net, split, features = experiment.trainer.net, experiment.split, experiment.features
    hidden = hidden_layers(experiment)[:_MOST_LAYERS_DRAWN]
    axes = figure.subplots(1, len(hidden) + 2, width_ratios=[1.0] * len(hidden) + [3.2, 2.4])
    for layer in hidden:
        plots.hidden_units(
            net, layer, features=features, n_units=_MOST_UNITS_DRAWN, n_columns=1, ax=axes[layer]
        )
        axes[layer].set_title(f"hidden {layer + 1}")
        axes[layer].set(xlabel="x1", ylabel="x2", anchor="N")
    plots.decision_regions(
        net, split.x_test, split.y_test, features=features, extent=plots.SQUARE, ax=axes[-2]
    )
    axes[-2].set_aspect("equal")
    columns = experiment.history.to_dict()
    shown = len(experiment.history) if epoch is None else epoch
    plots.loss_curves({name: column[:shown] for name, column in columns.items()}, ax=axes[-1])
    losses_drawn = np.array([columns["loss"], columns["validation_loss"]])
    if losses_drawn.min() > 0:  # the same scale in all pictures of a film
        axes[-1].set_ylim(0.8 * losses_drawn.min(), 1.25 * losses_drawn.max())
    axes[-1].set_xlim(0, experiment.epochs)
    axes[-1].legend(["training", "test"])
    return figure


def save_film(path: Path, experiment: Experiment, snapshots: Snapshots) -> None:
    """Write a GIF with a picture for each snapshot."""
    from matplotlib.animation import PillowWriter

    figure = new_canvas(experiment)
    net = experiment.trainer.net
    writer = PillowWriter(fps=6)
    with writer.saving(figure, str(path), dpi=80):
        for epoch, weights in snapshots.weights.items():
            net.set_flat(weights)
            figure.clear()
            draw(figure, experiment, epoch)
            figure.suptitle(f"{experiment.dataset.name}, epoch {epoch}")
            writer.grab_frame()
