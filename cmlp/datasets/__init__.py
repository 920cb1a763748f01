"""Data to train on: sets that ship with the package, sets that are drawn, and files.

`load` takes the name of a set or a path. Every set is a `Dataset`, whose `split` gives the same
training and test part each time.

`dataset` says what a set is, `sets` has those without files. `idx` reads pictures. `tables` reads
tables: `opening` has the bytes of a file, `dialect` guesses how text is laid out, `csv` and `rows`
read it, `columnar` reads Parquet and its like, `npz` arrays; `columns` chooses, `targets` tells
labels from numbers. The files that ship with the package are in the folder ``data``.  Of the
package this imports checks, errors, preprocessing and tables.
"""

from ..preprocessing import Standardizer
from ..table import Column, Table
from .dataset import Dataset, Split
from .idx import mnist, read_idx
from .loading import load, load_inputs
from .sets import (
    BOOLEAN_FUNCTIONS,
    FEATURES_2D,
    POINTS_2D,
    boolean,
    digits,
    features_2d,
    points_2d,
)
from .tables import load_table, read_table

__all__ = [
    "BOOLEAN_FUNCTIONS",
    "FEATURES_2D",
    "POINTS_2D",
    "Column",
    "Dataset",
    "Split",
    "Standardizer",
    "Table",
    "boolean",
    "digits",
    "features_2d",
    "load",
    "load_inputs",
    "load_table",
    "mnist",
    "points_2d",
    "read_idx",
    "read_table",
]
