"""Tables and pictures."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show(title: str, rows: Mapping[str, str]) -> None:
    """Print a table; where the output is not a terminal, a line "name: value" for each row."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table("", "", title=title, title_justify="left", show_header=False)
        for name, value in rows.items():
            table.add_row(name, value)
        Console().print(table)
    else:
        for name, value in rows.items():
            click.echo(f"{name}: {value}")


def note(message: str) -> None:
    """Tell something that is not a result."""
    click.echo(f"cmlp: {message}", err=True)


def check_place(path: Path, option: str) -> None:
    """Refuse, before the work, a file that could not be written after it."""
    if path.is_dir() or not path.parent.is_dir():
        what = "a folder" if path.is_dir() else f"in {path.parent}, which is not a folder"
        raise ValueError(f"{option}: {path} is {what}, expected the name of a file")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{option}: no file can be written in {path.parent}")


# Endings of files that `cmlp train` does not write.
_OTHERS = (".onnx", ".c", ".h", ".pt", ".pth", ".pkl", ".joblib", ".h5", ".keras", ".json", ".csv")


def check_model(path: Path, option: str) -> None:
    """Refuse a place for a model file, and a name that promises another format."""
    check_place(path, option)
    if path.suffix.lower() in _OTHERS:
        exported = path.suffix.lower() in (".onnx", ".c")
        how = "; cmlp export writes such a file from a model" if exported else ""
        raise ValueError(
            f"{option}: {path} is no model file, expected a name that ends in .safetensors{how}"
        )


def check_picture(path: Path, option: str, film: bool = False) -> bool:
    """Tell whether pictures can be made; refuse one of a kind that cannot."""
    check_place(path, option)
    try:
        figure = new_figure(1, 1)
    except ImportError:
        note("no picture without matplotlib: pip install cmlp[plots]")
        return False
    kinds = sorted(figure.canvas.get_supported_filetypes())
    if not film and path.suffix.lower().removeprefix(".") not in kinds:
        raise ValueError(f"{option}: {path} is no picture, expected one of {', '.join(kinds)}")
    return True


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that no window will show."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(path: Path, figure: Figure) -> None:
    """Write a picture; a file cut short is removed."""
    try:
        figure.savefig(path, dpi=120)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
