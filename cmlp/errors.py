"""The exceptions that are cmlp's own; everything else raises ValueError, TypeError or OSError."""

__all__ = ["DivergenceError", "FormatError"]


class FormatError(ValueError):
    """A file is damaged, or is not what it is read as.

    Raised by every reader of files: models, checkpoints and data. The message is one line that
    names the file, the place in it where there is one, and what was expected. Nothing is kept
    from such a file, and the sizes that it states are checked before memory is taken for them.
    """


class DivergenceError(ArithmeticError):
    """The loss became NaN or infinite while training.

    The network keeps the weights of the last epoch whose loss was finite. A smaller learning
    rate, standardised inputs or gradient clipping are the usual remedies.
    """


def one_line(error: BaseException) -> str:
    """Another library's message about a file, printable and short, whatever the file holds."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in line[:200])
