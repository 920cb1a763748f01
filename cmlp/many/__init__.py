"""Many nets at once: what is built on `cmlp.fit_many`.

`predict` asks many nets at once; `ensemble` are nets that predict together; `population` keeps the
parameters of nets of one shape in one array; `folds` is cross-validation; `sweeps` tries settings.
Of the package this imports training and what that imports.
"""

from .ensemble import Ensemble
from .folds import CrossValidation, cross_validate
from .population import Population
from .predict import Predictions, predict_many
from .sweeps import Sweep, sweep

__all__ = [
    "CrossValidation",
    "Ensemble",
    "Population",
    "Predictions",
    "Sweep",
    "cross_validate",
    "predict_many",
    "sweep",
]
