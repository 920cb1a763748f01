"""Handwritten digits by a fully connected layer of 32 ReLU units, and what the units look for.

The net is that of "Experiment 2: Classification of handwritten digits" in "Deep Learning, topic 3:
Multi-layer Perceptron" with its convolutions replaced as the notes say, and each image unrolled
into a vector as in "Machine Learning CS 539". The digits are the small ones that ship with cmlp;
`cmlp.datasets.mnist` reads the large ones. Run it with `python examples/digits.py`, and with the
name of a file for a picture of the hidden units, which needs matplotlib.
"""

import sys

import numpy as np

import cmlp

INK = " .:-=+*#%@"


def as_text(image: np.ndarray) -> list[str]:
    """Darker signs for larger values."""
    low, high = image.min(), image.max()
    levels = ((image - low) / (high - low) * (len(INK) - 1)).round().astype(int)
    return ["".join(INK[level] for level in row) for row in levels]


def train() -> cmlp.Sequential:
    data = cmlp.datasets.digits()
    x, y, x_test, y_test = data.split()
    net = cmlp.Sequential(cmlp.Dense(64, 32, activation="relu"), cmlp.Dense(32, 10), seed=0)
    optimizer = cmlp.SGD(lr=0.1, momentum=0.9, weight_decay=1e-3)
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), optimizer)
    trainer.fit(x, y, epochs=30, batch_size=32)
    right = trainer.evaluate(x_test, y_test)["accuracy"]
    print(f"{len(x)} images of {data.image_shape} pixels to train on, {len(x_test)} to test")
    print(f"  right: {right:.1%}")
    return net


def hidden_units(net: cmlp.Sequential) -> None:
    print("the four hidden units with the largest weights, as images")
    w = net.layers[0].weight
    largest = np.linalg.norm(w, axis=1).argsort()[:-5:-1]
    tiles = [as_text(w[i].reshape(8, 8)) for i in largest]
    for rows in zip(*tiles, strict=True):
        print("  " + "   ".join(rows))


def picture(net: cmlp.Sequential, path: str) -> None:
    cmlp.plots.hidden_units(net, image_shape=(8, 8)).figure.savefig(path)
    print(f"picture: {path}")


if __name__ == "__main__":
    trained = train()
    hidden_units(trained)
    if len(sys.argv) > 1:
        picture(trained, sys.argv[1])
