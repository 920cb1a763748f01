"""The estimators as models of River (``pip install river``), which learn from dicts."""

from __future__ import annotations

from typing import Any

from river import base

from .classifier import MLPClassifier
from .regressor import MLPRegressor


class RiverClassifier(base.Classifier):  # type: ignore[misc,unused-ignore]
    """An `MLPClassifier` for River's pipelines and metrics.

    Parameters
    ----------
    estimator : MLPClassifier
        That knows its classes.
    """

    def __init__(self, estimator: MLPClassifier) -> None:
        self.estimator = estimator

    @property
    def _multiclass(self) -> bool:
        return len(self.estimator.classes_) > 2

    def learn_one(self, x: dict[Any, Any], y: Any) -> None:
        self.estimator.learn_one(x, y)

    def predict_one(self, x: dict[Any, Any], **_: Any) -> Any:
        return self.estimator.predict_one(x)

    def predict_proba_one(self, x: dict[Any, Any], **_: Any) -> dict[Any, float]:
        p: dict[Any, float] = self.estimator.predict_proba_one(x)
        return p


class RiverRegressor(base.Regressor):  # type: ignore[misc,unused-ignore]
    """An `MLPRegressor` for River's pipelines and metrics.

    Parameters
    ----------
    estimator : MLPRegressor
    """

    def __init__(self, estimator: MLPRegressor) -> None:
        self.estimator = estimator

    def learn_one(self, x: dict[Any, Any], y: Any) -> None:
        self.estimator.learn_one(x, y)

    def predict_one(self, x: dict[Any, Any]) -> Any:
        return self.estimator.predict_one(x)
