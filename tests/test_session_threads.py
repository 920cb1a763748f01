"""Sessions and threads: who may do what while one trains."""

import gc
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from session_cases import LABELS, X, by_fit, make, open_session, same

import cmlp

REFUSED = "the net is being trained by another call"


def ways_to_train(trainer):
    other = cmlp.Trainer(trainer.net, trainer.loss)
    return {
        "its own fit": lambda: trainer.fit(X, LABELS),
        "its own step": lambda: trainer.train_step(X[:9], LABELS[:9]),
        "another trainer's fit": lambda: other.fit(X, LABELS),
        "another trainer's step": lambda: other.train_step(X[:9], LABELS[:9]),
        "an optimizer's step": lambda: cmlp.SGD().step(trainer.net),
        "another session": lambda: cmlp.Session(other, X, LABELS),
        "its own second session": lambda: cmlp.Session(trainer, X, LABELS),
    }


def in_another_thread(work):
    """The error that some work ends with in another thread."""
    errors = []

    def beside():
        try:
            work()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
    return errors[0] if errors else None


@pytest.mark.parametrize("way", ways_to_train(make("sgd")[0]))
@pytest.mark.parametrize("name", ["sgd", "layers in python", "all in python"])
def test_the_net_is_its_own(name, way):
    """In every thread, whether it trains or rests; free as soon as it is closed."""
    trainer, y, more = make(name)
    work = ways_to_train(trainer)[way]
    if "step" in way and name == "sgd":
        cmlp.Trainer(trainer.net, trainer.loss)  # one that has gone straight to the core before
        x = np.ascontiguousarray(X[:9], trainer.net.dtype)
        quick = cmlp.Trainer(trainer.net, trainer.loss)
        for _ in range(3):
            quick.train_step(x, LABELS[:9])
        work = lambda: quick.train_step(x, LABELS[:9])  # noqa: E731
    with cmlp.Session(trainer, X, y, **more) as session:
        session.advance(2)
        with pytest.raises(RuntimeError, match=REFUSED):
            work()
        assert REFUSED in str(in_another_thread(work))
        session.start()
        with pytest.raises(RuntimeError, match=REFUSED):
            work()
        session.pause()
        assert session.error is None
    if name != "all in python" or "optimizer" not in way:
        work()


def test_a_session_that_is_forgotten_lets_go():
    trainer, y, more = make("sgd")
    session = cmlp.Session(trainer, X, y, **more)
    session.advance(8)
    del session
    gc.collect()
    assert trainer.fitting is None
    trainer.fit(X, y, epochs=1, **more)


def test_a_session_that_could_not_be_made_lets_go():
    trainer, y, more = make("sgd")
    with pytest.raises(ValueError, match="y has"):
        cmlp.Session(trainer, X, y[:3])
    trainer.fit(X, y, epochs=1, **more)


class TestItsOwnThread:
    def test_until_it_is_paused(self):
        with open_session() as session:
            session.start()
            assert session.running
            assert not session.wait(0.0)
            session.pause()
            assert not session.running
            step = session.step
            assert step > 0
            assert session.wait(0.0)
            assert session.step == step

    @pytest.mark.parametrize("name", ["sgd", "all in python"])
    def test_steps_and_epochs(self, name):
        for start, steps in (
            ({"steps": 11}, 11),
            ({"epochs": 2}, 12),
            ({"epochs": 2, "steps": 9}, 9),
            ({"epochs": 1, "steps": 9}, 6),
        ):
            with open_session(name) as session:
                session.start(**start)
                assert session.wait(60)
                assert session.step == steps

    def test_epochs_from_within_one(self):
        with open_session() as session:
            session.advance(8)
            session.start(epochs=2)
            session.wait()
            assert (session.step, session.epoch) == (18, 3)

    @pytest.mark.parametrize("name", ["sgd", "adam, drawing, one thread", "layers in python"])
    def test_until_a_loss(self, name):
        with open_session(name) as session:
            session.start(until=0.45, epochs=2000)
            session.wait()
            history = session.history
            column = history["validation_loss" if "validation_loss" in history else "loss"]
            assert column[-1] <= 0.45 < min(column[:-1])

    def test_until_a_function(self):
        seen = []

        def until(snapshot):
            seen.append(snapshot)
            return len(seen) == 5

        with open_session() as session:
            session.start(until=until)
            session.wait()
            assert [s.step for s in seen] == [6, 12, 18, 24, 30]
            assert np.array_equal(seen[-1].state.weights, session.trainer.net.get_flat())

    def test_paused_from_within(self):
        with open_session() as session:
            session.start(until=lambda snapshot: session.pause())
            session.wait()
            assert session.step == 6

    def test_calls_that_would_never_end(self):
        with open_session() as session:
            for call in (session.wait, session.close):
                session.start(until=lambda snapshot, call=call: call())
                with pytest.raises(RuntimeError, match="own thread"):
                    session.wait()
            assert isinstance(session.error, RuntimeError)

    def test_settings_while_it_runs(self):
        with open_session() as session:
            session.start()
            session.set(learning_rate=0.0)
            weights = session.snapshot().state.weights
            session.edit(0, "bias", 1, 4.0)
            session.set(batch_size=30)
            session.pause()
            assert session.trainer.net.layers[0].bias[1] == 4.0
            after = session.trainer.net.get_flat()
            assert (after != weights).sum() == 1

    def test_restored_while_it_runs(self):
        with open_session("adam, drawing, one thread") as session:
            session.advance(3)
            snapshot = session.snapshot()
            session.start(steps=500)
            for _ in range(5):
                session.restore(snapshot)
            session.wait()
            n = session.step
            with open_session("adam, drawing, one thread") as again:
                again.advance(n)
                assert same(session.trainer, again.trainer)


class TestErrors:
    def test_divergence_is_kept(self):
        with open_session("momentum, float64") as session:
            session.set(learning_rate=1e200)
            session.start()
            with pytest.raises(cmlp.DivergenceError, match="epoch"):
                session.wait(60)
            assert isinstance(session.error, cmlp.DivergenceError)
            session.set(learning_rate=0.01)
            session.start(steps=3)
            assert session.wait(60)
            assert session.error is None

    def test_errors_of_users(self):
        def until(snapshot):
            raise KeyError("mine")

        with open_session() as session:
            session.start(until=until)
            with pytest.raises(KeyError, match="mine"):
                session.wait()
            session.advance(1)
            assert session.error is None

    def test_in_the_middle_of_a_step(self):
        """A part in Python that asks the session for what stands only between two steps."""
        calls = []

        class Asks:
            def forward(self, x, training=False):
                if calls:
                    calls.pop()()
                return x

            def backward(self, dy):
                return dy

        net = cmlp.Sequential(cmlp.Dense(2, 3), Asks(), seed=0)
        with cmlp.Session(cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy()), X, LABELS) as session:
            for call in (session.snapshot, lambda: session.step, lambda: session.advance(1)):
                calls.append(call)
                with pytest.raises(RuntimeError, match=r"in the middle|trains already"):
                    session.advance(1)
            session.advance(1)
            assert session.step == 1


class TestOneAtATime:
    def test_start_and_advance(self):
        with open_session() as session:
            session.start()
            for work in (lambda: session.advance(1), session.start):
                with pytest.raises(RuntimeError, match="trains already"):
                    work()
            session.pause()
            session.advance(1)

    def test_many_threads(self):
        """Snapshots, settings and pauses from several threads; the steps are those of fit."""
        with open_session("adam, drawing, one thread") as session:
            session.start(epochs=60)
            steps = []

            def watch():
                for _ in range(30):
                    snapshot = session.snapshot(X[:4])
                    assert len(snapshot.activations) == 4
                    steps.append(snapshot.step)
                    assert session.epoch <= 60

            threads = [threading.Thread(target=watch) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            session.wait()
            assert len(steps) == 120
            assert same(session.trainer, by_fit("adam, drawing, one thread", 60))

    def test_any_thread_may_lead(self):
        with open_session() as session:
            for _ in range(4):
                assert in_another_thread(lambda: session.advance(3)) is None
            assert same(session.trainer, by_fit("sgd", 2))


class TestClose:
    def test_while_it_runs(self):
        session = open_session()
        session.start()
        session.close()
        assert session.closed
        assert not session.running
        session.close()
        session.trainer.fit(X, LABELS, epochs=1)
        for work in (
            session.snapshot,
            session.start,
            lambda: session.advance(1),
            lambda: session.step,
            lambda: session.set(learning_rate=0.1),
            session.__enter__,
        ):
            with pytest.raises(RuntimeError, match="closed"):
                work()

    def test_by_another_thread_while_one_waits(self):
        session = open_session()
        session.start()
        waiting = threading.Thread(target=session.wait)
        waiting.start()
        assert in_another_thread(session.close) is None
        waiting.join()

    def test_checkpoints(self, tmp_path):
        path = tmp_path / "between.safetensors"
        with open_session("adam, drawing, one thread") as session:
            session.start()
            session.save_checkpoint(path)
            with pytest.raises(RuntimeError, match="by another thread"):
                session.trainer.save_checkpoint(path)
            session.pause()
            session.trainer.save_checkpoint(tmp_path / "paused.safetensors")
        assert cmlp.Trainer.load_checkpoint(path).net.n_out == 3


@pytest.mark.parametrize("name", ["sgd", "layers in python"])
@pytest.mark.parametrize("end", ["pass", "raise SystemExit(0)", "os.fork() or os._exit(0)"])
def test_python_ends_while_it_runs(name, end):
    """At once, and in order."""
    if "fork" in end and not hasattr(__import__("os"), "fork"):
        pytest.skip("no fork here")
    program = f"""
        import os, sys
        sys.path.insert(0, {str(__file__.rpartition("/")[0])!r})
        from session_cases import open_session
        session = open_session({name!r})
        session.start()
        while session.step < 50:
            pass
        print(session.running, flush=True)
        {end}
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
