"""Single operations against pure NumPy, results written into given arrays by both."""

from __future__ import annotations

from .rounds import Json, Session, compare
from .train import against_best

OURS = ("cmlp",)
RTOL = {"float32": 1e-4, "float64": 1e-10}

DENSE_SHAPES = ((1, 64, 64), (32, 64, 64), (64, 784, 128), (128, 512, 512), (512, 1024, 1024))
FLAT_SHAPES = ((1, 1_000), (100, 1_000), (1_000, 1_000))
SOFTMAX_SHAPES = ((32, 10), (1_000, 10), (1_000, 1_000))
# (operation, shapes, activations); shapes are (batch, n_in, n_out) or (batch, n)
CASES = (
    ("dense_forward", DENSE_SHAPES, ("relu", "tanh")),
    ("dense_backward_dx", DENSE_SHAPES, ("identity",)),
    ("dense_backward_dw", DENSE_SHAPES, ("identity",)),
    ("activation_forward", FLAT_SHAPES, ("relu", "tanh", "sigmoid")),
    ("activation_backward", FLAT_SHAPES, ("relu", "tanh", "sigmoid")),
    ("softmax_delta", SOFTMAX_SHAPES, ("identity",)),
)


def specs(quick: bool) -> list[Json]:
    """Every operation of `CASES`; of a quick run, with the middle shape alone."""
    return [
        {"op": op, "shape": list(shape), "activation": activation}
        for op, shapes, activations in CASES
        for shape in (shapes[1:2] if quick else shapes)
        for activation in activations
    ]


def measure(session: Session) -> list[Json]:
    """Time every one of `specs`.

    Returns
    -------
    list of dict
        "op", "activation", "shape" and, under "rows", each library's seconds a call.
    """
    results = []
    for spec in specs(session.quick):
        entries = session.entries("kernels", **spec)
        rows = compare(entries, session.effort, RTOL[session.dtype])
        results.append({**spec, "rows": rows, **against_best(rows, OURS)})
    return results
