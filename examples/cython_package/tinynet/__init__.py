"""A net with one hidden layer that is trained without the interpreter."""

from .net import Net

__all__ = ["Net"]
