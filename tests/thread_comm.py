"""Ranks that are threads: a communicator with the calls of mpi4py that training makes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

# A rank that has waited so long waits for one that will not come.
SECONDS = 60


class Comm:
    """One of ``size`` ranks; ``shared`` is a barrier and a place for each."""

    def __init__(self, rank, size, shared):
        self.rank, self.size = rank, size
        self.barrier, self.places = shared

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.size

    def allgather(self, value):
        """What all ranks give, in their order."""
        self.places[self.rank] = value
        self.barrier.wait(SECONDS)
        found = list(self.places)
        self.barrier.wait(SECONDS)
        return found

    def Allgather(self, sent, received):
        received[...] = np.stack(self.allgather(sent.copy()))

    def Allgatherv(self, sent, to):
        received, widths = to
        parts = self.allgather(sent.copy())
        assert [len(part) for part in parts] == widths
        received[...] = np.concatenate(parts)

    def Allreduce(self, sent, received):
        received[...] = sum(self.allgather(sent.copy()))

    def Alltoallv(self, sent, to):
        (values, counts), (received, expected) = sent, to
        cuts = np.cumsum([0, *counts])
        told = self.allgather([values[a:b].copy() for a, b in pairwise(cuts)])
        parts = [parts[self.rank] for parts in told]
        assert [len(part) for part in parts] == expected
        received[...] = np.concatenate(parts).reshape(received.shape)


def run(size, program):
    """``program(comm)`` on so many ranks; what each returns or raises."""
    shared = threading.Barrier(size), [None] * size

    def rank(i):
        try:
            return program(Comm(i, size, shared))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(rank, range(size)))
