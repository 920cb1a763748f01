"""`cmlp export`: a trained net as a file for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from ..export.c import write_c
from ..export.files import load
from ..export.model import Function, Model
from ..export.onnx import write_onnx
from ..network import Sequential
from . import model, output


@click.command()
@click.argument("model_file", metavar="MODEL")
@click.option(
    "--format", "kind", type=click.Choice(["onnx", "c"]), required=True,
    help="An ONNX file of opset 17, or one file of C99 with a function.",
)  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="The file to be written."
)
@click.option("--name", metavar="NAME", help="Of the function in C.  [default: predict]")
def export(model_file: str, kind: str, out: Path, name: str | None) -> None:
    """Write MODEL for use without cmlp.

    What is written takes samples as they are in the data and gives what `cmlp predict` gives:
    labels and probabilities, or numbers.
    """
    output.check_place(out, "--out")
    if name is not None and kind != "c":
        raise ValueError("--name: only a file of --format c has a function")
    net = load(model_file)
    made = whole(net)
    if kind == "c":
        write_c(out, made, "predict" if name is None else name)
    else:
        write_onnx(out, made)
    gives = "numbers" if made.head is None else "labels and probabilities"
    rows = {"inputs": str(made.n_in), "outputs": f"{made.n_out} {gives}"}
    output.show(f"{model_file} as {kind}", {"file": str(out), **rows})


def whole(net: Sequential) -> Model:
    """From inputs as they are in the data to labels, numbers or rates."""
    classes = model.classes_of(net)
    made = Model.of(net, None if classes is None else "classifier", classes)
    return made.then(Function("exp")) if classes is None and net.link == "exp" else made
