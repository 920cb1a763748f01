"""Multilayer perceptrons on a CPU: layers, losses and training loops in compiled code."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

try:
    from ._core import info
except ModuleNotFoundError as error:
    if error.name != f"{__name__}._core":
        raise
    raise ImportError(
        f"cmlp is not compiled in {__path__[0]}: install it (pip install . in the checkout, or "
        "make dev to work on it), or start Python in another folder"
    ) from None
from . import export as export  # enters what writes nets to files
from .augment import Augment
from .errors import DivergenceError, FormatError
from .initializers import Constant, He, Initializer, Normal, Xavier, Zeros
from .layers import (
    ELU,
    GELU,
    AvgPool2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Identity,
    Layer,
    LeakyReLU,
    MaxPool2D,
    PReLU,
    ReLU,
    Reshape,
    RReLU,
    ScaledTanh,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Step,
    SubSample2D,
    Tanh,
    register_layer,
)
from .losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    Huber,
    Loss,
    Poisson,
    SoftmaxCrossEntropy,
    SquaredError,
)
from .network import Sequential
from .optimizers import LBFGS, SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop
from .preprocessing import Preprocessing
from .schedules import (
    Cosine,
    Exponential,
    Halving,
    InverseSqrt,
    InverseTime,
    MomentumStep,
    Plateau,
    Schedule,
    StepDecay,
    Warmup,
)
from .tabular import TablePreprocessor
from .training import (
    Callback,
    Converged,
    EarlyStopping,
    GradientMonitor,
    History,
    ModelCheckpoint,
    ProgressBar,
    Restarts,
    Runs,
    Session,
    Snapshot,
    Trainer,
    best_of,
    callbacks,
    fit_many,
)

if TYPE_CHECKING:
    from . import (
        cli,
        data,
        datasets,
        estimators,
        graph,
        initializers,
        kernels,
        layers,
        losses,
        many,
        models,
        optimizers,
        plots,
        preprocessing,
        schedules,
        training,
    )
    from .c_library import get_include, get_library_dir
    from .estimators import MLPClassifier, MLPRegressor
    from .export.files import load
    from .export.sklearn import from_sklearn, to_sklearn
    from .export.torch import from_torch, to_torch
    from .many import (
        CrossValidation,
        Ensemble,
        Population,
        Predictions,
        Sweep,
        cross_validate,
        predict_many,
        sweep,
    )

# Found at first use, so that importing the package stays quick.
_LATER = {
    "sweep": "many",
    "predict_many": "many",
    "cross_validate": "many",
    "Sweep": "many",
    "Predictions": "many",
    "Population": "many",
    "Ensemble": "many",
    "CrossValidation": "many",
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "from_sklearn": "export.sklearn",
    "from_torch": "export.torch",
    "get_include": "c_library",
    "get_library_dir": "c_library",
    "load": "export.files",
    "to_sklearn": "export.sklearn",
    "to_torch": "export.torch",
}
_MODULES = ("cli", "data", "datasets", "estimators", "graph", "kernels", "many", "models", "plots")

__version__: str = info()["version"]

__all__ = [
    "ELU",
    "GELU",
    "LBFGS",
    "SGD",
    "AbsoluteError",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Augment",
    "AvgPool2D",
    "BinaryCrossEntropy",
    "Callback",
    "Constant",
    "Conv2D",
    "Converged",
    "Cosine",
    "CrossValidation",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "Ensemble",
    "Exponential",
    "Flatten",
    "FormatError",
    "GradientMonitor",
    "Halving",
    "He",
    "History",
    "Huber",
    "Identity",
    "Initializer",
    "InverseSqrt",
    "InverseTime",
    "Layer",
    "LeakyReLU",
    "Loss",
    "MLPClassifier",
    "MLPRegressor",
    "MaxPool2D",
    "ModelCheckpoint",
    "MomentumStep",
    "Normal",
    "Optimizer",
    "PReLU",
    "Plateau",
    "Poisson",
    "Population",
    "Predictions",
    "Preprocessing",
    "ProgressBar",
    "RMSprop",
    "RReLU",
    "ReLU",
    "Reshape",
    "Restarts",
    "Runs",
    "ScaledTanh",
    "Schedule",
    "Sequential",
    "Session",
    "SiLU",
    "Sigmoid",
    "Snapshot",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Softsign",
    "SquaredError",
    "Step",
    "StepDecay",
    "SubSample2D",
    "Sweep",
    "TablePreprocessor",
    "Tanh",
    "Trainer",
    "Warmup",
    "Xavier",
    "Zeros",
    "__version__",
    "best_of",
    "callbacks",
    "cli",
    "cross_validate",
    "data",
    "datasets",
    "estimators",
    "fit_many",
    "from_sklearn",
    "from_torch",
    "get_include",
    "get_library_dir",
    "graph",
    "info",
    "initializers",
    "kernels",
    "layers",
    "load",
    "losses",
    "many",
    "models",
    "optimizers",
    "plots",
    "predict_many",
    "preprocessing",
    "register_layer",
    "schedules",
    "sweep",
    "to_sklearn",
    "to_torch",
    "training",
]


# Who imports everything gets what there is.
if find_spec("sklearn") is None:
    __all__ = [name for name in __all__ if _LATER.get(name, name) != "estimators"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _LATER:
        value = getattr(import_module(f".{_LATER[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
