"""`to_onnx` and `to_c` of the estimators."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from ..export.c import write_c
from ..export.model import Function, Model
from ..export.onnx import write_onnx

if TYPE_CHECKING:
    from ..network import Sequential


class Exporting:
    """Mixin: files that give what ``predict`` and ``predict_proba`` give."""

    if TYPE_CHECKING:
        net_: Sequential
        out_activation_: str

        def _sync(self) -> None: ...

    def to_onnx(self, path: str | PathLike[str]) -> None:
        """Write an ONNX file, whole or not at all; see `Sequential.to_onnx`.

        The outputs of a classifier are ``label`` and ``probabilities``, that of a regressor is
        ``y`` (batch, n_outputs).

        Parameters
        ----------
        path : str or path
        """
        write_onnx(path, self._model())

    def to_c(self, path: str | PathLike[str], name: str = "predict") -> None:
        """Write a C99 file with a function, whole or not at all; see `Sequential.to_c`.

        Parameters
        ----------
        path : str or path
        name : str, default "predict"
        """
        write_c(path, self._model(), name)

    def _model(self) -> Model:
        check_is_fitted(self)
        self._sync()
        classes: Any = getattr(self, "classes_", None)
        if classes is None:
            made = Model.of(self.net_)
            return made.then(Function("exp")) if self.out_activation_ == "exp" else made
        several = self.out_activation_ == "logistic" and self.net_.n_out != 1
        return Model.of(self.net_, "multilabel" if several else "classifier", classes)
