"""The estimators as models of River (``pip install river``), which learn from dicts."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Self

from river import base
from sklearn.base import clone

from .classifier import MLPClassifier
from .regressor import MLPRegressor


class _Wrapped(base.Base):  # type: ignore[misc,unused-ignore]
    """Base of the two: a clone is declared as the estimator was, and has seen nothing."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        # What is known of the features now was declared, or fitted, before the stream.
        names = getattr(estimator, "feature_names_in_", None)
        self._features = (
            getattr(estimator, "n_features_in_", None) if names is None else list(names)
        )

    def _get_params(self) -> dict[str, Any]:
        fresh = clone(self.estimator)
        if isinstance(fresh, MLPClassifier):
            fresh.declare(self.estimator.classes_, self._features)
        elif hasattr(self.estimator, "n_outputs_"):
            fresh.declare(self.estimator.n_outputs_, self._features)
        return {"estimator": fresh}

    def clone(
        self, new_params: dict[str, Any] | None = None, include_attributes: bool = False
    ) -> Self:
        if include_attributes and not new_params:
            return type(self)(deepcopy(self.estimator))
        made: Self = super().clone(new_params, include_attributes)
        return made

    def learn_one(self, x: dict[Any, Any], y: Any) -> None:
        self.estimator.learn_one(x, y)

    def predict_one(self, x: dict[Any, Any], **_: Any) -> Any:
        return self.estimator.predict_one(x)


class RiverClassifier(_Wrapped, base.Classifier):  # type: ignore[misc,unused-ignore]
    """An `MLPClassifier` for River's pipelines and metrics.

    Parameters
    ----------
    estimator : MLPClassifier
        That knows its classes.
    """

    estimator: MLPClassifier

    @property
    def _multiclass(self) -> bool:
        return len(self.estimator.classes_) > 2

    def predict_proba_one(self, x: dict[Any, Any], **_: Any) -> dict[Any, float]:
        p: dict[Any, float] = self.estimator.predict_proba_one(x)
        return p


class RiverRegressor(_Wrapped, base.Regressor):  # type: ignore[misc,unused-ignore]
    """An `MLPRegressor` for River's pipelines and metrics.

    Parameters
    ----------
    estimator : MLPRegressor
    """

    estimator: MLPRegressor
