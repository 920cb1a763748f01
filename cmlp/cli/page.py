"""`cmlp playground`: the live page in the browser."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click

from .. import datasets

_PACKAGES = ("starlette", "uvicorn", "websockets", "anyio", "h11")


def fragment(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """The part of an address that says which experiment it is."""
    return quote(value.partition("#")[2] if "#" in value else value, safe="=&,%._-")


@click.command()
@click.argument("experiment", default="", metavar="[EXPERIMENT]", callback=fragment)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default="any free one",
    help="Where the page is served, on this machine alone.",
)  # fmt: skip
@click.option("--browser/--no-browser", default=True, help="Open it, or only print its address.")
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FILE",
    help="A table of two inputs and a target to begin with.",
)  # fmt: skip
@click.option(
    "--mnist", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Where MNIST's files are, for the page of handwritten digits.",
)  # fmt: skip
def playground(
    experiment: str, port: int, browser: bool, data: Path | None, mnist: Path | None
) -> None:
    """Open the live page: experiments as they are trained, with points of the plane or digits.

    EXPERIMENT is what an address of the page, or of TensorFlow Playground, has behind its #, or
    the whole address, in quotes.

    The address that is printed is for this machine and this call alone.  Ctrl-C ends it.
    """
    try:
        from ..playground import server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise ImportError(
            f"the page needs more packages: pip install cmlp[playground] ({error})"
        ) from error
    from ..playground.points import table_of

    table = None if data is None else table_of(data.name, datasets.load_table(data))
    server.serve(port, browser, table, experiment, tell=click.echo, mnist=mnist)
