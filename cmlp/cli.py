"""The command ``cmlp``; its parts are in ``cmlp._cli``."""

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
        from ._cli.app import app
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        print("cmlp: the command line needs more packages: pip install cmlp[cli]", file=sys.stderr)
        sys.exit(2)
    app.main(args, prog_name="cmlp")
