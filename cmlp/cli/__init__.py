"""The command ``cmlp``: a module for each group of commands, and what they share.

app       the command itself, errors and exit codes
options   the options that several commands have
build     from options to a trainer
data      from a name or a file to samples, standardised as the model file says
output    tables and pictures

It may import the whole package; nothing imports it.  The parts need click and rich, which this
file does without.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line, and exit.

    Parameters
    ----------
    args : sequence of str, optional
        What follows ``cmlp``; by default the arguments of the process.

    Raises
    ------
    SystemExit
        With 0; 1 where training diverged; 2 for wrong options and files; 130 after Ctrl-C.
    """
    try:
        from .app import app
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        print("cmlp: the command line needs more packages: pip install cmlp[cli]", file=sys.stderr)
        sys.exit(2)
    app.main(args, prog_name="cmlp")
