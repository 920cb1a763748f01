"""Data that are larger than memory, read piece by piece while a net is trained.

`Source` says where the data are and in which order an epoch takes them; `Trainer.fit` and the
estimators take one in place of x and y.  `blocks` is what a source reads, `files`, `tables` and
`chunks` are the kinds of that, `order` is the order of an epoch's samples, `feed` reads ahead on
threads of its own.  Of the package this imports checks and errors.
"""

from .source import Source

__all__ = ["Source"]
