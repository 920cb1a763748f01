"""A minibatch gives the same bits whatever sizes came before it."""

import copy
import itertools

import numpy as np
import pytest
from trainer_parts import PythonLoss, PythonTanh

import cmlp

SIZES = (1, 7, 16, 40, 100, 333)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(333, 8)).astype("f")
Y = RNG.integers(3, size=333)


def nets():
    """Nets that go by groups of rows, by units, and by parts written in Python."""
    layers = [cmlp.Dense(8, 64, "tanh"), cmlp.Dense(64, 64, "tanh")]
    yield "small", cmlp.Sequential(*layers, cmlp.Dense(64, 3), seed=0)
    layers = [cmlp.Dense(8, 256, "relu"), cmlp.Dropout(0.2), cmlp.Dense(256, 256, "relu")]
    yield "wide", cmlp.Sequential(*layers, cmlp.Dense(256, 3), seed=0)
    layers = [cmlp.Dense(8, 16), PythonTanh(), cmlp.Dropout(0.2), cmlp.Dense(16, 3)]
    yield "python", cmlp.Sequential(*layers, seed=0)


NETS = dict(nets())


def trainer_of(name, loss=cmlp.SoftmaxCrossEntropy):
    return cmlp.Trainer(NETS[name].copy(), loss(), cmlp.Adam(0.01))


def step(trainer, n):
    trainer.train_step(X[:n], Y[:n])


def fit(trainer, n):
    trainer.fit(X, Y, epochs=1, batch_size=n)


@pytest.mark.parametrize(("first", "second"), list(itertools.product([step, fit], repeat=2)))
@pytest.mark.parametrize("loss", [cmlp.SoftmaxCrossEntropy, PythonLoss])
@pytest.mark.parametrize("name", NETS)
def test_every_pair(name, loss, first, second):
    """The trainer that goes on and a fresh one in its place come to the same bits."""
    for a, b in itertools.product(SIZES, repeat=2):
        trainer = trainer_of(name, loss)
        first(trainer, a)
        fresh = copy.deepcopy(trainer)  # which has no loop yet
        for one in (trainer, fresh):
            second(one, b)
        assert np.array_equal(trainer.net.get_flat(), fresh.net.get_flat()), (a, b)


@pytest.mark.parametrize("name", NETS)
def test_many_sizes_in_turn(name):
    """More of them than loops are kept."""
    trainer = trainer_of(name)
    for n in [*SIZES, *reversed(SIZES), *SIZES[::2], *SIZES[1::2]]:
        fresh = copy.deepcopy(trainer)
        for one in (trainer, fresh):
            step(one, n)
        assert np.array_equal(trainer.net.get_flat(), fresh.net.get_flat()), n


def test_sizes_matter():
    """A plan for larger minibatches sums in another order: else there were nothing to test."""
    found = []
    for size in (333, 100):
        trainer = trainer_of("small")
        plan = trainer.loop_for(size).plan
        plan.step(X[:100], Y[:100], None, 0.01)
        found.append(trainer.net.get_flat())
    assert not np.array_equal(*found)


def test_the_quick_way_is_for_its_own_size_alone():
    trainer = trainer_of("wide")
    step(trainer, 40)
    plan = trainer.loop_for(40).plan
    with pytest.raises(ValueError, match="x has 16 rows; expected 40"):
        plan.check_and_step(X[:16], Y[:16], None, 0.1, None)


@pytest.mark.parametrize("name", NETS)
def test_gradients_of_the_net_itself(name):
    """`Sequential.forward` and `backward`, for a loop of one's own."""
    for a, b in itertools.product(SIZES, repeat=2):
        found = []
        for sizes in ((a, b), (b,)):
            net, loss = NETS[name].copy(), cmlp.SoftmaxCrossEntropy()
            for n in sizes:
                loss.forward(net.forward(X[:n]), Y[:n])
                net.backward(loss.backward())
            found.append(net.get_flat_grad())
        assert np.array_equal(*found), (a, b)
