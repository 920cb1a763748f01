"""Checkpoints: a model file with all that training needs to go on exactly."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import numpy as np

from .. import losses, optimizers, schedules
from ..checks import Array
from ..errors import FormatError
from ..export import files
from ..optimizers import Optimizer
from ..schedules import EpochSchedule, ScheduleLike
from .contract import Insides
from .history import History
from .loops import Cursor


def save(path: files.PathLike, trainer: Insides) -> None:
    """Write a checkpoint; the file is replaced whole or not at all."""
    about = files.model_about(trainer.net)
    tensors = files.model_tensors(trainer.net)
    cursor = trainer._now()
    fit = trainer._unfinished()
    if fit is not None:
        fit, arrays = _split_states(fit)
        tensors.update(arrays)
    steps = 0
    if isinstance(trainer.optimizer, Optimizer):
        state = trainer.optimizer.state_for(trainer.net)
        steps = state.step_count
        tensors.update({f"slots.{name}": a for name, a in state.get_slots().items()})
    for name, column in trainer.history.to_dict().items():
        tensors[f"history.{name}"] = np.array(column, np.float64)
    about["trainer"] = {
        "loss": losses.to_config(trainer.loss),
        "optimizer": optimizers.to_config(trainer.optimizer),
        "optimizer_class": type(trainer.optimizer).__name__,
        "optimizer_steps": steps,
        "schedule": schedules.to_config(trainer.schedule),
        "schedule_class": type(trainer.schedule).__name__,
        "schedule_state": (
            trainer.schedule.state() if isinstance(trainer.schedule, EpochSchedule) else None
        ),
        "seed": trainer.seed,
        "step_count": trainer.step_count,
        "epoch": cursor.epoch,
        "step_in_epoch": cursor.step_in_epoch,
        "loss_sum": cursor.loss_sum,
        "weight_sum": cursor.weight_sum,
        "fit": fit,
        "history": trainer.history.columns,
    }
    files.write(path, "checkpoint", about, tensors)


def load(
    kind: type[Any],
    path: files.PathLike,
    loss: Any,
    optimizer: Any,
    schedule: ScheduleLike,
    n_threads: int | None,
) -> Any:
    """A trainer of class ``kind`` from a checkpoint."""
    contents = files.read(path, ("checkpoint",))
    net = files.read_model(contents)
    try:
        with files.naming(contents.path):
            about = _about(contents)
            loss = _part(loss, about["loss"], losses.from_config, "loss")
            optimizer = _part(optimizer, about["optimizer"], optimizers.from_config, "optimizer")
            if type(optimizer).__name__ != about["optimizer_class"]:
                raise ValueError(
                    f"optimizer is {optimizer!r}; expected {about['optimizer_class']}, as was saved"
                )
            if schedule is None and about["schedule_class"] != "NoneType":
                schedule = _part(None, about["schedule"], schedules.from_config, "schedule")
            trainer = kind(net, loss, optimizer, schedule, n_threads, about["seed"])
    except _Missing as error:
        raise ValueError(str(error)) from None
    _restore(contents, trainer)
    return trainer


class _Missing(Exception):
    """A part that only the caller can give."""


def _part(given: Any, config: Any, make: Any, name: str) -> Any:
    if given is not None:
        return given
    if config is None:
        raise _Missing(f"{name} is None; expected the {name} of your own that training used")
    return make(config)


def restore(path: files.PathLike, trainer: Insides) -> None:
    """Bring a trainer to where the checkpoint was saved; its net must be of the same layers."""
    contents = files.read(path, ("checkpoint",))
    saved = contents.about
    now = json.loads(json.dumps(files.model_about(trainer.net)))
    for name in ("layers", "dtype"):
        if saved.get(name) != now[name]:
            raise ValueError(
                f"resume is a checkpoint of other {name}, {saved.get(name)}; expected {now[name]}"
            )
    net = files.read_model(contents)
    if not net.preprocessing.scales_as(trainer.net.preprocessing):
        raise ValueError("resume is a checkpoint of another preprocessing; expected the net's")
    _restore(contents, trainer)
    trainer.net.set_flat(net.get_flat())
    trainer.net.classes, trainer.net.preprocessing = net.classes, net.preprocessing


_ABOUT: dict[str, tuple[type, ...]] = {
    "loss": (dict, type(None)),
    "optimizer": (dict, type(None)),
    "optimizer_class": (str,),
    "optimizer_steps": (int,),
    "schedule": (dict, type(None)),
    "schedule_class": (str,),
    "schedule_state": (dict, type(None)),
    "seed": (int,),
    "step_count": (int,),
    "epoch": (int,),
    "step_in_epoch": (int,),
    "loss_sum": (int, float),
    "weight_sum": (int, float),
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


def _about(contents: files.Contents) -> dict[str, Any]:
    """The trainer's part of the description, its fields and their types checked."""
    about = contents.about.get("trainer")
    if not isinstance(about, dict):
        raise FormatError("no description of a trainer")
    for name, types in _ABOUT.items():
        value = about.get(name)
        if name not in about or not isinstance(value, types) or isinstance(value, bool):
            raise FormatError(f"trainer {name} is missing or of a wrong type")
        if isinstance(value, int) and not 0 <= value < 2**63 and name != "seed":
            raise FormatError(f"trainer {name} is {value}; expected 0..2**63 - 1")
        if isinstance(value, float) and not isfinite(value):
            raise FormatError(f"trainer {name} is {value}; expected a finite number")
    fit = about["fit"]
    if fit is not None:
        for name, kind in _FIT.items():
            if not isinstance(fit.get(name), kind):
                raise FormatError(f"fit {name} is missing or of a wrong type")
    return about


def _restore(contents: files.Contents, trainer: Insides) -> None:
    with files.naming(contents.path):
        about = _about(contents)
    wanted = type(trainer.optimizer).__name__
    if about["optimizer_class"] != wanted:
        raise ValueError(
            f"the checkpoint was trained by {about['optimizer_class']}; expected {wanted}"
        )
    with files.naming(contents.path):
        fit = _join_states(about["fit"], contents)
        history = _history(about["history"], contents)
        slots = {
            name.removeprefix("slots."): a
            for name, a in contents.get(_names(contents, "slots.")).items()
        }
        state = None
        if isinstance(trainer.optimizer, Optimizer):
            state = trainer.optimizer.state_for(trainer.net)
            _check_slots(slots, state.get_slots())
        if isinstance(trainer.schedule, EpochSchedule) and about["schedule_state"] is not None:
            trainer.schedule.set_state(about["schedule_state"])
        if state is not None:
            state.set_slots(slots)
            state.step_count = about["optimizer_steps"]
    trainer._cursor = Cursor(
        about["epoch"], about["step_in_epoch"], about["loss_sum"], about["weight_sum"]
    )
    trainer.seed, trainer._steps = about["seed"], about["step_count"]
    trainer.history, trainer._resume = history, fit
    trainer._forget_plans()


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


def _split_states(fit: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Array]]:
    """The arrays in the callbacks' states apart from what JSON can hold."""
    arrays: dict[str, Array] = {}
    plain: list[dict[str, Any]] = []
    for i, state in enumerate(fit["callbacks"]):
        kept = {}
        for key, value in state.items():
            if isinstance(value, np.ndarray):
                arrays[f"callbacks.{i}.{key}"] = np.ascontiguousarray(value)
            else:
                kept[key] = _json(value)
        plain.append(kept)
    return {**fit, "callbacks": plain}, arrays


def _json(value: Any) -> Any:
    """NaN and infinity as text, from which ``float`` reads them back."""
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _join_states(fit: dict[str, Any] | None, contents: files.Contents) -> dict[str, Any] | None:
    if fit is None:
        return None
    states = [dict(state) for state in fit["callbacks"]]
    for name, a in contents.get(_names(contents, "callbacks.")).items():
        _, i, key = name.split(".", 2)
        if not i.isdecimal() or int(i) >= len(states):
            raise ValueError(f"tensor {name!r} is of none of {len(states)} callbacks")
        states[int(i)][key] = a
    return {**fit, "callbacks": states}
