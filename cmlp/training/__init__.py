"""Training: the trainer, its callbacks and history, and several runs from different starts.

`state` is what training is made of and where it stands, which all others share: `trainer` adds
what users call; `fit` is one call of its method of that name; `many` trains many nets in one call
of the core; `loops` goes through the minibatches, compiled or step by step; `lbfgs` is the one
optimizer that has no minibatches; `checkpoint` writes and reads the state; `data` checks samples,
`parts` what goes together.  `session` leads a training by steps: `pace` is how far and whose turn
it is, `snapshot` how it stood, `changes` what may change.  Of the package this imports nets,
layers, losses, optimizers, schedules, pictures and the model files of `export`; models, estimators
and the command line import this.
"""

from .callbacks import (
    Callback,
    Converged,
    EarlyStopping,
    GradientMonitor,
    ModelCheckpoint,
    ProgressBar,
)
from .history import History
from .many import Runs, fit_many
from .ranks import RankError, Ranks
from .restarts import Restarts, best_of
from .session import Session
from .snapshot import Snapshot
from .trainer import Trainer

__all__ = [
    "Callback",
    "Converged",
    "EarlyStopping",
    "GradientMonitor",
    "History",
    "ModelCheckpoint",
    "ProgressBar",
    "RankError",
    "Ranks",
    "Restarts",
    "Runs",
    "Session",
    "Snapshot",
    "Trainer",
    "best_of",
    "fit_many",
]
