"""Children of a process that has trained on several threads train and predict too, and end."""

from __future__ import annotations

import hashlib
import multiprocessing
import threading

import numpy as np
import pytest
from core_nets import any_number_of_threads

import cmlp

# A child that has not ended by then hangs.
SECONDS = 10
METHODS = multiprocessing.get_all_start_methods()

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def make():
    """A trainer whose steps are large enough to be shared out among threads, and its data."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((512, 100), dtype=np.float32)
    y = rng.integers(0, 10, 512)
    net = cmlp.Sequential(
        cmlp.Dense(100, 200, activation="tanh"), cmlp.Dropout(0.1), cmlp.Dense(200, 10), seed=0
    )
    trainer = cmlp.Trainer(
        net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1, momentum=0.9), n_threads=2
    )
    return trainer, x, y


def work(trainer, x, y):
    """An epoch, a step, scores and passes; the bits of all that comes of it."""
    losses = trainer.fit(x, y, epochs=1, batch_size=256)["loss"]
    losses.append(trainer.train_step(x[:256], y[:256]))
    found = hashlib.sha256(np.array(losses))
    found.update(np.array(trainer.evaluate(x, y)["loss"]))
    found.update(trainer.net.predict(x))
    found.update(trainer.net.forward(x))
    found.update(trainer.net.backward(np.ones((512, 10), np.float32)))
    found.update(trainer.net.get_flat())
    return found.hexdigest()


def train_anew():
    """What a child does that makes everything itself."""
    return work(*make())


def send_trained_anew(pipe):
    pipe.send(train_anew())


@pytest.fixture
def trained():
    """A trainer that has been at work on two threads, and the bits of that work."""
    with any_number_of_threads():
        trainer, x, y = make()
        bits = work(trainer, x, y)
        if cmlp.info()["openmp"]:
            assert trainer.loop_for(256).plan.n_threads == 2
        yield trainer, x, y, bits


def run_children(method, times, target, *arguments, at_once=10):
    """What so many children send; each must end well, and soon."""
    answers = []
    while len(answers) < times:
        n = min(at_once, times - len(answers))
        answers += run_some(multiprocessing.get_context(method), n, target, arguments)
    return answers


def run_some(context, n, target, arguments):
    pipes = [context.Pipe(duplex=False) for _ in range(n)]
    children = [context.Process(target=target, args=(pipe, *arguments)) for _, pipe in pipes]
    try:
        for child in children:
            child.start()
        return [answer_of(child, pipe) for child, (pipe, _) in zip(children, pipes, strict=True)]
    finally:
        for child in children:
            child.kill()
            child.join()


def answer_of(child, pipe):
    assert pipe.poll(SECONDS), "the child hangs"
    answer = pipe.recv()
    child.join(SECONDS)
    assert child.exitcode == 0, "the child has answered, and does not end well"
    return answer


# ---- by fork ----


@pytest.mark.skipif("fork" not in METHODS, reason="needs fork")
class TestFork:
    def check(self, trained, times):
        trainer, x, y, bits = trained

        def go_on(pipe):
            pipe.send((work(trainer, x, y), train_anew()))

        before = trainer.net.get_flat()
        answers = run_children("fork", times, go_on)
        assert np.array_equal(trainer.net.get_flat(), before), "a child shares memory with us"
        assert set(answers) == {(work(trainer, x, y), bits)}

    def test_children_go_on_and_train_anew(self, trained):
        self.check(trained, 8)

    @pytest.mark.slow
    def test_many_children(self, trained):
        self.check(trained, 150)

    def test_children_of_children(self, trained):
        def pass_on(pipe):
            pipe.send(run_children("fork", 2, send_trained_anew))

        assert run_children("fork", 2, pass_on) == [[trained[3]] * 2] * 2

    def test_from_a_thread(self, trained):
        """While another thread of the parent is in the middle of a prediction."""
        trainer, x, _, bits = trained
        over = threading.Event()

        def predict():
            while not over.is_set():
                trainer.net.predict(x)

        thread = threading.Thread(target=predict)
        thread.start()
        try:
            assert set(run_children("fork", 6, send_trained_anew)) == {bits}
        finally:
            over.set()
            thread.join()


# ---- by a fresh interpreter ----


def check_fresh(method, times, bits):
    assert run_children(method, times, send_trained_anew, at_once=2) == [bits] * times


FRESH = sorted({"spawn", "forkserver"} & set(METHODS))


@pytest.mark.parametrize("method", FRESH)
def test_fresh_children(method, trained):
    check_fresh(method, 2, trained[3])


@pytest.mark.slow
@pytest.mark.parametrize("method", FRESH)
def test_many_fresh_children(method, trained):
    check_fresh(method, 20, trained[3])


# ---- by joblib ----


def check_joblib(backend, times, bits):
    joblib = pytest.importorskip("joblib")
    jobs = (joblib.delayed(train_anew)() for _ in range(times))
    assert joblib.Parallel(n_jobs=2, backend=backend, timeout=SECONDS)(jobs) == [bits] * times


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(backend, trained):
    check_joblib(backend, 4, trained[3])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib_many_times(backend, trained):
    check_joblib(backend, 20, trained[3])
