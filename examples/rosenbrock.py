"""Gradient descent in the ravine of the Rosenbrock function, with and without momentum.

f(x, y) = (1 - x)^2 + 100 (y - x^2)^2, from "Deep Learning, topic 3: Multi-layer Perceptron",
"Pathological curvature". Run it with `python examples/rosenbrock.py`.
"""

import numpy as np

import cmlp
from cmlp import graph


def descend(momentum: float, lr: float = 5e-4, steps: int = 2000) -> tuple[np.ndarray, float]:
    x, y = graph.Variable(-1.5, name="x"), graph.Variable(2.0, name="y")
    f = (1 - x) ** 2 + 100 * (y - x**2) ** 2
    values = graph.minimize(f, [{}] * steps, graph.SGD(lr=lr, momentum=momentum))
    return values, float(np.hypot(x.value - 1, y.value - 1))


def ravine() -> None:
    print("from (-1.5, 2) towards the minimum at (1, 1), learning rate 0.0005")
    for momentum in (0.0, 0.5, 0.9):
        values, distance = descend(momentum)
        shown = ", ".join(f"{values[i]:.4f}" for i in (0, 100, 500, 1999))
        print(f"  momentum {momentum}: f = {shown} at steps 0, 100, 500, 1999")
        print(f"                distance to the minimum {distance:.3f}")


def raised_momentum() -> None:
    """0.5 until learning has settled, then 0.9: the same recursion in a net's optimizer."""
    net = cmlp.Sequential(cmlp.Dense(1, 1, bias=False), dtype="float64", seed=0)
    net.layers[0].weight = [[1.0]]
    optimizer = cmlp.SGD(lr=0.1, momentum=cmlp.MomentumStep(0.5, 0.9, after=3))
    trainer = cmlp.Trainer(net, cmlp.SquaredError(), optimizer)
    print("v <- g v - 0.1 w, w <- w + v from w = 1, with g = 0.5 for three steps, then 0.9")
    w, v = 1.0, 0.0
    for g in (0.5, 0.5, 0.5, 0.9, 0.9):
        v = g * v - 0.1 * w
        w += v
        trainer.train_step([[1.0]], [[0.0]])
        print(f"  g = {g}: w = {net.layers[0].weight.item():.6f}, by hand {w:.6f}")


if __name__ == "__main__":
    ravine()
    raised_momentum()
