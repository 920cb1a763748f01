"""Images seen differently each time: random crops, shifts, rotations and elastic distortions.

An `Augment` given to a `Trainer` acts within the compiled loop: each minibatch is made of new views
of its images.  What is drawn is a function of the seed, the number of the step and the place in the
minibatch, so that a training gives the same numbers for any number of threads and goes on exactly
from a checkpoint.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from . import _core, checks
from .attributes import Declared
from .checks import Array

__all__ = ["Augment"]

_MOST = 1 << 15  # pixels of a side


class _Classifier(Protocol):
    """What `Augment.predict_proba` asks of a net."""

    dtype: str
    in_shape: tuple[int, ...] | None

    def predict_proba(self, x: ArrayLike) -> Array: ...


class Augment(Declared):
    """Random views of images to train on.

    A view is cut out at a place drawn evenly among all where it lies inside the image, or up to
    ``shift`` pixels outside.  It is turned about its middle by an angle drawn evenly, and each of
    its pixels is moved by two random fields (down and right): numbers drawn evenly from -alpha to
    alpha, smoothed by a Gaussian of deviation sigma, as in Simard, Steinkraus and Platt, *Best
    practices for convolutional neural networks applied to visual document analysis* (2003).
    Places between pixels are interpolated linearly.  Without rotation and distortion a view is an
    exact part of its image.

    Parameters
    ----------
    image : (int, int) or (int, int, int)
        (height, width) or (channels, height, width) of the images.  They come as such arrays, or as
        rows of so many numbers.
    crop : (int, int), optional
        Height and width of a view, which the net takes; the image's if None.
    shift : int, default 0
        Most pixels that a view may lie outside of the image on either side.
    rotate : float in [0, 180], default 0
        Most degrees, either way.
    elastic : (float, float), optional
        alpha in pixels and sigma in pixels; (34, 4) is what Simard et al. took for MNIST.
    fill : float, default 0
        Outside of the image: its background, as the net sees it.

    Attributes
    ----------
    image, view : (int, int, int)
        Shapes (channels, height, width) of an image and of a view.

    Examples
    --------
    >>> import numpy as np
    >>> import cmlp
    >>> augment = cmlp.Augment((28, 28), crop=(24, 24))
    >>> x = np.arange(2 * 784, dtype="float32").reshape(2, 784)
    >>> augment.views(x, seed=0).shape
    (2, 576)
    >>> augment.center(x.reshape(2, 1, 28, 28))[0, 0, 0, :3]
    array([58., 59., 60.], dtype=float32)
    """

    image: tuple[int, int, int]
    crop: tuple[int, int] | None
    shift: int
    rotate: float
    elastic: tuple[float, float] | None
    fill: float

    def __init__(
        self,
        image: tuple[int, int] | tuple[int, int, int],
        crop: tuple[int, int] | None = None,
        shift: int = 0,
        rotate: float = 0.0,
        elastic: tuple[float, float] | None = None,
        fill: float = 0.0,
    ) -> None:
        sides = _numbers(image, "image", (2, 3), "(height, width) or (channels, height, width)")
        channels, height, width = (1, *sides)[-3:]
        self.image = channels, height, width
        self.crop = None if crop is None else _crop(crop, height, width)
        self.shift = checks.positive_int(shift, "shift", 0)
        if self.shift >= min(self.view[1:]):
            raise ValueError(f"shift is {shift}; expected less than the side of {self.view[1:]}")
        self.rotate = checks.number(rotate, "rotate", 0.0, 180.0)
        self.elastic = None if elastic is None else _elastic(elastic)
        self.fill = checks.number(fill, "fill", -1e30, 1e30)

    @property
    def view(self) -> tuple[int, int, int]:
        """(channels, height, width) of what the net takes."""
        return (self.image[0], *(self.crop or self.image[1:]))

    @property
    def n_image(self) -> int:
        """Numbers in an image."""
        return int(np.prod(self.image))

    @property
    def n_view(self) -> int:
        """Numbers in a view."""
        return int(np.prod(self.view))

    def views(self, x: ArrayLike, seed: int = 0, step: int = 1) -> Array:
        """What a training with this seed sees of a minibatch in a step, 1, 2, ...

        Parameters
        ----------
        x : array_like of shape (batch, channels, height, width) or (batch, numbers)
        seed : int, default 0
        step : int, default 1

        Returns
        -------
        ndarray of shape (batch, channels, height, width) or (batch, numbers), as x
        """
        a, rows = self._rows(x)
        step = checks.positive_int(step, "step")
        found = _core.views(rows, checks.seed(seed), step, **self.options())
        return self._as_given(a, found)

    def center(self, x: ArrayLike) -> Array:
        """The middle of each image, of the size of a view; shapes as in `views`."""
        a, rows = self._rows(x)
        (_, height, width), (_, rows_out, columns) = self.image, self.view
        top, left = (height - rows_out) // 2, (width - columns) // 2
        images = rows.reshape(-1, *self.image)
        middle = images[:, :, top : top + rows_out, left : left + columns]
        return self._as_given(a, np.ascontiguousarray(middle).reshape(len(rows), -1))

    def predict_proba(
        self, net: _Classifier, x: ArrayLike, n_crops: int = 4, seed: int = 0
    ) -> Array:
        """Probabilities averaged over crops of each image.

        Parameters
        ----------
        net : Sequential
            That takes views.
        x : array_like of shape (batch, channels, height, width) or (batch, numbers)
            Images, of the size of ``image``.
        n_crops : int, default 4
            1: the middle alone.  Otherwise so many crops at random places inside the image,
            neither turned nor distorted.
        seed : int, default 0

        Returns
        -------
        ndarray of shape (batch, n_out)
        """
        n_crops = checks.positive_int(n_crops, "n_crops")
        rows = self.rows(x, "x", net.dtype, allow_empty=True)
        if n_crops == 1:
            return net.predict_proba(_shaped(self.center(rows), net))
        plain = Augment(self.image, self.crop)
        crops = (_shaped(plain.views(rows, seed, i + 1), net) for i in range(n_crops))
        mean = np.mean([net.predict_proba(x) for x in crops], axis=0, dtype=np.float64)
        probabilities: Array = mean.astype(net.dtype)
        return probabilities

    def options(self) -> dict[str, Any]:
        """Settings as the compiled core takes them."""
        alpha, sigma = self.elastic or (0.0, 1.0)
        _, height, width = self.view
        return {
            "image": self.image, "height": height, "width": width, "shift": self.shift,
            "rotate": self.rotate, "elastic": alpha, "smoothness": sigma, "fill": self.fill,
        }  # fmt: skip

    def config(self) -> dict[str, Any]:
        """Arguments that make the same again, as JSON has them."""
        return {
            "image": list(self.image),
            "crop": None if self.crop is None else list(self.crop),
            "shift": self.shift,
            "rotate": self.rotate,
            "elastic": None if self.elastic is None else list(self.elastic),
            "fill": self.fill,
        }

    def rows(self, x: object, name: str, dtype: str, allow_empty: bool = False) -> Array:
        """Images as rows (batch, numbers) of ``dtype``; ``name`` stands in errors."""
        a = checks.as_array(x, name)
        if a.shape[1:] not in (self.image, (self.n_image,)):
            raise ValueError(
                f"{name} has shape {a.shape}; expected (batch, {', '.join(map(str, self.image))}) "
                f"or (batch, {self.n_image})"
            )
        flat = a.reshape(len(a), self.n_image)
        return checks.as_rows(flat, name, dtype, self.n_image, allow_empty=allow_empty)

    def _rows(self, x: ArrayLike) -> tuple[Array, Array]:
        """The images as they came, and as rows of float32 or float64."""
        a = checks.as_array(x, "x")
        return a, self.rows(a, "x", checks.dtype_for(a), allow_empty=True)

    def _as_given(self, given: Array, rows: Array) -> Array:
        """Views as images where images came."""
        return rows if given.ndim == 2 else rows.reshape(len(rows), *self.view)

    def __repr__(self) -> str:
        settings = {k: v for k, v in vars(self).items() if v and k != "image"}
        text = ", ".join(f"{k}={v!r}" for k, v in settings.items())
        return f"Augment({self.image}{', ' if text else ''}{text})"


def from_config(config: dict[str, Any]) -> Augment:
    """What `Augment.config` described; ValueError or TypeError if it describes none."""
    return Augment(**config)


def _shaped(rows: Array, net: _Classifier) -> Array:
    """Views as the net takes them."""
    return rows if net.in_shape is None else rows.reshape(len(rows), *net.in_shape)


def _numbers(value: Any, name: str, lengths: tuple[int, ...], expected: str) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or len(value) not in lengths:
        raise ValueError(f"{name} is {value!r}; expected {expected}")
    found = tuple(checks.positive_int(n, name) for n in value)
    if max(found) > _MOST:
        raise ValueError(f"{name} is {value!r}; expected numbers up to {_MOST}")
    return found


def _crop(value: Any, height: int, width: int) -> tuple[int, int]:
    rows, columns = _numbers(value, "crop", (2,), "(height, width)")
    if rows > height or columns > width:
        raise ValueError(f"crop is {(rows, columns)}; expected {(height, width)} at most")
    return rows, columns


def _elastic(value: Any) -> tuple[float, float]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"elastic is {value!r}; expected (alpha, sigma), both in pixels")
    alpha = checks.number(value[0], "alpha of elastic", 0.0, 1e6, open_low=True)
    return alpha, checks.number(value[1], "sigma of elastic", 0.01, 64.0)
