"""Optimizers: how the gradients of a minibatch change the weights.

Regularisation is a setting of the optimizer, and acts on weights, never on biases or slopes:

- ``weight_decay`` (lambda) adds lambda * w to the gradient: w <- w - lr * dE/dw - lr * lambda * w,
  the form of *Deep Learning, topic 3: Multi-layer Perceptron*, with the cost E + lambda/2 ||w||^2.
  `AdamW` shrinks the weights beside the gradient instead.
- ``l1`` adds l1 * sign(w), for the cost E + l1 ||w||_1.
- ``decay_over_batch=True`` divides both by the number of samples in the minibatch: the cost
  E + lambda/(2n) ||w||^2.  The same thing with lambda n times as large.  Where ``fit`` divides the
  weights of samples by their mean, it divides lambda by it too: a sample of weight 2 is as two.
- ``clip_value`` limits each element of the gradient to [-clip_value, clip_value]; ``clip_norm``
  scales the whole gradient, over all layers, down to that Euclidean norm.  Both act before decay.

An optimizer of the user's own is any object with ``step(net)``, which reads the gradients of the
net and changes its parameters.
"""

from __future__ import annotations

from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from . import checks
from .attributes import Declared
from .checks import Array
from .optimizer_state import NetState, layers_of
from .schedules import EpochSchedule, Schedule, ScheduleLike, as_schedule
from .schedules import from_config as schedule_from_config
from .schedules import to_config as schedule_to_config

__all__ = ["LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]


class Optimizer(Declared):
    """Base of the built-in optimizers: settings, and a state for each net they are used on.

    The settings are fixed, except for ``lr``.
    """

    kind: ClassVar[str]
    momentum: float | Schedule
    weight_decay: float
    l1: float
    clip_value: float | None
    clip_norm: float | None
    decay_over_batch: bool

    def __init__(
        self,
        lr: float,
        weight_decay: float,
        l1: float,
        clip_value: float | None,
        clip_norm: float | None,
        decay_over_batch: bool,
    ) -> None:
        self.lr = lr
        self.weight_decay = checks.number(weight_decay, "weight_decay", 0.0)
        self.l1 = checks.number(l1, "l1", 0.0)
        self.clip_value = _limit(clip_value, "clip_value")
        self.clip_norm = _limit(clip_norm, "clip_norm")
        self.decay_over_batch = checks.flag(decay_over_batch, "decay_over_batch")
        self._states: WeakKeyDictionary[Any, NetState] = WeakKeyDictionary()

    @property
    def lr(self) -> float:
        """The learning rate; may be changed at any time."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = checks.number(value, "lr", 0.0)

    def options(self) -> dict[str, float]:
        """Settings as the compiled core takes them."""
        return {
            "weight_decay": self.weight_decay,
            "l1": self.l1,
            "clip_value": self.clip_value or 0.0,
            "clip_norm": self.clip_norm or 0.0,
            "decay_over_batch": float(self.decay_over_batch),
        }

    def momentum_values(self, first_step: int, n: int) -> Array | None:
        """Momentum of the iterations to come, where it has a schedule."""
        if not isinstance(self.momentum, Schedule):
            return None
        return self.momentum.values(first_step, n, 0.0)

    def state_for(self, net: Any) -> NetState:
        """The state kept for a net, a layer or a sequence of layers; made at first use."""
        layers = layers_of(net)
        key = layers[0] if isinstance(net, (list, tuple)) else net
        state = self._states.get(key)
        if state is None or not state.belongs_to(layers):
            state = self._states[key] = NetState(layers, self.kind, self.options())
        return state

    def step(self, net: Any) -> None:
        """Change the parameters by the gradients that ``backward`` left.

        Parameters
        ----------
        net : Sequential, layer, or sequence of layers
            The same one each time: momentum and other state are kept for each.  Frozen layers are
            left alone.

        Raises
        ------
        RuntimeError
            With ``decay_over_batch``, which divides by the rows of the last ``backward``, where
            there was none.
        """
        state = self.state_for(net)
        momentum = self.momentum_values(state.step_count, 1)
        rows = self._rows_of(net) if self.decay_over_batch else 1
        self.apply(net, state, self.lr, None if momentum is None else float(momentum[0]), rows)

    def _rows_of(self, net: Any) -> int:
        """Rows of the last backward pass through a net, a layer or a sequence of layers."""
        for part in (*reversed(layers_of(net)), net):
            rows: int | None = getattr(part, "last_batch", None)
            if rows is not None:
                return rows
        raise RuntimeError(f"{self!r} divides by the rows of the last backward; there was none")

    def apply(
        self,
        net: Any,
        state: NetState,
        lr: float,
        momentum: float | None = None,
        rows: int = 1,
        unit: float = 1.0,
    ) -> None:
        """One step with this rate and momentum; ``rows`` are the minibatch's."""
        options = self.options_for(unit)
        if momentum is not None:
            options["momentum"] = momentum
        state.step(layers_of(net), lr, options, rows)

    def options_for(self, unit: float) -> dict[str, float]:
        """`options` where the weights of samples have been divided by ``unit``."""
        options = self.options()
        if self.decay_over_batch:
            options.update({name: options[name] / unit for name in ("weight_decay", "l1")})
        return options

    def config(self) -> dict[str, Any]:
        """Arguments that make the same optimizer again."""
        fixed = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        return {"lr": self.lr, **fixed}

    def __repr__(self) -> str:
        kind: Any = type(self)
        defaults = kind().config()
        changed = {k: v for k, v in self.config().items() if k == "lr" or v != defaults[k]}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in changed.items())})"

    def __getstate__(self) -> dict[str, Any]:
        # states belong to nets, and stay with them
        return {k: v for k, v in vars(self).items() if k != "_states"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _states=WeakKeyDictionary())


class SGD(Optimizer):
    """Stochastic gradient descent: v <- momentum * v - lr * g; w <- w + v.

    With ``nesterov`` w <- w + momentum * v - lr * g with the new v, as in Sutskever, Martens, Dahl
    and Hinton, *On the importance of initialization and momentum in deep learning* (2013).

    Parameters
    ----------
    lr : float, default 0.1
    momentum : float in [0, 1) or a schedule, default 0
        `MomentumStep` raises it from 0.5 to 0.9; any function of the iteration will do.
    nesterov : bool, default False
    weight_decay, l1 : float, default 0
    clip_value, clip_norm : float, optional
    decay_over_batch : bool, default False
        See `cmlp.optimizers` for these five.
    """

    kind = "sgd"
    nesterov: bool

    def __init__(
        self,
        lr: float = 0.1,
        momentum: float | ScheduleLike = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        decay_over_batch: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, l1, clip_value, clip_norm, decay_over_batch)
        self.momentum = _momentum(momentum)
        self.nesterov = checks.flag(nesterov, "nesterov")

    def options(self) -> dict[str, float]:
        fixed = self.momentum if isinstance(self.momentum, float) else 0.0
        return {**super().options(), "momentum": fixed, "nesterov": float(self.nesterov)}


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square, without their bias.

    m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
    w <- w - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps), as in Kingma and Ba,
    *Adam: A method for stochastic optimization* (2015).

    Parameters
    ----------
    lr : float, default 0.001
    beta1, beta2 : float in [0, 1), default 0.9 and 0.999
    eps : float > 0, default 1e-8
    weight_decay, l1 : float, default 0
    clip_value, clip_norm : float, optional
    decay_over_batch : bool, default False
        See `cmlp.optimizers` for these five.
    """

    kind = "adam"
    momentum = 0.0
    beta1: float
    beta2: float
    eps: float

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        decay_over_batch: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, l1, clip_value, clip_norm, decay_over_batch)
        self.beta1 = checks.number(beta1, "beta1", 0.0, 1.0, open_high=True)
        self.beta2 = checks.number(beta2, "beta2", 0.0, 1.0, open_high=True)
        self.eps = checks.number(eps, "eps", 0.0, open_low=True)

    def options(self) -> dict[str, float]:
        return {**super().options(), "beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}


class AdamW(Adam):
    """`Adam` with the decay beside the gradient: w <- w - lr * weight_decay * w - Adam's step.

    From Loshchilov and Hutter, *Decoupled weight decay regularization* (2019).

    Parameters
    ----------
    lr : float, default 0.001
    beta1, beta2 : float in [0, 1), default 0.9 and 0.999
    eps : float > 0, default 1e-8
    weight_decay : float, default 0.01
    l1 : float, default 0
    clip_value, clip_norm : float, optional
    decay_over_batch : bool, default False
        See `cmlp.optimizers` for these five.
    """

    kind = "adamw"

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        l1: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        decay_over_batch: bool = False,
    ) -> None:
        super().__init__(
            lr, beta1, beta2, eps, weight_decay, l1, clip_value, clip_norm, decay_over_batch
        )


class RMSprop(Optimizer):
    """Steps scaled by the running mean of the squared gradient.

    s <- rho s + (1 - rho) g^2; v <- momentum v - lr g / (sqrt(s) + eps); w <- w + v, as in Hinton,
    *Neural networks for machine learning*, lecture 6 (2012).

    Parameters
    ----------
    lr : float, default 0.001
    rho : float in [0, 1), default 0.9
    momentum : float in [0, 1), default 0
    eps : float > 0, default 1e-8
    weight_decay, l1 : float, default 0
    clip_value, clip_norm : float, optional
    decay_over_batch : bool, default False
        See `cmlp.optimizers` for these five.
    """

    kind = "rmsprop"
    momentum: float
    rho: float
    eps: float

    def __init__(
        self,
        lr: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        decay_over_batch: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, l1, clip_value, clip_norm, decay_over_batch)
        self.rho = checks.number(rho, "rho", 0.0, 1.0, open_high=True)
        self.momentum = checks.number(momentum, "momentum", 0.0, 1.0, open_high=True)
        self.eps = checks.number(eps, "eps", 0.0, open_low=True)

    def options(self) -> dict[str, float]:
        own = {"rho": self.rho, "momentum": self.momentum, "eps": self.eps}
        return {**super().options(), **own}


class Adagrad(Optimizer):
    """Steps scaled by the sum of all squared gradients so far.

    s <- s + g^2; w <- w - lr g / (sqrt(s) + eps), as in Duchi, Hazan and Singer, *Adaptive
    subgradient methods for online learning and stochastic optimization* (2011).

    Parameters
    ----------
    lr : float, default 0.01
    eps : float > 0, default 1e-10
    weight_decay, l1 : float, default 0
    clip_value, clip_norm : float, optional
    decay_over_batch : bool, default False
        See `cmlp.optimizers` for these five.
    """

    kind = "adagrad"
    momentum = 0.0
    eps: float

    def __init__(
        self,
        lr: float = 0.01,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        decay_over_batch: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, l1, clip_value, clip_norm, decay_over_batch)
        self.eps = checks.number(eps, "eps", 0.0, open_low=True)

    def options(self) -> dict[str, float]:
        return {**super().options(), "eps": self.eps}


class Adadelta(Optimizer):
    """Steps as large as the last ones were, in relation to the gradients.

    v <- rho v + (1 - rho) g^2; d = g sqrt(u + eps) / sqrt(v + eps); u <- rho u + (1 - rho) d^2;
    w <- w - lr d, as in Zeiler, *ADADELTA: An adaptive learning rate method* (2012).

    Parameters
    ----------
    lr : float, default 1
        A factor of the steps; the method chooses their size by itself.
    rho : float in [0, 1), default 0.95
    eps : float > 0, default 1e-8
        PyTorch and Zeiler's experiments have 1e-6; the first steps are about sqrt(eps) long.
    weight_decay, l1 : float, default 0
    clip_value, clip_norm : float, optional
    decay_over_batch : bool, default False
        See `cmlp.optimizers` for these five.
    """

    kind = "adadelta"
    momentum = 0.0
    rho: float
    eps: float

    def __init__(
        self,
        lr: float = 1.0,
        rho: float = 0.95,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        decay_over_batch: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, l1, clip_value, clip_norm, decay_over_batch)
        self.rho = checks.number(rho, "rho", 0.0, 1.0, open_high=True)
        self.eps = checks.number(eps, "eps", 0.0, open_low=True)

    def options(self) -> dict[str, float]:
        return {**super().options(), "rho": self.rho, "eps": self.eps}


class LBFGS(Declared):
    """Limited-memory BFGS on the whole data, through SciPy (``pip install cmlp[sklearn]``).

    For `Trainer` alone: each iteration counts as an epoch, and ``batch_size`` is only the number
    of rows taken at a time.  From Liu and Nocedal, *On the limited memory BFGS method for large
    scale optimization* (1989).

    Parameters
    ----------
    memory : int, default 10
        Pairs of vectors kept.
    tol : float, default 1e-5
        Stop when no element of the gradient is larger.
    max_evaluations : int, default 15000
        Of the loss, over all iterations.
    weight_decay : float, default 0
        lambda in E + lambda/2 ||w||^2, on weights and not on biases.
    decay_over_batch : bool, default False
        Divide lambda by the number of samples.
    """

    memory: int
    tol: float
    max_evaluations: int
    weight_decay: float
    decay_over_batch: bool

    def __init__(
        self,
        memory: int = 10,
        tol: float = 1e-5,
        max_evaluations: int = 15000,
        weight_decay: float = 0.0,
        decay_over_batch: bool = False,
    ) -> None:
        self.memory = checks.positive_int(memory, "memory")
        self.tol = checks.number(tol, "tol", 0.0)
        self.max_evaluations = checks.positive_int(max_evaluations, "max_evaluations")
        self.weight_decay = checks.number(weight_decay, "weight_decay", 0.0)
        self.decay_over_batch = checks.flag(decay_over_batch, "decay_over_batch")

    def __repr__(self) -> str:
        return f"LBFGS({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


def _limit(value: float | None, name: str) -> float | None:
    return None if value is None else checks.number(value, name, 0.0, open_low=True)


def _momentum(value: float | ScheduleLike) -> float | Schedule:
    if isinstance(value, Schedule) or callable(value):
        schedule = as_schedule(value, "momentum")
        if schedule is None or isinstance(schedule, EpochSchedule):
            raise TypeError(f"momentum is {value!r}; expected a schedule of the iteration")
        return schedule
    return checks.number(value, "momentum", 0.0, 1.0, open_high=True)


_BUILT_IN: dict[str, type[Optimizer]] = {
    kind.__name__: kind for kind in (SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta)
}

KINDS: dict[str, type[Optimizer]] = {kind.kind: kind for kind in _BUILT_IN.values()}
"""The built-in optimizers by their names in the core."""


def to_config(optimizer: Any) -> dict[str, Any] | None:
    """JSON form of an optimizer: its class and settings; None for a user's own."""
    if _BUILT_IN.get(type(optimizer).__name__) is not type(optimizer):
        return None
    settings = optimizer.config()
    if isinstance(optimizer.momentum, Schedule):
        settings["momentum"] = schedule_to_config(optimizer.momentum)
        if settings["momentum"] is None:
            return None
    return {"class": type(optimizer).__name__, **settings}


def from_config(config: dict[str, Any]) -> Optimizer:
    """The optimizer that `to_config` described; ValueError or TypeError if it describes none."""
    arguments = dict(config)
    kind = _BUILT_IN[checks.choice(arguments.pop("class", None), "optimizer class", _BUILT_IN)]
    if isinstance(arguments.get("momentum"), dict):
        arguments["momentum"] = schedule_from_config(arguments["momentum"])
    return kind(**arguments)
