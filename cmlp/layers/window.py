"""What convolution and pooling share: a window that slides over planes."""

from __future__ import annotations

from typing import Any

from .base import Layer
from .shapes import Shape, pair_of


class Window(Layer):
    """Base of the layers whose outputs are those of windows of their input.

    On each axis there are (size + padding before and behind - kernel) // stride + 1 of them.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] | str

    keeps_shape = False

    def __init__(self, kernel: Any, stride: Any, padding: Any, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel = pair_of(kernel, "kernel")
        self.stride = self.kernel if stride is None else pair_of(stride, "stride")
        self.padding = self._checked_padding(padding)
        self._ceil_mode = ceil_mode
        for k, pad in zip(self.kernel, self.margins[2:], strict=True):
            if pad >= k:
                raise ValueError(
                    f"padding is {padding!r}; expected less than the kernel, {self.kernel}"
                )

    def _checked_padding(self, padding: Any) -> tuple[int, int] | str:
        if not isinstance(padding, str):
            return pair_of(padding, "padding", 0)
        if padding == "valid":
            return (0, 0)
        if padding != "same":
            raise ValueError(
                f"padding is {padding!r}; expected 'same', 'valid', a number or (rows, columns)"
            )
        if self.stride != (1, 1):
            raise ValueError(f"padding is 'same' with stride {self.stride}; expected stride 1")
        return padding

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Rows and columns of padding at the top, left, bottom and right."""
        if isinstance(self.padding, str):
            rows, columns = (k - 1 for k in self.kernel)
            return rows // 2, columns // 2, rows - rows // 2, columns - columns // 2
        return self.padding * 2

    def _channels_after(self, channels: int) -> int:
        """Planes of the output; ValueError where the input has not as many as it should."""
        return channels

    def shape_after(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise ValueError("expected planes (channels, height, width); put a Reshape before it")
        channels = self._channels_after(shape[0])
        padded = tuple(n + sum(self.margins[axis::2]) for axis, n in enumerate(shape[1:]))
        if any(n < k for n, k in zip(padded, self.kernel, strict=True)):
            raise ValueError(f"the kernel {self.kernel} is larger than the padded input, {padded}")
        return channels, *(self._steps(padded[axis], axis) for axis in (0, 1))

    def _steps(self, padded: int, axis: int) -> int:
        """Windows along an axis; with ceil_mode one more that begins within the input."""
        room, stride = padded - self.kernel[axis], self.stride[axis]
        steps = room // stride + 1
        begins_within = steps * stride < padded - self.margins[2 + axis]
        return steps + 1 if self._ceil_mode and room % stride and begins_within else steps

    def _window(self, shape: Shape) -> dict[str, Any]:
        """The arguments of a packed layer that tell its window."""
        out = self.shape_after(shape)
        margins, ragged = list(self.margins), [0, 0]
        for axis in (0, 1):
            full = (out[1 + axis] - 1) * self.stride[axis] + self.kernel[axis]
            ragged[axis] = max(0, full - shape[1 + axis] - sum(self.margins[axis::2]))
            margins[2 + axis] += ragged[axis]
        return {
            "shapes": (shape, out),
            "window": (*self.kernel, *self.stride, *margins, *ragged),
        }
