"""The compiled core: packed layers, optimizer state, training plans and kernels."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Array: TypeAlias = NDArray[Any]

def info() -> dict[str, Any]:
    """Version, instruction set and sets available, threads, compiler, OpenMP."""

def default_threads() -> int:
    """Threads used when ``n_threads`` is None: affinity, cgroup and OMP_NUM_THREADS respected."""

def available_isas() -> list[str]: ...
def get_isa() -> str: ...
def set_isa(name: str) -> None:
    """Instruction set of layers and kernels made from now on (tests; users set CMLP_ISA)."""

def activations() -> dict[str, dict[str, Any]]:
    """Name -> {"param": default or None, "trainable": bool, "elementwise": bool}."""

def losses() -> dict[str, dict[str, Any]]:
    """Name -> {"param": default or None, "labels": True where integer labels are accepted}."""

def optimizers() -> dict[str, dict[str, Any]]:
    """Name -> {"slots": names of the running values that it keeps}."""

def layer_kinds() -> list[str]:
    """Names of the kinds of layers."""

def pair_mode(activation: str, loss: str) -> str:
    """How an output activation goes with a loss: "fused", "chain" or "refused"."""

def permutation(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of samples in an epoch: Fisher-Yates driven by Philox4x32-10 keyed by the seed."""

def limit_threads(on: bool) -> None:
    """With False, more threads than processors are really started (tests)."""

def fma_peak(n_threads: int = 1, seconds: float = 0.2, dtype: str = "float32") -> float:
    """GFLOP/s of independent multiply-adds in registers, with the instruction set in use."""

@final
class Layer:
    """One layer with its packed parameters.

    kind: one of `layer_kinds`.  n_in == n_out but for dense, conv and pooling.  shapes: of input
    and output, for reshape and those with a window; window: kernel, stride, padding at the top,
    left, bottom and right, and what of the last two a mean leaves out.
    activation: for dense (fused) and "activation".  param: the activation's slope or alpha, the
    dropout rate, PReLU's initial slope; rrelu takes (lower, upper).
    """

    def __new__(
        cls,
        kind: str,
        n_in: int,
        n_out: int,
        dtype: str = "float32",
        activation: str = "identity",
        param: float | tuple[float, float] | None = None,
        bias: bool = True,
        shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
        window: tuple[int, ...] | None = None,
        connections: _Array | None = None,
    ) -> Self: ...
    @property
    def kind(self) -> str: ...
    @property
    def n_in(self) -> int: ...
    @property
    def n_out(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def activation(self) -> str: ...
    @property
    def param(self) -> tuple[float, float]: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def isa(self) -> str: ...
    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name -> shape, in flat order: "weight", "bias" or "slope"; empty if none."""
    @property
    def decays(self) -> dict[str, bool]:
        """Parameter name -> whether weight decay and L1 act on it."""
    @property
    def rows(self) -> int:
        """Rows of the minibatch that the gradients are of; 0 before a backward pass."""
    # False: plans and optimizers made from now on leave the layer alone; its gradients are zeros.
    trainable: bool
    def get(self, name: str) -> _Array:
        """A read-only copy of a parameter (user's layout)."""
    def set(self, name: str, value: ArrayLike) -> None:
        """Pack a parameter; the value must have its exact shape.  Its numbers are not checked."""
    def get_grad(self, name: str) -> _Array:
        """A read-only copy of the gradient of the last backward pass (zeros before)."""
    def set_grad(self, name: str, value: ArrayLike) -> None: ...
    def copy(self) -> Layer: ...

@final
class LayerList:
    """The layers of a net: their parameters as one vector, layer after layer, part after part.

    All of one dtype and instruction set.
    """

    def __new__(cls, layers: Sequence[Layer]) -> Self: ...
    @property
    def layers(self) -> tuple[Layer, ...]: ...
    @property
    def n_parameters(self) -> int: ...
    def join(self) -> None:
        """Move the parameters into one block; nobody else may use the layers meanwhile."""
    def get(self, gradients: bool = False) -> _Array:
        """A copy of all parameters, or of the gradients of the last backward pass."""
    def set(self, values: _Array, gradients: bool = False) -> None: ...
    def lerp(self, other: LayerList, tau: float) -> None:
        """Set w to (1 - tau) w + tau w_other."""

@final
class State:
    """An optimizer's settings and its state for a list of layers.

    kind: "sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta".  options, all floats with
    defaults: momentum, nesterov (0/1), weight_decay, l1, beta1, beta2, eps, rho, clip_value,
    clip_norm (0: none), decay_over_batch (1: weight_decay and l1 are divided by the rows of the
    minibatch), eps_inside (1: Adam's eps is not scaled by the bias correction).
    """

    def __new__(cls, layers: Sequence[Layer], kind: str, **options: float) -> Self: ...
    step_count: int
    @property
    def layers(self) -> tuple[Layer, ...]: ...
    @property
    def kind(self) -> str: ...
    def set_options(self, **options: float) -> None: ...
    def get_slots(self) -> dict[str, _Array]:
        """Name -> flat vector in the order of the parameters ("velocity", "m", "v", ...)."""
    def set_slots(self, slots: dict[str, _Array]) -> None: ...
    def step(self, lr: float, rows: int = 1) -> None:
        """One update of every trainable layer from the gradients that backward left in it.

        rows: of the minibatch they are of.
        """

@final
class Hold:
    """Keeps other threads from changing layers while a ``with`` statement runs.

    layers: those of the core, and any other objects.  A second hold on one of them raises
    RuntimeError, in whatever thread; so does training them by a plan or a state, but in this
    thread.
    """

    def __init__(self, layers: Iterable[object]) -> None: ...
    def __enter__(self) -> Self: ...
    def take(self) -> None:
        """Let this thread train the layers, and no other."""
    def rest(self) -> None:
        """Let no thread train the layers until one takes them."""
    def __exit__(self, *error: object) -> None: ...

@final
class Pause:
    """Keeps fit from going further than the step under way while a ``with`` statement runs.

    Any number of threads may be in one at once.
    """

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    @property
    def is_asked(self) -> bool: ...

@final
class Cursor:
    """Where training stands; fit and the single steps of a plan move it.

    epoch: epochs done.  step_in_epoch: steps done in the one under way, loss_sum: of
    their rows.  step_count: steps in all.  good: the parameters that divergence goes back to, those
    with which the last epoch began whose first loss was finite, as a flat vector; None if there are
    none yet, or to begin anew.
    """

    epoch: int
    step_in_epoch: int
    loss_sum: float
    step_count: int
    good: _Array | None
    def __init__(
        self,
        epoch: int = 0,
        step_in_epoch: int = 0,
        loss_sum: float = 0.0,
        step_count: int = 0,
        good: _Array | None = None,
    ) -> None: ...

def views(x: _Array, seed: int, step: int, **options: Any) -> _Array:
    """Random views (n, view) of x (n, image) in a step; options as in Plan.augment."""

@final
class Plan:
    """A chain of layers, with a loss and an optimizer or without, as ops over one workspace.

    loss: (name, param or None) or None; the param of softmax cross-entropy is its label smoothing.
    first_layer: place of the first layer in a net of several plans, by which random layers draw.
    Raises ValueError for a refused pair, a step activation under a loss, or widths that do not
    chain.
    """

    def __new__(
        cls,
        layers: Sequence[Layer],
        batch_size: int,
        loss: tuple[str, float | None] | None = None,
        state: State | None = None,
        n_threads: int | None = None,
        seed: int = 0,
        first_layer: int = 0,
    ) -> Self: ...
    def augment(self, **options: Any) -> None:
        """Train on random views of images from now on: fit and step take x (n, image).

        options: image (channels, height, width); height, width of a view; shift, rotate, elastic,
        smoothness, fill as in cmlp_view_spec.
        """
    @property
    def layers(self) -> tuple[Layer, ...]: ...
    @property
    def state(self) -> State | None: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def n_threads(self) -> int: ...
    # where training stands: the plan's own cursor, or one that it shares
    cursor: Cursor
    # True: fit leaves in last_norms, for each epoch, the mean over its steps of the sum of squares
    # of all weights.
    keep_norms: bool
    @property
    def last_norms(self) -> NDArray[np.float64] | None: ...
    @property
    def n_bytes(self) -> int:
        """Size of the plan's own buffers."""
    def fit(
        self,
        x: _Array,
        y: _Array,
        sample_weight: _Array | None,
        epochs: int,
        shuffle: bool,
        lr: float | NDArray[np.float64],
        momentum: float | NDArray[np.float64] | None = None,
        max_steps: int | None = None,
        order: NDArray[np.int64] | None = None,
        window: tuple[int, int] | None = None,
        pause: Pause | None = None,
    ) -> tuple[NDArray[np.float64], str]:
        """Run epochs (from where the plan stands) without the GIL.

        x: (n, n_in) C-contiguous of the layers' dtype.  y: int64 labels (n,) or rows (n, n_out) of
        that dtype.
        lr, momentum: one number, or one for each step to come.
        order: (epochs, n) samples in the order wanted, each 0..n-1; shuffle is then not looked at.
        window: (first, epoch_rows): the samples, or with an order (1, m) the m that it names, are
        those from number ``first`` on of an epoch of epoch_rows, whole minibatches up to its end;
        epochs is 1, the end of the window is a pause.
        pause: asked by another thread, it pauses after the step under way.
        Returns the mean loss of each epoch finished and "done", "paused" (max_steps or pause) or
        "diverged" (parameters of the last good epoch, or of the start, are put back).  Signals are
        handled every 50 ms: KeyboardInterrupt leaves the plan between two steps.  A second fit on
        the same layers at once raises RuntimeError.
        """
    def step(
        self,
        x: _Array,
        y: _Array,
        sample_weight: _Array | None,
        lr: float,
        momentum: float | None = None,
    ) -> float:
        """One minibatch of 1..batch_size rows; the mean loss before the update.

        sample_weight: factors of the rows' losses, whose sum is divided by the rows.  All numbers
        are finite.  Without an optimizer there is no update: the gradients are left in
        the layers.
        """
    def check_and_step(
        self,
        x: _Array,
        y: _Array,
        sample_weight: _Array | None,
        lr: float,
        limits: tuple[float, float] | None,
    ) -> float:
        """The same for batch_size rows of any numbers: ValueError for those that training refuses.

        limits: the least and the greatest number that y may hold; None: labels only.
        """
    def step_one(
        self,
        x: _Array,
        y: int | float | _Array,
        lr: float,
        limits: tuple[float, float] | None = None,
        weight: float = 1.0,
    ) -> float:
        """The same for one row (n_in,), y a label, a number (one output) or a row (n_out,).

        limits: None: y is not checked, whatever it is.  weight: factor of the loss, >= 0.
        """
    def predict_one(self, x: _Array, out: _Array | None = None, logits: bool = False) -> _Array:
        """Outputs (n_out,) of one row (n_in,)."""
    def predict(self, x: _Array, out: _Array | None = None, logits: bool = False) -> _Array:
        """Outputs of any number of rows; safe from many threads at once.

        logits: without the output activation of a fused pair (what the loss wants).
        """
    def seek(self, draw: int) -> None:
        """Set the number that random layers draw by in the next forward."""
    def forward(self, x: _Array, training: bool = False) -> _Array:
        """Outputs of 1..batch_size rows; keeps what backward needs."""
    def backward(self, dy: _Array, need_dx: bool = True) -> _Array | None:
        """dx of the last forward, given dL/dy; gradients are left in the layers."""
    def deltas(self) -> list[float]:
        """Norm of dL/du of each layer in the last backward pass, in order."""

def loss_value(
    name: str, param: float | None, y: _Array, t: _Array, w: _Array | None = None
) -> float:
    """Mean over the rows of w times the loss of logits (or outputs) y against labels or rows t."""

def loss_delta(
    name: str,
    param: float | None,
    y: _Array,
    t: _Array,
    w: _Array | None = None,
    out: _Array | None = None,
) -> tuple[_Array, float]:
    """d(mean loss)/dy, of y's shape, and the mean loss."""

def dense_forward(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    activation: str = "identity",
    param: float | None = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def dense_backward_dx(
    dy: ArrayLike,
    w: ArrayLike,
    y: ArrayLike | None = None,
    activation: str = "identity",
    param: float | None = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def dense_backward_dw(
    dy: ArrayLike,
    x: ArrayLike,
    out: _Array | None = None,
    out_db: _Array | None = None,
    n_threads: int | None = None,
) -> tuple[_Array, _Array]: ...
def dense_backward_update(
    dy: ArrayLike,
    x: ArrayLike,
    w: _Array,
    b: _Array,
    kind: str,
    slots: Sequence[_Array],
    lr: float,
    step: int = 1,
    n_threads: int | None = None,
    **options: float,
) -> None: ...
def activation_forward(
    x: ArrayLike,
    activation: str,
    param: float | None = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def activation_backward(
    dy: ArrayLike,
    y: ArrayLike,
    activation: str,
    param: float | None = None,
    out: _Array | None = None,
    n_threads: int | None = None,
) -> _Array: ...
def softmax(x: ArrayLike, out: _Array | None = None, n_threads: int | None = None) -> _Array: ...
def log_softmax(
    x: ArrayLike, out: _Array | None = None, n_threads: int | None = None
) -> _Array: ...
def update(
    kind: str,
    w: _Array,
    dw: ArrayLike,
    slots: Sequence[_Array],
    lr: float,
    step: int = 1,
    n_threads: int | None = None,
    **options: float,
) -> None: ...

@final
class NetSpec:
    """What nets have in common that are trained alike: layers, size of minibatches, loss.

    key: equal for equal specs.
    """

    def __new__(
        cls,
        layers: Sequence[Layer],
        batch_size: int = 1,
        loss: tuple[str, float | None] | None = None,
    ) -> Self: ...
    @property
    def key(self) -> tuple[Any, ...]: ...
    @property
    def n_in(self) -> int: ...
    @property
    def n_out(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def dtype(self) -> str: ...

@final
class Job:
    """One net that `fit_many` trains, and what comes of it.

    values, slots, best_values: flat vectors, changed in place.  data, held_out: (x, y,
    sample_weight or None, rows or None).  patience: 0 for no early stopping.  in_pieces: several
    calls are one training, in what divergence goes back to.
    """

    def __new__(
        cls,
        net: NetSpec,
        kind: str,
        options: dict[str, float],
        seed: int,
        values: _Array,
        slots: Sequence[_Array] | None,
        data: tuple[_Array, _Array, _Array | None, NDArray[np.int64] | None],
        held_out: tuple[_Array, _Array, _Array | None, NDArray[np.int64] | None] | None,
        epochs: int,
        shuffle: bool,
        lr: float | NDArray[np.float64],
        momentum: float | NDArray[np.float64] | None = None,
        cursor: Cursor | None = None,
        steps: int = 0,
        patience: int = 0,
        min_delta: float = 0.0,
        best_values: _Array | None = None,
        in_pieces: bool = False,
    ) -> Self: ...
    def go_on(
        self,
        epochs: int,
        lr: float | NDArray[np.float64],
        momentum: float | NDArray[np.float64] | None = None,
    ) -> None:
        """More epochs from where the job stands, in the next call."""
    @property
    def net(self) -> NetSpec: ...
    @property
    def values(self) -> _Array: ...
    @property
    def slots(self) -> tuple[_Array, ...]: ...
    @property
    def best_values(self) -> _Array | None: ...
    @property
    def losses(self) -> NDArray[np.float64]: ...
    @property
    def scores(self) -> NDArray[np.float64] | None:
        """Losses of the held-out data, where there are some."""
    @property
    def steps_per_epoch(self) -> int: ...
    @property
    def n_epochs(self) -> int:
        """Epochs finished in the last call."""
    @property
    def status(self) -> str:
        """Of the last call: "done", "paused" (not begun), "stopped", "diverged" or "failed"."""
    @property
    def steps(self) -> int: ...
    @property
    def best(self) -> float:
        """The best score so far, or loss without held-out data; NaN before the first."""
    @property
    def best_epoch(self) -> int: ...
    @property
    def waited(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    def move(self, cursor: Cursor) -> None:
        """Move a cursor to where the job stands."""

def fit_many(
    jobs: Iterable[Job],
    n_threads: int | None = None,
    told: Callable[[int, float], Any] | None = None,
) -> bool:
    """Train all jobs, the first ones first, whole nets to a thread; True if ``told`` stopped it.

    told: called every 50 ms with the number of jobs done and the best score; True stops all.
    Signals are handled as often; their exception comes when all stand between two steps.
    """

def predict_many(
    nets: Sequence[NetSpec],
    values: Sequence[_Array],
    x: _Array,
    activation: str = "identity",
    n_threads: int | None = None,
    keep: bool = True,
    summary: bool = True,
) -> tuple[_Array | None, _Array | None, _Array | None]:
    """Outputs (N, n, n_out) of nets, if ``keep``; with ``summary`` their mean and deviation."""
