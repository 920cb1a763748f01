"""Processes that train one net: the same bits for any number, and none is left waiting."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ranks_nets import LABELS, N, X, make, source, write
from thread_comm import run
from trainer_parts import Gain, SaveAndEnd

import cmlp
from cmlp.training import RankError, Ranks

ROUND = {"epochs": 2, "batch_size": 50}
# A program that has not ended by then hangs.
SECONDS = 120


def in_python(comm):
    net = cmlp.Sequential(cmlp.Dense(5, 8, "tanh"), Gain(8), cmlp.Dense(8, 3), seed=3)
    return cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1, momentum=0.9), comm=comm)


def outcome(trainer, *data, **options):
    history = trainer.fit(*data, **{**ROUND, **options})
    return trainer.net.get_flat().tolist(), history["loss"]


class TestBits:
    @pytest.mark.parametrize(
        "kind", ["built in", "in Python", "weights", "source", "one row", "views"]
    )
    def test_are_those_of_one_rank(self, tmp_path, kind):
        write(tmp_path)

        def program(comm):
            if kind == "in Python":
                return outcome(in_python(comm), X, LABELS)
            if kind == "source":
                return outcome(make(comm), source(tmp_path))
            if kind == "one row":
                return outcome(make(comm), X[:41], LABELS[:41], batch_size=3)
            if kind == "views":
                trainer = make(comm)
                trainer.augment = cmlp.Augment((1, 5), rotate=5.0, elastic=(1.0, 1.0))
                return outcome(trainer, X, LABELS)
            weight = np.linspace(0.5, 1.5, N) if kind == "weights" else None
            return outcome(make(comm), X, LABELS, sample_weight=weight)

        first = run(1, program)[0]
        assert not isinstance(first, Exception), first
        for size in (2, 3, 8):
            assert run(size, program) == [first] * size

    def test_depend_on_the_groups_and_are_near_those_without(self):
        found = []
        for groups in (2, 8):
            found += run(2, lambda comm, g=groups: outcome(make(Ranks(comm, g)), X, LABELS)[0])[:1]
        assert found[0] != found[1]

        def plain(comm, optimizer=None):
            net = cmlp.Sequential(cmlp.Dense(5, 8, "tanh"), cmlp.Dense(8, 3), seed=3)
            trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1), comm=comm)
            return np.array(outcome(trainer, X, LABELS)[0])

        alone, shared = plain(None), run(3, plain)[0]
        np.testing.assert_allclose(shared, alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("options", [{"exchange": "allreduce"}, {"local_steps": 3}])
    def test_of_faster_ways_agree_among_ranks(self, options):
        found = run(3, lambda comm: outcome(make(Ranks(comm, **options)), X, LABELS))
        assert found[1:] == found[:1] * 2
        ordered = run(1, lambda comm: outcome(make(comm), X, LABELS))[0]
        assert found[0] != ordered
        np.testing.assert_allclose(found[0][1], ordered[1], rtol=0.02)

    @pytest.mark.parametrize("sizes", [(1, 3), (4, 2), (2, 8)])
    @pytest.mark.parametrize("by", ["source", "arrays"])
    def test_resumed_on_other_ranks(self, tmp_path, sizes, by):
        write(tmp_path)
        data = (source(tmp_path),) if by == "source" else (X, LABELS)
        path = tmp_path / "cut.safetensors"
        whole = run(1, lambda comm: outcome(make(comm), *data))[0]
        for step in np.random.default_rng(6).integers(1, 2 * -(-N // 50), 4):
            cut = SaveAndEnd(int(step), path)
            run(sizes[0], lambda comm, cut=cut: outcome(make(comm), *data, callbacks=[cut]))
            assert run(sizes[1], lambda comm: outcome(make(comm), *data, resume=path))[0] == whole

    def test_are_saved_by_the_first_rank_alone(self, tmp_path):
        def program(comm):
            path = tmp_path / f"{comm.rank}.safetensors"
            trainer = make(comm)
            trainer.fit(X, LABELS, callbacks=[cmlp.ModelCheckpoint(str(path))], **ROUND)
            trainer.save_checkpoint(path)

        assert run(3, program) == [None] * 3
        assert [path.name for path in tmp_path.iterdir()] == ["0.safetensors"]

    def test_bytes_are_as_stated(self):
        for size in (1, 2, 8):
            trainers = run(size, lambda comm: sent_by(make(comm)))
            n, steps = make().net.n_parameters, 2 * -(-N // 50)
            expected = 4 * n * (size - 1) / size * (8 / size + 1) * steps
            assert trainers[0] == pytest.approx(expected, abs=4 * steps)


def sent_by(trainer):
    trainer.fit(X, LABELS, **ROUND)
    return trainer.ranks.bytes_sent


class TestWhoDiffers:
    @pytest.mark.parametrize(
        ("other", "what"),
        [
            (lambda comm: outcome(make(comm), X[:-1], LABELS[:-1]), "n_samples"),
            (lambda comm: outcome(make(comm), 2 * X, LABELS), "data"),
            (lambda comm: outcome(make(comm), X, LABELS, batch_size=49), "batch_size"),
            (lambda comm: outcome(make(comm), X, LABELS, epochs=3), "epochs"),
            (lambda comm: outcome(make(comm), X, LABELS, shuffle=False), "shuffle"),
            (lambda comm: outcome(make(comm, seed=9), X, LABELS), "seed"),
            (lambda comm: outcome(make(comm, cmlp.Adam(0.02)), X, LABELS), "optimizer"),
            (lambda comm: outcome(make(Ranks(comm, 9)), X, LABELS), "ranks"),
            (lambda comm: outcome(other_weights(make(comm)), X, LABELS), "parameters"),
        ],
    )
    def test_is_refused_by_all(self, other, what):
        def program(comm):
            return (other if comm.rank == 1 else outcome_of)(comm)

        for error in run(3, program):
            assert isinstance(error, ValueError)
            assert str(error).startswith(f"rank 1 has another {what} than rank 0")

    def test_has_another_version(self, monkeypatch):
        import threading

        from cmlp.training import parallel

        plain, seen = parallel.description, threading.local()

        def changed(*arguments):
            found = plain(*arguments)
            return {**found, "version of cmlp": getattr(seen, "version", "0")}

        monkeypatch.setattr("cmlp.training.trainer.description", changed)

        def program(comm):
            seen.version = str(comm.rank)
            return outcome_of(comm)

        assert "another version of cmlp" in str(run(2, program)[0])

    def test_has_wrong_arguments(self):
        def program(comm):
            return outcome(make(comm), X, LABELS[:9] if comm.rank == 1 else LABELS)

        errors = run(3, program)
        assert "y has 9 rows" in str(errors[1])
        for error in (errors[0], errors[2]):
            assert isinstance(error, RankError)
            assert "rank 1 has failed: ValueError: y has 9 rows" in str(error)


def outcome_of(comm, *callbacks):
    return outcome(make(comm), X, LABELS, callbacks=callbacks)


def other_weights(trainer):
    trainer.net.set_flat(trainer.net.get_flat() * 2)
    return trainer


class Fail(cmlp.Callback):
    """Does something at one event of one rank."""

    def __init__(self, comm, event, action):
        if comm.rank == 1:
            setattr(self, event, lambda *_: action())
        self.every_steps = 5


def disk():
    raise OSError("the disk is gone")


class TestARankThatFails:
    @pytest.mark.parametrize(
        "event", ["on_train_begin", "on_steps", "on_epoch_end", "on_train_end"]
    )
    def test_ends_the_others(self, event):
        errors = run(
            3, lambda comm: outcome(make(comm), X, LABELS, callbacks=[Fail(comm, event, disk)])
        )
        assert isinstance(errors[1], OSError)
        for error in (errors[0], errors[2]):
            assert isinstance(error, RankError) and "rank 1 has failed" in str(error)

    def test_by_its_data(self):
        def chunks(comm):
            for i, start in enumerate(range(0, N, 60)):
                if comm.rank == 1 and i == 7:
                    disk()
                yield X[start : start + 60], LABELS[start : start + 60]

        def program(comm):
            data = cmlp.data.Source.from_chunks(lambda: chunks(comm), N, window=70)
            return outcome(make(comm), data)

        errors = run(2, program)
        assert isinstance(errors[0], RankError) and isinstance(errors[1], OSError)

    def test_that_stops_before_the_others(self):
        stop = lambda: True  # noqa: E731
        errors = run(
            2, lambda comm: outcome(make(comm), X, LABELS, callbacks=[Fail(comm, "on_steps", stop)])
        )
        for error in errors:
            assert isinstance(error, RankError)
            assert "rank 1 has stopped training; rank 0 has not" in str(error)

    def test_diverging_is_one_for_all(self):
        bad = X.copy()
        bad[7] = 3e38

        def program(comm):
            net = cmlp.Sequential(cmlp.Dense(5, 3), seed=1)
            trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(0.1), comm=comm)
            try:
                trainer.fit(bad, np.ones((N, 3)), **ROUND)
            except cmlp.DivergenceError:
                return net.get_flat().tolist()

        found = run(3, program)
        assert found[0] is not None and found[1:] == found[:1] * 2


def test_what_is_refused():
    with pytest.raises(TypeError, match="comm is 3; expected a communicator"):
        make(3)

    def program(comm):
        for options, match in (
            ({"row_groups": 2}, "row_groups is 2; expected 3 ranks or more"),
            ({"exchange": "some"}, "exchange is 'some'"),
            ({"local_steps": 0}, "local_steps is 0"),
        ):
            with pytest.raises(ValueError, match=match):
                Ranks(comm, **options)
        trainer = make(comm)
        with pytest.raises(TypeError, match="single steps are for one process"):
            trainer.train_step(X, LABELS)
        with pytest.raises(AttributeError):
            trainer.ranks = None
        trainer.optimizer = cmlp.LBFGS()
        with pytest.raises(ValueError, match="comm is given"):
            trainer.fit(X, LABELS)
        return repr(trainer.ranks)

    found = run(3, program)
    assert found[2] == "<Ranks: 2 of 3, row_groups=8, exchange='ordered', local_steps=1>"


def test_gradients_of_a_net_are_set():
    net = make().net
    net.set_flat_grad(np.arange(net.n_parameters))
    assert np.array_equal(net.get_flat_grad(), np.arange(net.n_parameters, dtype="f"))
    with pytest.raises(ValueError, match="values has shape"):
        net.set_flat_grad(np.zeros(3))


# ---- MPI itself ----


def mpirun(size, *arguments):
    """The program of ``mpi_program.py`` on so many processes."""
    if shutil.which("mpirun") is None:
        pytest.skip("there is no mpirun")
    pytest.importorskip("mpi4py")
    settings = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_mpi_yield_when_idle": "1",
    }
    program = Path(__file__).with_name("mpi_program.py")
    return subprocess.run(
        ["mpirun", "-n", str(size), sys.executable, str(program), *map(str, arguments)],
        env={**os.environ, **settings}, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip


class TestMpi:
    @pytest.mark.parametrize("size", [1, 2, 4, pytest.param(8, marks=pytest.mark.slow)])
    def test_has_the_bits_of_threads(self, tmp_path, size):
        write(tmp_path)
        done = mpirun(size, "train", tmp_path)
        assert done.returncode == 0, done.stderr
        import hashlib

        def program(comm):
            trainer = make(comm)
            history = trainer.fit(source(tmp_path), **ROUND)
            digest = hashlib.sha256(trainer.net.get_flat().tobytes()).hexdigest()
            return [digest, *map(str, history["loss"])]

        assert done.stdout.split() == run(1, program)[0]

    @pytest.mark.parametrize("how", ["kill", "raise"])
    def test_a_rank_that_dies_ends_the_others(self, tmp_path, how):
        write(tmp_path)
        done = mpirun(3, how, tmp_path)
        assert done.returncode != 0
        if how == "raise":
            assert "the disk is gone" in done.stderr
            assert "RankError: rank 2 has failed" in done.stderr
