"""The C interface, as the compiled core sees it."""

from cmlp cimport *
