"""What `test_ranks.py` runs under mpirun: mpi_program.py JOB FOLDER."""

import hashlib
import os
import signal
import sys

import numpy as np
from mpi4py import MPI
from ranks_nets import make, source

import cmlp


def main(job, folder):
    comm = MPI.COMM_WORLD
    trainer = make(comm)
    if job == "train":
        history = trainer.fit(source(folder), epochs=2, batch_size=50)
        digest = hashlib.sha256(trainer.net.get_flat().tobytes()).hexdigest()
        told = comm.gather((digest, history["loss"]))
        if comm.rank == 0:
            assert all(other == told[0] for other in told)
            print(digest, *history["loss"])
        return

    class Die(cmlp.Callback):
        every_steps = 7

        def on_steps(self, trainer):
            if job == "kill" and comm.rank == comm.size - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if job == "raise" and comm.rank == comm.size - 1:
                raise OSError("the disk is gone")

    trainer.fit(source(folder), epochs=10**6, batch_size=50, callbacks=[Die()])


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main(*sys.argv[1:])
