"""`MLPClassifier` and `MLPRegressor`: multilayer perceptrons with scikit-learn's contract.

Everything that scikit-learn's two classes of these names have is here with the same meaning, and
more; they need scikit-learn 1.6 (``pip install cmlp[sklearn]``).  `as_river` makes models of River
of them.

Of the package this imports training, nets, layers and `export`; only the command line and
conversions to and from scikit-learn may import this.
"""

from __future__ import annotations

from typing import Any

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "cmlp.estimators needs scikit-learn 1.6 or later: pip install cmlp[sklearn]"
    ) from error

from .classifier import MLPClassifier
from .regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "as_river"]


def as_river(estimator: MLPClassifier | MLPRegressor) -> Any:
    """The estimator as a model of River, for its pipelines, metrics and streams.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        A classifier must know its classes: ``MLPClassifier().declare([False, True])``.

    Returns
    -------
    river.base.Classifier or river.base.Regressor
        It shares the estimator, which learns with it.
    """
    try:
        from .river import RiverClassifier, RiverRegressor
    except ImportError as error:
        raise ImportError("as_river needs River: pip install river") from error
    if isinstance(estimator, MLPRegressor):
        return RiverRegressor(estimator)
    if isinstance(estimator, MLPClassifier) and hasattr(estimator, "classes_"):
        return RiverClassifier(estimator)
    raise TypeError(
        f"estimator is {estimator!r}; expected an MLPRegressor, or an MLPClassifier that knows its "
        "classes"
    )
