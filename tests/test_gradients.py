"""Gradients of every pair of output and loss, and the pairs that are refused."""

import numpy as np
import pytest
from formulas import loss_value
from oracle import numerical_gradient, relative_error

import cmlp
from cmlp import _core, losses

ROWS = {name: kind() for name, kind in losses.KINDS.items()}
ROWS["huber"] = cmlp.Huber(0.6)
ROWS["softmax_cross_entropy"] = cmlp.SoftmaxCrossEntropy(label_smoothing=0.1)


ENDS = [name for name in _core.activations() if name != "step"]


PAIRS = [(e, n) for e in ENDS for n in ROWS if _core.pair_mode(e, n) != "refused"]


class Watch:
    """An optimizer that keeps the gradient and changes nothing."""

    def step(self, net):
        self.gradient = net.get_flat_grad()


@pytest.mark.parametrize(("end", "name"), PAIRS)
def test_numerical_gradient_of_every_pair(end, name, rng):
    net = cmlp.Sequential(
        cmlp.Dense(3, 4, activation="silu"),
        cmlp.Dense(4, 3, activation=end),
        dtype="float64",
        seed=2,
    )
    x, w = rng.normal(size=(6, 3)), rng.random(6) + 0.2
    t = rng.dirichlet(np.ones(3), size=6)
    watch, loss = Watch(), ROWS[name]
    trainer = cmlp.Trainer(net, loss, watch)
    value = trainer.train_step(x, t, w)

    def by_formula(flat):
        net.set_flat(flat)
        y = net.predict(x)
        if (end, name) == ("softmax", "softmax_cross_entropy"):
            y = np.log(y)
        if (end, name) == ("sigmoid", "binary_cross_entropy"):
            y = np.log(y / (1 - y))
        return loss_value(name, y, t, w, loss.param)

    flat = net.get_flat()
    assert value == pytest.approx(by_formula(flat), rel=1e-9)
    expected = numerical_gradient(by_formula, flat)
    assert relative_error(watch.gradient, expected) < 1e-6
    # the compiled loop takes the same step
    net.set_flat(flat)
    cmlp.Trainer(net, loss, cmlp.SGD(0.5)).train_step(x, t, w)
    np.testing.assert_allclose(net.get_flat(), flat - 0.5 * watch.gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("end", ["relu", "tanh", "softmax"])
def test_refused_pairs(end):
    net = cmlp.Sequential(cmlp.Dense(2, 3, activation=end))
    with pytest.raises(ValueError, match=f"ends with {end}; BinaryCrossEntropy"):
        cmlp.Trainer(net, cmlp.BinaryCrossEntropy())


def test_a_step_activation_cannot_be_trained():
    for layers in ([cmlp.Dense(2, 2, activation="step")], [cmlp.Dense(2, 2), cmlp.Step()]):
        net = cmlp.Sequential(*layers, cmlp.Dense(2, 1))
        net.predict([[1.0, 2.0]])
        with pytest.raises(ValueError, match="has no slope"):
            cmlp.Trainer(net, cmlp.SquaredError())
