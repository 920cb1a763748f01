"""The nodes of a computation graph: constants, variables, placeholders and operations.

A node knows its inputs and nothing of who uses it, so that an expression that nobody holds any
more is freed. An operation holds two functions side by side: ``forward`` works on arrays,
``backward`` on nodes. Because the backward rule is itself written as a graph, a gradient can be
differentiated again.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..attributes import Declared

Array = NDArray[Any]
Backward = Callable[..., "tuple[Node | None, ...]"]


class Node(Declared):
    """A value in a computation graph.

    Write graphs with ``+ - * / ** @``, unary minus and the functions of `cmlp.graph`; numbers
    and arrays among the operands become constants, and shapes broadcast as NumPy's do.

    Attributes
    ----------
    inputs : tuple of Node
        What the node is computed from; empty for constants, variables and placeholders.
    kind : str
        The sort of node: ``"+"``, ``"exp"``, ``"variable"``...
    """

    kind: str
    inputs: "tuple[Node, ...]"

    # NumPy then leaves `array + node` to this class instead of making an array of nodes.
    __array_ufunc__ = None

    def __init__(self, kind: str, inputs: Sequence["Node"] = (), name: str | None = None) -> None:
        self.kind = kind
        self.inputs = tuple(inputs)
        self.name = name

    @property
    def name(self) -> str | None:
        """Shown in messages and drawings; may be assigned at any time."""
        return self._name

    @name.setter
    def name(self, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            raise TypeError(f"name is {value!r}; expected a string or None")
        self._name = value

    @property
    def label(self) -> str:
        """The name, or the operation with its inputs one level deep, such as ``+(x, y)``."""
        if self.name is not None:
            return self.name
        if not self.inputs:
            return self.kind
        inputs = (n.name or n.kind if n.inputs else n.label for n in self.inputs)
        return f"{self.kind}({', '.join(inputs)})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label}>"

    def __add__(self, other: "Operand") -> "Node":
        return add(self, other)

    def __radd__(self, other: "Operand") -> "Node":
        return add(other, self)

    def __sub__(self, other: "Operand") -> "Node":
        return subtract(self, other)

    def __rsub__(self, other: "Operand") -> "Node":
        return subtract(other, self)

    def __mul__(self, other: "Operand") -> "Node":
        return multiply(self, other)

    def __rmul__(self, other: "Operand") -> "Node":
        return multiply(other, self)

    def __truediv__(self, other: "Operand") -> "Node":
        return divide(self, other)

    def __rtruediv__(self, other: "Operand") -> "Node":
        return divide(other, self)

    def __pow__(self, other: "Operand") -> "Node":
        return power(self, other)

    def __rpow__(self, other: "Operand") -> "Node":
        return power(other, self)

    def __matmul__(self, other: "Operand") -> "Node":
        return matmul(self, other)

    def __rmatmul__(self, other: "Operand") -> "Node":
        return matmul(other, self)

    def __neg__(self) -> "Node":
        return negative(self)


Operand = Node | ArrayLike


class Constant(Node):
    """A fixed value. It has no gradient.

    Parameters
    ----------
    value : number or array_like
        Copied. A Python number takes the dtype of what it is combined with.
    name : str, optional

    Raises
    ------
    TypeError
        The value is not made of real numbers.
    """

    value: Array
    dtype: np.dtype[Any] | None

    def __init__(self, value: ArrayLike, name: str | None = None) -> None:
        super().__init__("constant", name=name)
        array, self.dtype = read_array(value, f"constant {name or ''}".strip())
        self.value = array.copy()
        self.value.flags.writeable = False

    @property
    def label(self) -> str:
        if self.name is not None:
            return self.name
        return f"{self.value:.4g}" if self.value.ndim == 0 else f"constant {self.value.shape}"


class Variable(Node):
    """A value that optimizers change.

    Parameters
    ----------
    value : number or array_like
        The initial value, copied; float32 arrays stay float32, all else becomes float64.
    name : str, optional

    Raises
    ------
    TypeError
        The value is not made of real numbers.
    """

    dtype: np.dtype[Any]

    def __init__(self, value: ArrayLike, name: str | None = None) -> None:
        super().__init__("variable", name=name)
        array, dtype = read_array(value, f"variable {name or ''}".strip())
        self.dtype = np.dtype(np.float64) if dtype is None else dtype
        self._value = np.array(array, dtype=self.dtype)

    @property
    def value(self) -> Array:
        """The array itself, which optimizers change in place; assigning copies into it."""
        return self._value

    @value.setter
    def value(self, value: ArrayLike) -> None:
        array, _ = read_array(value, f"variable {self.label!r}")
        if array.shape != self._value.shape:
            raise ValueError(
                f"value of {self.label!r} has shape {array.shape}; expected {self._value.shape}"
            )
        self._value[...] = array


class Placeholder(Node):
    """An input whose value comes with each run.

    Parameters
    ----------
    name : str
    shape : tuple of int or None, optional
        The shape that a fed value must have; None in it allows any size there. Without a shape
        anything may be fed.

    Raises
    ------
    TypeError
        The name is not a string, or the shape not a tuple of sizes and None.
    """

    shape: tuple[int | None, ...] | None

    def __init__(self, name: str, shape: tuple[int | None, ...] | None = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name is {name!r}; expected a string")
        if shape is not None and not (
            isinstance(shape, tuple) and all(n is None or is_int(n) for n in shape)
        ):
            raise TypeError(f"shape is {shape!r}; expected a tuple of int and None")
        super().__init__("placeholder", name=name)
        self.shape = shape

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape may be fed."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, shape, strict=True)
        )


class Operation(Node):
    """A node computed from others.

    Parameters
    ----------
    kind : str
    inputs : sequence of Node
    forward : callable
        ``forward(*arrays) -> array``. A ValueError from it is reported with the node's name and
        the shapes of its inputs.
    backward : callable
        ``backward(dy, y, *inputs) -> tuple`` with, for every input, the node of its gradient
        given that of the output, ``dy``, and the output ``y``; None for an input that has none.
    """

    forward: Callable[..., ArrayLike]
    backward: Backward

    def __init__(
        self,
        kind: str,
        inputs: Sequence[Node],
        forward: Callable[..., ArrayLike],
        backward: Backward,
    ) -> None:
        super().__init__(kind, inputs)
        self.forward = forward
        self.backward = backward


def is_int(value: object) -> bool:
    """Whether the value is an integer, Python's or NumPy's, and not a bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def as_node(value: Operand) -> Node:
    """The node itself, or a constant of the value."""
    return value if isinstance(value, Node) else Constant(value)


def read_array(value: ArrayLike, what: str) -> tuple[Array, np.dtype[Any] | None]:
    """The value as a real array, and the dtype that it asks for.

    float32 arrays ask for float32 and other floating arrays for float64. Python numbers, lists
    and integer arrays ask for none: they follow the arrays that they are combined with.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of unequal length
        raise ValueError(f"{what} is not an array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{what} has dtype {array.dtype}; expected real numbers")
    if not hasattr(value, "dtype") or array.dtype.kind != "f":
        return array, None
    return array, np.dtype(np.float32 if array.dtype == np.float32 else np.float64)


def topological(targets: Iterable[Node]) -> list[Node]:
    """All that the targets depend on, inputs before their users, each node once.

    Iterative, since graphs are deeper than Python's stack.

    Raises
    ------
    ValueError
        The graph has a cycle, whose nodes are named.
    """
    order: list[Node] = []
    finished: dict[Node, bool] = {}  # False while the node is on the path being followed
    stack = list(targets)[::-1]
    while stack:
        node = stack[-1]
        if node in finished:
            stack.pop()
            if not finished[node]:
                finished[node] = True
                order.append(node)
            continue
        finished[node] = False
        for source in reversed(node.inputs):
            if finished.get(source) is False:
                path = [n for n in stack if finished.get(n) is False]
                names = [n.label for n in path[path.index(source) :]] + [source.label]
                raise ValueError(f"the graph has a cycle: {' -> '.join(names)}")
            if source not in finished:
                stack.append(source)
    return order


# The operations behind the operators, and what their gradients need.


def add(a: Operand, b: Operand) -> Node:
    """a + b."""
    return Operation(
        "+",
        (as_node(a), as_node(b)),
        np.add,
        lambda dy, y, a, b: (sum_to(dy, a), sum_to(dy, b)),
    )


def subtract(a: Operand, b: Operand) -> Node:
    """a - b."""
    return Operation(
        "-",
        (as_node(a), as_node(b)),
        np.subtract,
        lambda dy, y, a, b: (sum_to(dy, a), sum_to(-dy, b)),
    )


def multiply(a: Operand, b: Operand) -> Node:
    """a b, by element."""
    return Operation(
        "*",
        (as_node(a), as_node(b)),
        np.multiply,
        lambda dy, y, a, b: (sum_to(dy * b, a), sum_to(dy * a, b)),
    )


def divide(a: Operand, b: Operand) -> Node:
    """a / b, by element."""
    return Operation(
        "/",
        (as_node(a), as_node(b)),
        np.divide,
        lambda dy, y, a, b: (sum_to(dy / b, a), sum_to(-dy * y / b, b)),
    )


def power(a: Operand, b: Operand) -> Node:
    """a ** b, by element; da = dy b a^(b-1), db = dy a^b ln a, and 0 where a is 0."""
    return Operation("**", (as_node(a), as_node(b)), np.power, _power_backward)


def _power_backward(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    da = dy * b * a ** _one_less(b)
    db = dy * y * log(a + _is_zero(a))
    return sum_to(da, a), sum_to(db, b)


def _one_less(b: Node) -> Node:
    """b - 1; for a constant 0, whose power has slope 0, 1: no 0 * 0^-1 turns up at a = 0."""
    if not isinstance(b, Constant):
        return b - 1
    value = np.where(b.value == 0, 1, b.value - 1)
    return Constant(value.tolist() if b.dtype is None else value.astype(b.dtype))


def _is_zero(x: Node) -> Node:
    return Operation("is_zero", (x,), lambda x: (x == 0).astype(x.dtype), lambda dy, y, x: (None,))


def negative(x: Operand) -> Node:
    """-x."""
    return Operation("neg", (as_node(x),), np.negative, lambda dy, y, x: (-dy,))


def log(x: Operand) -> Node:
    """Natural logarithm; dx = dy / x."""
    return Operation("log", (as_node(x),), np.log, lambda dy, y, x: (dy / x,))


def sum_to(dy: Node, like: Node) -> Node:
    """dy summed over the axes along which `like` was broadcast: the gradient of broadcasting."""
    return Operation(
        "sum_to", (dy, like), _sum_to, lambda dz, z, dy, like: (broadcast_to(dz, dy), None)
    )


def broadcast_to(x: Operand, like: Node) -> Node:
    """x broadcast to the shape of `like`."""
    return Operation(
        "broadcast_to",
        (as_node(x), like),
        lambda x, like: np.broadcast_to(x, like.shape),
        lambda dy, y, x, like: (sum_to(dy, x), None),
    )


def _sum_to(dy: Array, like: Array) -> Array:
    if dy.shape == like.shape:
        return dy
    extra = dy.ndim - like.ndim
    stretched = (i + extra for i, n in enumerate(like.shape) if n == 1)
    summed: Array = dy.sum(axis=(*range(extra), *stretched))
    return summed.reshape(like.shape)


def matmul(a: Operand, b: Operand) -> Node:
    """a @ b as NumPy has it: vectors, matrices and stacks of matrices; da = dy b^T, db = a^T dy."""
    return Operation("@", (as_node(a), as_node(b)), np.matmul, _matmul_backward)


def _matmul_backward(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    return _matmul_da(dy, a, b), _matmul_db(dy, a, b)


def _matmul_da(dy: Node, a: Node, b: Node) -> Node:
    """dy b^T with the shape of a. It is linear in dy and in b, so its own rules are products."""

    def forward(dy: Array, a: Array, b: Array) -> Array:
        dy, rows, columns = _as_matrices(dy, a, b)
        return _sum_to(dy @ columns.swapaxes(-1, -2), rows).reshape(a.shape)

    return Operation(
        "matmul_da",
        (dy, a, b),
        forward,
        lambda dz, z, dy, a, b: (matmul(dz, b), None, _matmul_db(dy, dz, b)),
    )


def _matmul_db(dy: Node, a: Node, b: Node) -> Node:
    """a^T dy with the shape of b."""

    def forward(dy: Array, a: Array, b: Array) -> Array:
        dy, rows, columns = _as_matrices(dy, a, b)
        return _sum_to(rows.swapaxes(-1, -2) @ dy, columns).reshape(b.shape)

    return Operation(
        "matmul_db",
        (dy, a, b),
        forward,
        lambda dz, z, dy, a, b: (matmul(a, dz), _matmul_da(dy, a, dz), None),
    )


def _as_matrices(dy: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """dy, a as a row and b as a column where they are vectors, as np.matmul takes them."""
    if b.ndim == 1:
        dy, b = dy[..., None], b[:, None]
    if a.ndim == 1:
        dy, a = np.expand_dims(dy, -2), a[None, :]
    return dy, a, b
