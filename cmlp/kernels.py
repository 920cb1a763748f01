"""The compiled kernels on plain arrays, for other people's loops.

Arrays are row-major; any other array-like is converted, and all inputs of a call take their common
type, float32 or float64.  ``out`` must be C-contiguous, of that type and the result's shape, apart
from the inputs unless said otherwise; it is overwritten and returned.  ``n_threads`` is the most
threads to use, all that the process may use if None; the numbers are the same for any.
Errors are ValueError or TypeError that name the argument, before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from . import _core
from .checks import Array

__all__ = [
    "activation_backward",
    "activation_forward",
    "dense_backward_dw",
    "dense_backward_dx",
    "dense_backward_update",
    "dense_forward",
    "log_softmax",
    "loss_delta",
    "softmax",
    "update",
]


def dense_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    activation: str = "identity",
    param: float | None = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array:
    """y = f(x w^T + b).

    Parameters
    ----------
    x : array_like of shape (batch, n_in)
    w : array_like of shape (n_out, n_in)
    b : array_like of shape (n_out,), optional
        Zero if None.
    activation : str, default "identity"
        f, a name that `cmlp.Dense` takes.
    param : float, optional
        The activation's setting (slope or alpha); its default if None.
    out : ndarray of shape (batch, n_out), optional
    n_threads : int, optional

    Returns
    -------
    ndarray of shape (batch, n_out)

    Examples
    --------
    >>> dense_forward([[1.0, 2.0]], [[3.0, 4.0], [-5.0, 0.0]], [0.5, 0.5], activation="relu")
    array([[11.5,  0. ]])
    """
    return _core.dense_forward(x, w, b, activation, param, out, n_threads)


def dense_backward_dx(
    dy: ArrayLike,
    w: ArrayLike,
    y: ArrayLike | None = None,
    activation: str = "identity",
    param: float | None = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array:
    """dx = (dy w) * f'(y): through a dense layer and the activation f before it.

    Parameters
    ----------
    dy : array_like of shape (batch, n_out)
    w : array_like of shape (n_out, n_in)
    y : array_like of shape (batch, n_in), optional
        Output of the activation, or its input where the derivative is written in that (gelu,
        silu).  None without an activation.
    activation : str, default "identity"
        Any but softmax.
    param : float, optional
    out : ndarray of shape (batch, n_in), optional
    n_threads : int, optional

    Returns
    -------
    ndarray of shape (batch, n_in)
    """
    return _core.dense_backward_dx(dy, w, y, activation, param, out, n_threads)


def dense_backward_dw(
    dy: ArrayLike,
    x: ArrayLike,
    out: Array | None = None,
    out_db: Array | None = None,
    n_threads: int | None = None,
) -> tuple[Array, Array]:
    """dw = dy^T x and db = sum of dy over the batch.

    Parameters
    ----------
    dy : array_like of shape (batch, n_out)
    x : array_like of shape (batch, n_in)
    out : ndarray of shape (n_out, n_in), optional
    out_db : ndarray of shape (n_out,), optional
    n_threads : int, optional

    Returns
    -------
    dw : ndarray of shape (n_out, n_in)
    db : ndarray of shape (n_out,)
    """
    return _core.dense_backward_dw(dy, x, out, out_db, n_threads)


def dense_backward_update(
    dy: ArrayLike,
    x: ArrayLike,
    w: Array,
    b: Array,
    kind: str,
    slots: Sequence[Array],
    lr: float,
    step: int = 1,
    n_threads: int | None = None,
    **options: float,
) -> None:
    """`dense_backward_dw` and `update` in one pass: the gradient is never stored.

    Parameters
    ----------
    dy : array_like of shape (batch, n_out)
    x : array_like of shape (batch, n_in)
    w : ndarray of shape (n_out, n_in)
        Changed in place.
    b : ndarray of shape (n_out,)
        Changed in place; never decayed.
    kind, lr, step, **options
        See `update`.
    slots : sequence of ndarray
        The optimizer's running values, changed in place: those of w, then those of b.
    n_threads : int, optional
    """
    _core.dense_backward_update(dy, x, w, b, kind, slots, lr, step, n_threads, **options)


def activation_forward(
    x: ArrayLike,
    activation: str,
    param: float | None = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array:
    """y = f(x), over rows for softmax and element by element for all others.

    Parameters
    ----------
    x : array_like of any shape
    activation : str
    param : float, optional
    out : ndarray of x's shape, optional
        May be x itself.
    n_threads : int, optional

    Returns
    -------
    ndarray of x's shape
    """
    return _core.activation_forward(x, activation, param, out, n_threads)


def activation_backward(
    dy: ArrayLike,
    y: ArrayLike,
    activation: str,
    param: float | None = None,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array:
    """dx = dy f'(y).

    Parameters
    ----------
    dy : array_like of any shape
    y : array_like of dy's shape
        Output of the activation, or its input where the derivative is written in that (gelu,
        silu).
    activation : str
        Any but step, which has no useful derivative.
    param : float, optional
    out : ndarray of dy's shape, optional
        May be dy itself.
    n_threads : int, optional

    Returns
    -------
    ndarray of dy's shape
    """
    return _core.activation_backward(dy, y, activation, param, out, n_threads)


def softmax(x: ArrayLike, out: Array | None = None, n_threads: int | None = None) -> Array:
    """exp(x_i) / sum_k exp(x_k) over the last dimension; finite for any finite x.

    Parameters
    ----------
    x : array_like of any shape
    out : ndarray of x's shape, optional
        May be x itself.
    n_threads : int, optional

    Returns
    -------
    ndarray of x's shape

    Examples
    --------
    >>> softmax([1000.0, 1000.0])
    array([0.5, 0.5])
    """
    return _core.softmax(x, out, n_threads)


def log_softmax(x: ArrayLike, out: Array | None = None, n_threads: int | None = None) -> Array:
    """Logarithm of `softmax`, computed without it: x_i - max x - ln sum_k exp(x_k - max x).

    Parameters
    ----------
    x : array_like of any shape
    out : ndarray of x's shape, optional
        May be x itself.
    n_threads : int, optional

    Returns
    -------
    ndarray of x's shape
    """
    return _core.log_softmax(x, out, n_threads)


def loss_delta(
    loss: str,
    y: Array,
    t: Array,
    sample_weight: Array | None = None,
    param: float | None = None,
    out: Array | None = None,
) -> tuple[Array, float]:
    """Gradient of a mean loss by the outputs, and the loss.

    For softmax cross-entropy the gradient is (softmax(y) - t) / batch, for binary cross-entropy
    (sigmoid(y) - t) / batch, for the squared error (y - t) / batch.

    Parameters
    ----------
    loss : str
        "softmax_cross_entropy", "binary_cross_entropy", "squared_error", "absolute_error",
        "huber" or "poisson".
    y : ndarray of shape (batch, n_out), float32 or float64
        Logits for the first two, logarithms of rates for "poisson".
    t : ndarray of shape (batch, n_out) and y's type, or (batch,) int64
        Targets; labels for softmax cross-entropy alone.
    sample_weight : ndarray of shape (batch,) and y's type, optional
        Factors of the rows' losses; the sum is divided by batch.
    param : float, optional
        huber: where it turns linear; softmax cross-entropy: label smoothing.
    out : ndarray of shape (batch, n_out), optional

    Returns
    -------
    dy : ndarray of shape (batch, n_out)
    loss : float
    """
    return _core.loss_delta(loss, param, y, t, sample_weight, out)


def update(
    kind: str,
    w: Array,
    dw: ArrayLike,
    slots: Sequence[Array],
    lr: float,
    step: int = 1,
    n_threads: int | None = None,
    **options: float,
) -> None:
    """One step of an optimizer on an array; the formulas are those of `cmlp.optimizers`.

    Parameters
    ----------
    kind : {"sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta"}
    w : ndarray, float32 or float64
        Changed in place.
    dw : array_like of w's shape
    slots : sequence of ndarray of w's shape and type
        Running values, zeros at first, changed in place, as the optimizer's class names them:
        [velocity] for sgd, [m, v] for adam.
    lr : float
    step : int, default 1
        Number of the step from 1 on, for the bias of adam's means.
    n_threads : int, optional
    **options : float
        momentum, nesterov, weight_decay, l1, beta1, beta2, eps, rho, clip_value.
    """
    _core.update(kind, w, dw, slots, lr, step, n_threads, **options)
