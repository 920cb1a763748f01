"""One call at a time trains a net: any other is refused before anything is changed."""

import threading

import numpy as np
import pytest
from trainer_parts import PythonLoss, PythonSgd, PythonTanh, build

import cmlp

REFUSED = "the net is being trained by another call"


def compiled(seed=0):
    return cmlp.Trainer(build("float32", seed=seed), cmlp.SoftmaxCrossEntropy(), seed=1)


def in_python(seed=0):
    layers = [cmlp.Dense(2, 5), PythonTanh(), cmlp.Dense(5, 3)]
    net = cmlp.Sequential(*layers, dtype="float32", seed=seed)
    return cmlp.Trainer(net, PythonLoss(), PythonSgd(0.1), seed=1)


def with_momentum(seed=0):
    trainer = in_python(seed)
    trainer.optimizer = cmlp.SGD(0.1, momentum=0.9)
    return trainer


class OnlyPython:
    """A net of layers none of which is built in."""

    def __init__(self):
        self.w = np.ones((3, 2), np.float32)
        self.dw = np.zeros_like(self.w)

    def n_out(self, n_in):
        return 3

    def forward(self, x, training=False):
        self.x = x
        return x @ self.w.T

    def backward(self, dy):
        self.dw = dy.T @ self.x
        return dy @ self.w

    def parameters(self):
        return {"w": self.w}

    def gradients(self):
        return {"w": self.dw}


def without_core(seed=0):
    net = cmlp.Sequential(OnlyPython(), n_in=2, seed=seed)
    return cmlp.Trainer(net, PythonLoss(), PythonSgd(0.1), seed=1)


def lbfgs(seed=0):
    pytest.importorskip("scipy")
    trainer = compiled(seed)
    trainer.optimizer = cmlp.LBFGS()
    return trainer


MAKERS = [compiled, in_python, with_momentum, without_core, lbfgs]


class Meet(cmlp.Callback):
    """Holds a call of fit up after its first epoch until the other thread has had its turn."""

    def __init__(self):
        self.there, self.go_on = threading.Event(), threading.Event()

    def on_epoch_end(self, trainer, row):
        self.there.set()
        assert self.go_on.wait(60)


def seen(trainer):
    """All that a call that is refused must not change."""
    net = trainer.net
    return net.classes, net.link, trainer.epoch, trainer.step_count, trainer.history.to_dict()


def fit_beside(trainer, points, work):
    """Fit, and do ``work`` in another thread between two epochs; the errors it ended with."""
    meet, errors = Meet(), []

    def beside():
        assert meet.there.wait(60)
        before = seen(trainer)
        try:
            work()
        except Exception as error:
            errors.append(error)
        assert [np.array_equal(a, b) for a, b in zip(before, seen(trainer), strict=True)]
        meet.go_on.set()

    thread = threading.Thread(target=beside)
    thread.start()
    trainer.fit(*points, epochs=3, batch_size=16, validation=points, callbacks=[meet])
    thread.join()
    return errors


def ways_to_train(trainer, points):
    """All calls that train the net of a trainer, by the trainer itself or by others."""
    x, y = points
    x = np.ascontiguousarray(x, trainer.net.dtype)
    other = cmlp.Trainer(trainer.net, trainer.loss)
    ways = {
        "its own fit": lambda: trainer.fit(x, y),
        "another trainer's fit": lambda: other.fit(x, y, validation=points),
        "another trainer's step": lambda: other.train_step(x[:9], y[:9]),
        "L-BFGS": lambda: cmlp.Trainer(trainer.net, trainer.loss, cmlp.LBFGS()).fit(x, y),
    }
    if not isinstance(trainer.optimizer, cmlp.LBFGS):
        ways["its own step"] = lambda: trainer.train_step(x[:9], y[:9])
    if any(isinstance(layer, cmlp.Dense) for layer in trainer.net.layers):
        ways["an optimizer's step"] = lambda: cmlp.SGD().step(trainer.net)
    return ways


@pytest.mark.parametrize("make", MAKERS)
def test_every_way_to_train_in_another_thread(make, points):
    alone = make()
    alone.fit(*points, epochs=3, batch_size=16, validation=points)
    for name, way in ways_to_train(make(), points).items():
        trainer = make()
        way = ways_to_train(trainer, points)[name]
        errors = fit_beside(trainer, points, way)
        assert len(errors) == 1, name
        assert isinstance(errors[0], RuntimeError), name
        assert REFUSED in str(errors[0])
        assert np.array_equal(trainer.net.get_flat(), alone.net.get_flat()), name
        assert trainer.history["loss"] == alone.history["loss"]
        trainer.fit(*points, epochs=1)  # it is free again


@pytest.mark.parametrize("make", MAKERS)
def test_a_quick_step_in_another_thread(make, points):
    """Also one that was about to go straight to the core."""
    trainer = make()
    if isinstance(trainer.optimizer, cmlp.LBFGS):
        pytest.skip("it has no single steps")
    other = cmlp.Trainer(trainer.net, trainer.loss, trainer.optimizer)
    x, y = points[0][:9].astype("f"), points[1][:9]
    for _ in range(3):
        trainer.train_step(x, y)
        other.train_step(x, y)
    for one in (trainer, other):
        errors = fit_beside(trainer, points, lambda one=one: one.train_step(x, y))
        assert [type(error) for error in errors] == [RuntimeError]
    assert other.step_count == 3


@pytest.mark.parametrize("make", MAKERS)
def test_within_a_callback(make, points):
    """A callback is told clearly that it cannot train the net, and the call goes on."""
    alone = make()
    alone.fit(*points, epochs=2, batch_size=16)
    refused = []

    class Train(cmlp.Callback):
        def on_epoch_end(self, trainer, row):
            ways = ways_to_train(trainer, points)
            ways.pop("an optimizer's step", None)  # this thread's own affair
            for way in ways.values():
                with pytest.raises(RuntimeError, match=f"{REFUSED}, in this thread; a callback"):
                    way()
                refused.append(way)

    trainer = make()
    trainer.fit(*points, epochs=2, batch_size=16, callbacks=[Train()])
    assert len(refused) >= 6
    assert np.array_equal(trainer.net.get_flat(), alone.net.get_flat())
    assert trainer.step_count == alone.step_count


@pytest.mark.parametrize("make", [compiled, in_python])
@pytest.mark.parametrize("one_trainer", [True, False])
def test_forty_races(one_trainer, make, points):
    """Two threads begin at once: one of them trains, and the other has not been there."""
    settings = {"epochs": 4, "batch_size": 16, "validation": points}
    alone = make()
    alone.fit(*points, **settings)
    for _ in range(40):
        first = make()
        second = first if one_trainer else cmlp.Trainer(first.net, first.loss, first.optimizer)
        second.seed = first.seed
        barrier, ran, refused = threading.Barrier(2), [], []

        def work(trainer, barrier=barrier, ran=ran, refused=refused):
            barrier.wait()
            try:
                trainer.fit(*points, **settings)
                ran.append(trainer)
            except RuntimeError as error:
                assert REFUSED in str(error)
                refused.append(trainer)

        threads = [threading.Thread(target=work, args=[t]) for t in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ran
        if not refused:  # one after the other
            assert sum(t.epoch for t in {first, second}) == 8
            continue
        assert np.array_equal(first.net.get_flat(), alone.net.get_flat())
        assert ran[0].history["validation_loss"] == alone.history["validation_loss"]
        assert (ran[0].epoch, ran[0].step_count) == (alone.epoch, alone.step_count)
        if not one_trainer:
            assert (refused[0].epoch, len(refused[0].history)) == (0, 0)


def test_labels_of_a_refused_call_are_not_kept(points):
    """The one that is refused does not settle the net's classes."""
    trainer = compiled()
    names = np.array(["a", "b", "c"])[points[1]]
    other = cmlp.Trainer(trainer.net, cmlp.SoftmaxCrossEntropy())
    errors = fit_beside(trainer, points, lambda: other.fit(points[0], names))
    assert len(errors) == 1
    assert trainer.net.classes is None


def test_bad_validation_settles_nothing(points):
    trainer = compiled()
    names = np.array(["a", "b", "c"])[points[1]]
    with pytest.raises(ValueError, match="validation y"):
        trainer.fit(points[0], names, validation=(points[0], names[:3]))
    assert trainer.net.classes is None


def test_an_error_sets_the_net_free(points):
    class Break(cmlp.Callback):
        def on_epoch_begin(self, trainer):
            raise RuntimeError("mine")

    trainer = compiled()
    with pytest.raises(RuntimeError, match="mine"):
        trainer.fit(*points, callbacks=[Break()])
    trainer.fit(*points, epochs=1)
    with pytest.raises(ValueError, match="epochs is 0"):
        trainer.fit(*points, epochs=0)
    trainer.train_step(*points)


def test_nets_that_share_a_layer(points):
    shared = cmlp.Dense(2, 3)
    first = cmlp.Trainer(cmlp.Sequential(shared, seed=0), cmlp.SoftmaxCrossEntropy())
    second = cmlp.Trainer(cmlp.Sequential(shared, seed=0), cmlp.SoftmaxCrossEntropy())
    errors = fit_beside(first, points, lambda: second.fit(*points))
    assert len(errors) == 1
    assert REFUSED in str(errors[0])


def test_other_nets_are_free(points):
    assert not fit_beside(compiled(), points, lambda: compiled().fit(*points, epochs=1))
