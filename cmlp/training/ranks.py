"""`Ranks`: processes that train one net together, by MPI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..attributes import Declared
from ..checks import Array

__all__ = ["RankError", "Ranks"]

_EXCHANGES = ("ordered", "allreduce")
# What a rank says of itself in each step.
_AT_WORK, _DONE, _FAILED = 0.0, 1.0, 2.0


class RankError(RuntimeError):
    """Another rank has failed, or has stopped training before this one."""


class Ranks(Declared):
    """How the processes of a communicator share out minibatches.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    row_groups : int, default 8
        Groups that the rows of a minibatch are cut into, at least as many as there are ranks.
        The numbers depend on it, and not on the number of ranks.
    exchange : {"ordered", "allreduce"}
        "ordered": groups' gradients are added in the order of the groups, by whichever rank: the
        same bits for any number of ranks.  "allreduce": each rank adds its own, and MPI the sums,
        with fewer bytes where ranks have several groups; the bits depend on the number of ranks
        and on MPI.
    local_steps : int, default 1
        More than 1: a rank makes so many steps with its own rows alone, then the ranks average
        parameters and running values; also at the end of each epoch.  For slow networks; the
        bits depend on the number of ranks.

    Attributes
    ----------
    rank, size : int
    bytes_sent : int
        By this rank to others, of gradients and parameters, so far.

    Notes
    -----
    With P parameters of s bytes, G groups and R ranks, "ordered" sends in each step, from each
    rank, s P (R - 1)/R (G/R + 1) bytes: each group's gradient to the rank that adds up a part of
    the parameters, and the sums back.  "allreduce" sends 2 s P (R - 1)/R with a ring, as MPI
    chooses.  Beside that each step tells 8 (G + 1) bytes.
    """

    comm: Any
    row_groups: int
    exchange: str
    local_steps: int
    rank: int
    size: int

    def __init__(
        self, comm: Any, row_groups: int = 8, exchange: str = "ordered", local_steps: int = 1
    ) -> None:
        if not all(hasattr(comm, name) for name in ("Get_rank", "Get_size", "Alltoallv")):
            raise TypeError(f"comm is {comm!r}; expected a communicator of mpi4py")
        self.comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.row_groups = checks.positive_int(row_groups, "row_groups")
        self.exchange = checks.choice(exchange, "exchange", _EXCHANGES)
        self.local_steps = checks.positive_int(local_steps, "local_steps")
        if self.size > self.row_groups:
            raise ValueError(f"row_groups is {row_groups}; expected {self.size} ranks or more")
        self._cuts = [self.row_groups * r // self.size for r in range(self.size + 1)]
        self._bytes = 0

    @property
    def bytes_sent(self) -> int:
        """Bytes of gradients and parameters sent to other ranks so far."""
        return self._bytes

    @property
    def groups(self) -> range:
        """The groups of this rank."""
        return range(self._cuts[self.rank], self._cuts[self.rank + 1])

    def rows(self, group: int, n: int) -> tuple[int, int]:
        """The rows of a group among n."""
        return n * group // self.row_groups, n * (group + 1) // self.row_groups

    def settings(self) -> tuple[int, str, int]:
        """What must be the same on all ranks."""
        return self.row_groups, self.exchange, self.local_steps

    # ---- what ranks tell each other ----

    def greet(self, about: Mapping[str, Any] | None, error: BaseException | None = None) -> None:
        """See that all ranks train the same in the same way; tell them of an error otherwise.

        Raises
        ------
        RankError
            If another rank has an error.
        ValueError
            If ranks differ; on all of them.
        """
        text = None if error is None else f"{type(error).__name__}: {error}"
        told = self.comm.allgather((text, None if about is None else dict(about)))
        if error is not None:
            return
        for rank, (text, _) in enumerate(told):
            if text is not None:
                raise RankError(f"rank {rank} has failed: {text}")
        first = told[0][1]
        for rank, (_, other) in enumerate(told):
            for name, value in first.items():
                if other[name] != value:
                    raise ValueError(
                        f"rank {rank} has another {name} than rank 0: {other[name]!r}; "
                        f"expected {value!r}"
                    )

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let the other ranks know when this one fails or stops."""
        try:
            yield
        except RankError:
            raise
        except BaseException:
            self._tell(_FAILED, np.zeros(self.row_groups))
            raise
        told = self._tell(_DONE, np.zeros(self.row_groups))
        self._check(told, _DONE)

    def losses(self, own: NDArray[np.float64]) -> NDArray[np.float64]:
        """The losses of all groups, of which this rank knows its own; the rest are 0.

        Raises
        ------
        RankError
            If another rank has failed, or makes no more steps.
        """
        told = self._tell(_AT_WORK, own)
        self._check(told, _AT_WORK)
        found: NDArray[np.float64] = told[:, 1:].sum(axis=0)
        return found

    def _tell(self, state: float, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        told = np.empty((self.size, 1 + self.row_groups))
        self.comm.Allgather(np.concatenate([[state], losses]), told)
        return told

    def _check(self, told: NDArray[np.float64], state: float) -> None:
        for rank, other in enumerate(told[:, 0]):
            if other == _FAILED:
                raise RankError(f"rank {rank} has failed; what it raised says why")
        for rank, other in enumerate(told[:, 0]):
            if other != state:
                done, left = (rank, self.rank) if other == _DONE else (self.rank, rank)
                raise RankError(f"rank {done} has stopped training; rank {left} has not")

    # ---- sums ----

    def sum_of(self, own: Array) -> Array:
        """The sum over all groups, (P,), of the vectors of this rank's groups, (groups, P)."""
        if self.exchange == "allreduce":
            total: Array = own.sum(axis=0, dtype=own.dtype)
            self.comm.Allreduce(total.copy(), total)
            self._count(2 * total.nbytes)
            return total
        return self._sum_in_order(own)

    def _sum_in_order(self, own: Array) -> Array:
        """The same, added in the order of the groups; each rank adds up a part of the vectors."""
        n, size = own.shape[1], self.size
        cuts = [n * r // size for r in range(size + 1)]
        widths = np.diff(cuts)
        sent = np.concatenate([own[:, a:b].ravel() for a, b in pairwise(cuts)])
        mine = int(widths[self.rank])
        received = np.empty((self.row_groups, mine), own.dtype)
        self.comm.Alltoallv(
            [sent, (len(self.groups) * widths).tolist()],
            [received, (np.diff(self._cuts) * mine).tolist()],
        )
        part = received[0].copy()
        for group in received[1:]:
            part += group
        total = np.empty(n, own.dtype)
        self.comm.Allgatherv(part, [total, widths.tolist()])
        self._count(own.nbytes + total.nbytes)
        return total

    def mean_of(self, vector: Array) -> Array:
        """The mean over the ranks."""
        total = np.empty_like(vector)
        self.comm.Allreduce(vector, total)
        self._count(2 * total.nbytes)
        total /= self.size
        return total

    def _count(self, n_bytes: int) -> None:
        self._bytes += n_bytes * (self.size - 1) // self.size

    def __repr__(self) -> str:
        return (
            f"<Ranks: {self.rank} of {self.size}, row_groups={self.row_groups}, "
            f"exchange={self.exchange!r}, local_steps={self.local_steps}>"
        )


def as_ranks(comm: Any) -> Ranks | None:
    """The argument ``comm`` of a trainer."""
    return comm if comm is None or isinstance(comm, Ranks) else Ranks(comm)


def is_first(ranks: Ranks | None) -> bool:
    """Whether this process writes what all know: it is the first, or alone."""
    return ranks is None or ranks.rank == 0
