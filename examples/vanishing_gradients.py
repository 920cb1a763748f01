"""How deltas shrink from the output to the input of a deep net, by activation.

From "Deep Learning, topic 3: Multi-layer Perceptron", "Gradient vanishing". Run it with
`python examples/vanishing_gradients.py`, and with the name of a file for a picture of the sigmoid
net, which needs matplotlib.
"""

import sys
from itertools import pairwise

import numpy as np

import cmlp

DEPTH = 8


def train(activation: str) -> cmlp.GradientMonitor:
    x, y = cmlp.datasets.digits().split()[:2]
    widths = [64] + [32] * DEPTH
    hidden = [cmlp.Dense(n_in, n_out, activation=activation) for n_in, n_out in pairwise(widths)]
    net = cmlp.Sequential(*hidden, cmlp.Dense(32, 10), seed=0)
    monitor = cmlp.GradientMonitor()
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(lr=0.05))
    trainer.fit(x, y, epochs=10, batch_size=32, callbacks=[monitor])
    return monitor


def table() -> cmlp.GradientMonitor:
    print(f"norm of delta in each of {DEPTH + 1} layers before training, input to output, and the")
    print("norm of dE/dW in the first and the last layer")
    for activation in ("relu", "tanh", "sigmoid"):
        monitor = train(activation)
        deltas = "  ".join(f"{v:.0e}" for v in monitor.delta_norms[0])
        first, last = monitor.weight_norms[0][[0, -1]]
        print(f"  {activation:>7}: {deltas}; dE/dW {first:.0e} and {last:.0e}")
        after = monitor.delta_norms[-1]
        print(f"           first / last: {np.divide(*monitor.delta_norms[0][[0, -1]]):.0e} before, "
              f"{after[0] / after[-1]:.0e} after 10 epochs")  # fmt: skip
    return monitor


def picture(monitor: cmlp.GradientMonitor, path: str) -> None:
    cmlp.plots.gradient_flow(monitor).figure.savefig(path)
    print(f"picture: {path}")


if __name__ == "__main__":
    of_sigmoid = table()
    if len(sys.argv) > 1:
        picture(of_sigmoid, sys.argv[1])
