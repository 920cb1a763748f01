"""Checkpoints: a model file with all that training needs to go on exactly."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, TypeVar

import numpy as np

from .. import _core, augment, losses, optimizers, schedules
from ..checks import Array
from ..errors import FormatError
from ..export import files
from ..network import Sequential
from ..schedules import EpochSchedule, ScheduleLike
from .contract import Call
from .history import History
from .state import TrainState

State = TypeVar("State", bound=TrainState)


# ---- writing ----


def save(path: files.PathLike, state: TrainState) -> None:
    """Write a checkpoint; the file is replaced whole or not at all."""
    state.check_same_thread()
    about = files.model_about(state.net)
    tensors = files.model_tensors(state.net)
    running, cursor = state.running, state.cursor
    if running is not None:
        tensors.update({f"slots.{name}": a for name, a in running.get_slots().items()})
    for name, column in state.history.to_dict().items():
        tensors[f"history.{name}"] = np.array(column, np.float64)
    if cursor.good is not None:
        tensors["good"] = cursor.good
    fit, arrays = _split(state.call)
    schedule = state.schedule
    about["trainer"] = {
        "loss": losses.to_config(state.loss),
        "optimizer": optimizers.to_config(state.optimizer),
        "optimizer_class": type(state.optimizer).__name__,
        "optimizer_steps": 0 if running is None else running.step_count,
        "schedule": schedules.to_config(schedule),
        "schedule_class": type(schedule).__name__,
        "schedule_state": schedule.state() if isinstance(schedule, EpochSchedule) else None,
        "seed": state.seed,
        "augment": None if state.augment is None else state.augment.config(),
        "step_count": cursor.step_count,
        "epoch": cursor.epoch,
        "step_in_epoch": cursor.step_in_epoch,
        "loss_sum": cursor.loss_sum,
        "fit": fit,
        "history": state.history.columns,
    }
    files.write(path, "checkpoint", about, {**tensors, **arrays})


def _split(call: Call | None) -> tuple[dict[str, Any] | None, dict[str, Array]]:
    """A call of fit as what JSON can hold, and the arrays apart."""
    if call is None:
        return None, {}
    fit = asdict(call)
    weights = fit.pop("weights")
    arrays = {} if weights is None else {"fit.weights": np.ascontiguousarray(weights)}
    for i, state in enumerate(fit["callbacks"]):
        for key, value in list(state.items()):
            if isinstance(value, np.ndarray):
                arrays[f"callbacks.{i}.{key}"] = np.ascontiguousarray(state.pop(key))
            else:
                state[key] = _json(value)
    return fit, arrays


def _json(value: Any) -> Any:
    """A number as JSON has it; NaN and infinity as text, from which ``float`` reads them back."""
    value = value.item() if isinstance(value, np.generic) else value
    return str(value) if isinstance(value, float) and not isfinite(value) else value


# ---- reading ----


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds, checked as far as that is possible without a trainer."""

    contents: files.Contents
    about: dict[str, Any]
    net: Sequential
    history: History
    call: Call | None
    slots: dict[str, Array]
    good: Array | None

    @property
    def goes_on(self) -> bool:
        """Whether it was saved within a call of ``fit``."""
        return self.call is not None and not self.call.finished

    def cursor(self) -> _core.Cursor:
        """Where training stood."""
        names = ("epoch", "step_in_epoch", "loss_sum", "step_count")
        cursor = _core.Cursor(*(self.about[name] for name in names))
        cursor.good = self.good
        return cursor


def read(path: files.PathLike) -> Saved:
    """Read a checkpoint."""
    contents = files.read(path, ("checkpoint",))
    net = files.read_model(contents)
    with files.naming(contents.path):
        about = _about(contents)
        slots = {
            name.removeprefix("slots."): a
            for name, a in contents.get(_names(contents, "slots.")).items()
        }
        history, call = _history(about["history"], contents), _join(about["fit"], contents, net)
        saved = Saved(contents, about, net, history, call, slots, _flat("good", contents, net))
        place = 0 if call is None or call.finished else about["step_in_epoch"] * call.batch_size
        if call is not None and call.first_epoch > about["epoch"]:
            raise FormatError(f"fit first_epoch is {call.first_epoch}; expected at most the epoch")
        if call is not None and place >= call.n_samples:
            raise FormatError(f"a step that epochs of {call.n_samples} samples do not have")
        return saved


def load(
    kind: type[State],
    path: files.PathLike,
    loss: Any,
    optimizer: Any,
    schedule: ScheduleLike,
    n_threads: int | None,
    comm: Any = None,
) -> State:
    """A trainer of class ``kind`` from a checkpoint."""
    saved = read(path)
    about = saved.about
    try:
        with files.naming(saved.contents.path):
            loss = _part(loss, about["loss"], losses.from_config, "loss")
            optimizer = _part(optimizer, about["optimizer"], optimizers.from_config, "optimizer")
            if type(optimizer).__name__ != about["optimizer_class"]:
                raise ValueError(
                    f"optimizer is {optimizer!r}; expected {about['optimizer_class']}, as was saved"
                )
            if schedule is None and about["schedule_class"] != "NoneType":
                schedule = _part(None, about["schedule"], schedules.from_config, "schedule")
            views = None if about["augment"] is None else augment.from_config(about["augment"])
            state = kind(
                saved.net, loss, optimizer, schedule, n_threads, about["seed"], comm, views
            )
    except _Missing as error:
        raise ValueError(str(error)) from None
    _restore_parts(saved, state)
    return state


class _Missing(Exception):
    """A part that only the caller can give."""


def _part(given: Any, config: Any, make: Any, name: str) -> Any:
    if given is not None:
        return given
    if config is None:
        raise _Missing(f"{name} is None; expected the {name} of your own that training used")
    return make(config)


def check_same(saved: Saved, state: TrainState) -> None:
    """Raise ValueError unless a trainer has the layers and optimizer that were saved."""
    about = saved.contents.about
    now = json.loads(json.dumps(files.model_about(state.net)))
    for name in ("layers", "dtype"):
        if about.get(name) != now[name]:
            raise ValueError(
                f"resume is a checkpoint of other {name}, {about.get(name)}; expected {now[name]}"
            )
    if not saved.net.preprocessing.scales_as(state.net.preprocessing):
        raise ValueError("resume is a checkpoint of another preprocessing; expected the net's")
    views = None if state.augment is None else state.augment.config()
    if saved.about["augment"] != views:
        raise ValueError(
            f"resume is a checkpoint with the augment {saved.about['augment']}; expected {views}"
        )
    wanted, found = type(state.optimizer).__name__, saved.about["optimizer_class"]
    if found != wanted:
        raise ValueError(f"the checkpoint was trained by {found}; expected {wanted}")


def restore(saved: Saved, state: TrainState) -> None:
    """Bring a trainer to where a checkpoint was saved."""
    _restore_parts(saved, state)
    state.net.set_flat(saved.net.get_flat())
    state.net.classes, state.net.link = saved.net.classes, saved.net.link
    state.net.preprocessing = saved.net.preprocessing
    if state.seed != saved.about["seed"]:
        state.seed = saved.about["seed"]


def _restore_parts(saved: Saved, state: TrainState) -> None:
    """The states of optimizer and schedule, and the place in the training."""
    about, running, schedule = saved.about, state.running, state.schedule
    with files.naming(saved.contents.path):
        if running is not None:
            _check_slots(saved.slots, running.get_slots())
        if isinstance(schedule, EpochSchedule) and about["schedule_state"] is not None:
            schedule.set_state(about["schedule_state"])
    if running is not None:
        running.set_slots(saved.slots)
        running.step_count = about["optimizer_steps"]
    state.place(saved.cursor(), saved.history, saved.call)


_ABOUT: dict[str, tuple[type, ...]] = {
    "loss": (dict, type(None)),
    "optimizer": (dict, type(None)),
    "optimizer_class": (str,),
    "optimizer_steps": (int,),
    "schedule": (dict, type(None)),
    "schedule_class": (str,),
    "schedule_state": (dict, type(None)),
    "seed": (int,),
    "augment": (dict, type(None)),
    "step_count": (int,),
    "epoch": (int,),
    "step_in_epoch": (int,),
    "loss_sum": (int, float),
    "fit": (dict, type(None)),
    "history": (list,),
}
_FIT: dict[str, type] = {
    "first_epoch": int,
    "batch_size": int,
    "n_samples": int,
    "shuffle": bool,
    "stopped": bool,
    "callbacks": list,
}
# Not in files of versions before 0.3, or of the one that brought sources.
_FIT_LATER: dict[str, tuple[type, ...]] = {
    "finished": (bool,),
    "event": (str, type(None)),
    "order": (str, type(None)),
}


def _about(contents: files.Contents) -> dict[str, Any]:
    """The trainer's part of the description, its fields and their types checked."""
    about = contents.about.get("trainer")
    if not isinstance(about, dict):
        raise FormatError("no description of a trainer")
    about = {"augment": None, **about}  # not in files before there was one
    for name, types in _ABOUT.items():
        value = about.get(name)
        if name not in about or not isinstance(value, types) or isinstance(value, bool):
            raise FormatError(f"trainer {name} is missing or of a wrong type")
        if isinstance(value, int) and not 0 <= value < 2**63 and name != "seed":
            raise FormatError(f"trainer {name} is {value}; expected 0..2**63 - 1")
        if isinstance(value, float) and not isfinite(value):
            raise FormatError(f"trainer {name} is {value}; expected a finite number")
    return about


def _join(fit: dict[str, Any] | None, contents: files.Contents, net: Sequential) -> Call | None:
    """What `_split` was given."""
    if fit is None:
        return None
    for name, kind in _FIT.items():
        if not isinstance(fit.get(name), kind):
            raise FormatError(f"fit {name} is missing or of a wrong type")
        if kind is int and not 0 <= fit[name] < 2**63:
            raise FormatError(f"fit {name} is {fit[name]}; expected 0..2**63 - 1")
    for name, kinds in _FIT_LATER.items():
        if name in fit and not isinstance(fit[name], kinds):
            raise FormatError(f"fit {name} is of a wrong type")
    states = [dict(state) for state in fit["callbacks"]]
    for name, a in contents.get(_names(contents, "callbacks.")).items():
        _, i, key = name.split(".", 2)
        if not i.isdecimal() or int(i) >= len(states):
            raise ValueError(f"tensor {name!r} is of none of {len(states)} callbacks")
        states[int(i)][key] = a
    weights = _flat("fit.weights", contents, net)
    settings = {k: v for k, v in fit.items() if k in _FIT or k in _FIT_LATER}
    return Call(**{**settings, "callbacks": states, "weights": weights})


def _flat(name: str, contents: files.Contents, net: Sequential) -> Array | None:
    """A flat vector of parameters, where the file has it."""
    if name not in contents.tensors:
        return None
    values = contents.get([name])[name]
    if values.shape != (net.n_parameters,) or values.dtype != net.dtype:
        raise ValueError(f"{name} has shape {values.shape}; expected ({net.n_parameters},)")
    return values


def _names(contents: files.Contents, prefix: str) -> list[str]:
    return [name for name in contents.tensors if name.startswith(prefix)]


def _check_slots(given: dict[str, Array], wanted: dict[str, Array]) -> None:
    for name, a in wanted.items():
        if name not in given or given[name].shape != a.shape or given[name].dtype != a.dtype:
            raise ValueError(f"the optimizer's {name} is missing or of a wrong shape")


def _history(columns: list[Any], contents: files.Contents) -> History:
    names = [f"history.{name}" for name in columns]
    missing = [name for name in names if name not in contents.tensors]
    if missing or any(len(contents.tensors[name][1]) != 1 for name in names):
        raise ValueError(f"columns of the history are missing or of a wrong shape: {names[:3]}")
    found = contents.get(names)
    return History.from_dict({n.removeprefix("history."): found[n].tolist() for n in names})
