"""The command ``cmlp``: its parts, and what becomes of errors."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from .. import _core
from ..errors import DivergenceError
from . import output
from .apply import evaluate, predict
from .describe import describe
from .export import export
from .page import playground
from .playground import playground_run
from .train import train

# What comes of wrong files, data and options.  Anything else is a fault of this program.
_USERS_ERRORS = (ValueError, OSError, ImportError, MemoryError)


class App(click.Group):
    """A group of commands whose errors are one line, and exit codes 0, 1, 2 and 130."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order in which they were added."""
        return list(self.commands)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; exits if ``standalone_mode``."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        code, message = 0, ""
        try:
            result = super().main(args, prog_name, complete_var, False, **extra)
            code = result if isinstance(result, int) else 0
        except click.Abort:
            code = 130
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "cmlp"
            code, message = 2, f"{error.format_message()} (see {command} --help)"
        except click.ClickException as error:
            code, message = 2, error.format_message()
        except DivergenceError as error:
            code, message = 1, str(error)
        except _USERS_ERRORS as error:
            if getattr(error, "errno", None) == errno.EPIPE:
                raise
            code, message = 2, message_of(error)
        if message:
            click.echo(f"cmlp: {' '.join(message.split())}", err=True)
        sys.exit(code)


def message_of(error: Exception) -> str:
    """What an error says, the file first where the system names one."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


_SETTINGS = {"show_default": True, "help_option_names": ["-h", "--help"]}


@click.group(cls=App, invoke_without_command=True, context_settings=_SETTINGS)
@click.version_option(_core.info()["version"], prog_name="cmlp")
@click.pass_context
def app(context: click.Context) -> None:
    """Train multilayer perceptrons and use them.

    DATA is a name (digits, circle, xor, gauss, spiral, plane, multi_gaussian), a table (CSV, TSV,
    Parquet, Feather, JSON lines or NPZ; .gz, .bz2, .xz or .zst; - is CSV from standard input), or
    a folder of IDX files as MNIST has them.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (train, evaluate, predict, describe, export, playground, playground_run):
    app.add_command(command)


@app.command()
def info() -> None:
    """Show version, instruction set, threads."""
    shown = {
        name: ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        for name, value in _core.info().items()
    }
    output.show("cmlp", shown)


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def bench(args: tuple[str, ...]) -> int:
    """Time cmlp and its peers side by side."""
    try:
        module = import_module("cmlp.bench.__main__")
    except ImportError as error:
        raise ImportError(
            f"the bench needs more packages: pip install cmlp[bench] ({error})"
        ) from error
    return int(module.main(list(args)))
