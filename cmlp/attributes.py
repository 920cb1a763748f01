"""What may be assigned to public objects: what is assigned takes effect, or is refused."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING


class Declared:
    """Base of the public classes; only attributes that a class declares can be assigned.

    A class declares an attribute by an annotation in its body, and the constructor assigns it
    once: from then on it is fixed.  What may change later is a property with a setter.  Constants
    of a class and its methods are fixed too, and there are no other public attributes.  Names that
    begin with an underscore are the class's own affair.

    A class that a user derives from one of these may have attributes of its own beside them.
    """

    if not TYPE_CHECKING:  # mypy takes a class with this method to have every attribute

        def __setattr__(self, name: str, value: object) -> None:
            if not name.startswith("_"):
                _check(self, name)
            super().__setattr__(name, value)


def _check(owner: Declared, name: str) -> None:
    """Raise AttributeError where an assignment would have no effect, or a wrong one."""
    kind: type = type(owner)
    if isinstance(getattr(kind, name, None), property):
        return
    declared = name in _declared(kind)
    if declared and name not in vars(owner):
        return
    if not declared and not _is_ours(kind):
        return
    if declared or hasattr(kind, name):
        raise AttributeError(f"{name} is fixed; make a new {kind.__name__} instead")
    raise AttributeError(f"{kind.__name__} has no attribute {name!r}")


@cache
def _declared(kind: type) -> frozenset[str]:
    """The names that a class and its bases here annotate and give no value."""
    found = {name for base in kind.__mro__ if _is_ours(base) for name in base.__annotations__}
    return frozenset(name for name in found if not hasattr(kind, name))


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == __name__.partition(".")[0]
