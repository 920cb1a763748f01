"""``python -m cmlp`` is the command ``cmlp``."""

from .cli import main

main()
