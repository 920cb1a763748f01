"""Writes tables.h: functions of x >= 0 as 32 polynomials, each for an interval of its own.

    python3 src/kernels/tables.py > src/kernels/tables.h        (needs NumPy and mpmath)

A polynomial in t = x - left is fitted by least squares of the relative error at Chebyshev points;
its first coefficient is the function's value at the left end.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import mpmath
import numpy as np


def polynomial(
    f: Callable[[float], float],
    left: float,
    right: float,
    powers: Sequence[int],
    degree: int,
    first: Callable[[float], float] = np.float32,
) -> np.ndarray:
    """Coefficients of f on [left, right), lowest first; those not among the powers are 0.

    The lowest is f(left), rounded by ``first``.
    """
    t = (1 - np.cos(np.pi * (np.arange(60) + 0.5) / 60)) / 2 * (right - left)
    y = np.array([float(f(left + v)) for v in t])
    c = np.zeros(degree + 1)
    c[0] = first(f(left))
    columns = np.stack([(t / (right - left)) ** p / y for p in powers], axis=1)
    scaled = np.linalg.lstsq(columns, (y - c[0]) / y, rcond=None)[0]
    for p, value in zip(powers, scaled, strict=True):
        c[p] = value / (right - left) ** p
    return c


def write(name: str, comment: str, rows: np.ndarray) -> None:
    """A table in C, one row for each coefficient."""
    print(f"/* {comment} */")
    print(f"static const float {name}[{len(rows)}][32] = {{")
    for row in rows:
        print("    {" + ", ".join(f"{np.float32(v)!s}f" for v in row) + "},")
    print("};\n")


def tanh_rows() -> np.ndarray:
    """Four intervals an octave from 1/16 to 16; the first reaches down to zero and is odd."""
    ends = [0.0, *[2.0**e * (1 + q / 4) for e in range(-4, 4) for q in range(4)][1:], 16.0]
    rows = [polynomial(np.tanh, a, b, range(1, 6), 5) for a, b in pairwise(ends)]
    rows[0] = polynomial(np.tanh, 0.0, ends[1], (1, 3, 5), 5)
    rows[0][1] = 1.0
    return np.array([ends[:-1], *np.array(rows).T])


def mills(t: float) -> float:
    """The upper tail of the normal distribution times e^(t^2/2)."""
    t = mpmath.mpf(t)
    return float(mpmath.erfc(t / mpmath.sqrt(2)) / 2 * mpmath.exp(t * t / 2))


def mills_rows() -> np.ndarray:
    """Intervals of a half from 0 to 16; last, what the first coefficients lose as float32."""
    rows = [polynomial(mills, a / 2, a / 2 + 0.5, range(1, 8), 7, float) for a in range(32)]
    return np.array([[*row, row[0] - np.float32(row[0])] for row in rows]).T


print("/* Made by tables.py. */")
print("#ifndef CMLP_TABLES_H\n#define CMLP_TABLES_H\n")
write(
    "tanh_table", "tanh: left ends of the intervals, then coefficients, lowest first.", tanh_rows()
)
write(
    "tail_table",
    "Q(t) e^(t^2/2) on [i/2, i/2 + 1/2): coefficients, lowest first, and the rounding of that.",
    mills_rows(),
)
print("#endif")
