"""Points of the plane: learning rate, regularisation, layers and input features.

The steps are those of "Experiment 1: Classification of 2D points" in "Deep Learning, topic 3:
Multi-layer Perceptron", with the settings of TensorFlow Playground: targets -1 and 1, the squared
error, minibatches of 10. Run it with `python examples/points_2d.py`, and with the name of a file
for a picture of the spiral, which needs matplotlib.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise

import cmlp
from cmlp import datasets


def net_of(n_in: int, hidden: Sequence[int]) -> cmlp.Sequential:
    widths = [n_in, *hidden, 1]
    layers = [cmlp.Dense(a, b, activation="tanh") for a, b in pairwise(widths)]
    return cmlp.Sequential(*layers, seed=0)


def circle(lr: float = 0.03, weight_decay: float = 0.0, hidden: Sequence[int] = (4,)) -> str:
    x, y, x_test, y_test = datasets.points_2d("circle").split()
    net = net_of(2, hidden)
    optimizer = cmlp.SGD(lr=lr, weight_decay=weight_decay)
    trainer = cmlp.Trainer(net, cmlp.SquaredError(), optimizer)
    trainer.fit(x, 2 * y - 1, epochs=100, batch_size=10)
    right = ((net.predict(x_test)[:, 0] > 0) == y_test).mean()
    train_loss = trainer.evaluate(x, 2 * y - 1)["loss"]
    test_loss = trainer.evaluate(x_test, 2 * y_test - 1)["loss"]
    return f"training loss {train_loss:.3f}, test loss {test_loss:.3f}, right {right:.1%}"


def experiment() -> None:
    print("circle, inputs x1 and x2, tanh units, 100 epochs")
    print(f"  1. 4 units, learning rate 0.03:  {circle()}")
    print(f"  2. learning rate 1:              {circle(lr=1.0)}")
    for rate in (0.01, 0.1, 1.0):
        print(f"  3. L2 regularisation, rate {rate:<4}:  {circle(weight_decay=rate)}")
    print(f"  4. a second layer of 2 units:    {circle(hidden=(4, 2))}")


def spiral() -> cmlp.Sequential:
    x, y, x_test, y_test = datasets.points_2d("spiral").split()
    print("spiral, 8 and 8 tanh units, cross-entropy, 500 epochs")
    for names in (("x1", "x2"), datasets.FEATURES_2D):
        net = cmlp.Sequential(
            cmlp.Dense(len(names), 8, activation="tanh"),
            cmlp.Dense(8, 8, activation="tanh"),
            cmlp.Dense(8, 1),
            seed=0,
        )
        trainer = cmlp.Trainer(net, cmlp.BinaryCrossEntropy(), cmlp.Adam(lr=0.01))
        trainer.fit(datasets.features_2d(x, names), y, epochs=500, batch_size=10)
        right = trainer.evaluate(datasets.features_2d(x_test, names), y_test)["accuracy"]
        print(f"  inputs {', '.join(names)}: right {right:.1%}")
    return net


def picture(net: cmlp.Sequential, path: str) -> None:
    from matplotlib import pyplot

    data = datasets.points_2d("spiral")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 5), layout="constrained")
    features = datasets.FEATURES_2D
    cmlp.plots.decision_regions(net, data.x, data.y, features=features, ax=left)
    cmlp.plots.hidden_units(net, layer=1, features=features, ax=right)
    figure.savefig(path)
    pyplot.close(figure)
    print(f"picture: {path}")


if __name__ == "__main__":
    experiment()
    of_spiral = spiral()
    if len(sys.argv) > 1:
        picture(of_spiral, sys.argv[1])
