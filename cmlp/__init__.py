"""Multilayer perceptrons on a CPU: layers, losses and training loops in compiled code."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._core import info
from .callbacks import (
    Callback,
    Converged,
    EarlyStopping,
    GradientMonitor,
    ModelCheckpoint,
    ProgressBar,
)
from .errors import DivergenceError, FormatError
from .history import History
from .initializers import Constant, He, Initializer, Normal, Xavier, Zeros
from .layers import (
    ELU,
    GELU,
    Dense,
    Dropout,
    Identity,
    Layer,
    LeakyReLU,
    PReLU,
    ReLU,
    RReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Step,
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
from .optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
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
from .trainer import Trainer

if TYPE_CHECKING:
    from . import (
        cli,
        datasets,
        estimators,
        graph,
        initializers,
        kernels,
        layers,
        losses,
        models,
        optimizers,
        plots,
        schedules,
    )
    from ._embedding import get_include, get_library_dir
    from ._export.sklearn import from_sklearn, to_sklearn
    from ._export.torch import from_torch, to_torch
    from ._files import load
    from .estimators import MLPClassifier, MLPRegressor
    from .restarts import Restarts, best_of

# Found at first use, so that importing the package stays quick.
_LATER = {
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "Restarts": "restarts",
    "best_of": "restarts",
    "from_sklearn": "_export.sklearn",
    "from_torch": "_export.torch",
    "get_include": "_embedding",
    "get_library_dir": "_embedding",
    "load": "_files",
    "to_sklearn": "_export.sklearn",
    "to_torch": "_export.torch",
}
_MODULES = ("cli", "datasets", "estimators", "graph", "kernels", "models", "plots")

__version__: str = info()["version"]

__all__ = [
    "ELU",
    "GELU",
    "LBFGS",
    "SGD",
    "AbsoluteError",
    "Adagrad",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "Callback",
    "Constant",
    "Converged",
    "Cosine",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "Exponential",
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
    "ModelCheckpoint",
    "MomentumStep",
    "Normal",
    "Optimizer",
    "PReLU",
    "Plateau",
    "Poisson",
    "ProgressBar",
    "RMSprop",
    "RReLU",
    "ReLU",
    "Restarts",
    "Schedule",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Softsign",
    "SquaredError",
    "Step",
    "StepDecay",
    "Tanh",
    "Trainer",
    "Warmup",
    "Xavier",
    "Zeros",
    "__version__",
    "best_of",
    "cli",
    "datasets",
    "estimators",
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
    "models",
    "optimizers",
    "plots",
    "register_layer",
    "schedules",
    "to_sklearn",
    "to_torch",
]


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
