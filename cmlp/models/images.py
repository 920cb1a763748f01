"""Nets for images of digits that are known from the literature, as `Sequential` to be trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..initializers import Constant, Xavier
from ..layers import Conv2D, Dense, Flatten, MaxPool2D
from ..network import Sequential

__all__ = ["IMAGE_NETS", "convnetjs", "convnetjs_fc", "lenet5"]

# ConvNetJS's first values of units with ReLU.
_START: dict[str, Any] = {"weight_init": Xavier(), "bias_init": Constant(0.1)}


def convnetjs(seed: int | None = None, dtype: str = "float32") -> Sequential:
    """The net of ConvNetJS's page on MNIST (Karpathy, 2014), for crops of 24 x 24 pixels.

    Convolution 5 x 5 to 8 planes, ReLU, pooling 2 x 2, convolution 5 x 5 to 16 planes, ReLU,
    pooling 3 x 3, softmax of 10; edges padded by 2; weights from N(0, 1/n_in), biases of the
    convolutions 0.1.  The page trains it with

        Trainer(net, SoftmaxCrossEntropy(), Adadelta(weight_decay=0.001, decay_over_batch=True),
                augment=Augment((28, 28), crop=(24, 24)))

    by minibatches of 20, on pixels from -0.5 to 0.5; four crops are averaged in the test.

    Parameters
    ----------
    seed : int, optional
    dtype : {"float32", "float64"}

    Returns
    -------
    Sequential
        Of (batch, 1, 24, 24) to the logits of 10 classes; 5,994 parameters.
    """
    return Sequential(
        Conv2D(1, 8, 5, padding=2, activation="relu", **_START),
        MaxPool2D(2),
        Conv2D(8, 16, 5, padding=2, activation="relu", **_START),
        MaxPool2D(3),
        Flatten(),
        Dense(256, 10, weight_init=Xavier()),
        n_in=(1, 24, 24),
        seed=seed,
        dtype=dtype,
    )


def convnetjs_fc(seed: int | None = None, dtype: str = "float32") -> Sequential:
    """The same with 32 fully connected ReLU units in place of the convolutional part.

    Parameters
    ----------
    seed : int, optional
    dtype : {"float32", "float64"}

    Returns
    -------
    Sequential
        Of (batch, 1, 24, 24) to the logits of 10 classes; 18,794 parameters.
    """
    return Sequential(
        Flatten(),
        Dense(576, 32, "relu", **_START),
        Dense(32, 10, weight_init=Xavier()),
        n_in=(1, 24, 24),
        seed=seed,
        dtype=dtype,
    )


def lenet5(seed: int | None = None, dtype: str = "float32") -> Sequential:
    """LeNet-5 as it is built today: ReLU, max pooling, softmax, and no table of connections.

    Convolution 5 x 5 to 6 planes, pooling 2 x 2, convolution 5 x 5 to 16 planes, pooling 2 x 2,
    120 and 84 units, 10 logits.  The order of layers is that of LeCun, Bottou, Bengio and
    Haffner, *Gradient-based learning applied to document recognition* (1998).

    Parameters
    ----------
    seed : int, optional
    dtype : {"float32", "float64"}

    Returns
    -------
    Sequential
        Of (batch, 1, 28, 28) to the logits of 10 classes; 44,426 parameters.
    """
    return Sequential(
        Conv2D(1, 6, 5, activation="relu"),
        MaxPool2D(2),
        Conv2D(6, 16, 5, activation="relu"),
        MaxPool2D(2),
        Flatten(),
        Dense(256, 120, "relu"),
        Dense(120, 84, "relu"),
        Dense(84, 10),
        n_in=(1, 28, 28),
        seed=seed,
        dtype=dtype,
    )


IMAGE_NETS: dict[str, Callable[..., Sequential]] = {
    "convnetjs": convnetjs,
    "convnetjs-fc": convnetjs_fc,
    "lenet5": lenet5,
}
"""These nets by name."""
