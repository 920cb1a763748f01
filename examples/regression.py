"""Polynomial, vector and nonlinear regression.

From "Deep Learning, topic 3: Multi-layer Perceptron", "Regression and classification". Run it with
`python examples/regression.py`.
"""

import numpy as np

import cmlp
from cmlp.models import LinearRegression, polynomial_features


def polynomials() -> None:
    rng = np.random.default_rng(0)
    x, x_new = np.linspace(0, 1, 10), np.linspace(0.02, 0.98, 50)
    t = np.sin(2 * np.pi * x) + 0.2 * rng.normal(size=10)
    print("f(x) = b + w1 x + ... + wk x^k through 10 noisy points of a sine")
    for degree in (1, 2, 3, 9):
        model = LinearRegression().fit(polynomial_features(x, degree), t)
        error = np.mean((model.predict(polynomial_features(x, degree)) - t) ** 2)
        missed = model.predict(polynomial_features(x_new, degree)) - np.sin(2 * np.pi * x_new)
        print(
            f"  degree {degree}: error {error:.4f} on them, {np.mean(missed**2):.4f} between them"
        )


def both_ways() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 2))
    t = x @ np.array([[1.0, 0.0], [-2.0, 0.5]]) + [0.5, -1.0] + 0.1 * rng.normal(size=(100, 2))
    print("two outputs at once: W, b")
    for method in ("closed_form", "gradient"):
        model = LinearRegression(method=method).fit(x, t)
        w, b = model.weight.round(4).tolist(), model.bias.round(4).tolist()
        print(f"  {method:>11}: {w}, {b}")


def delta() -> None:
    x, t = np.array([[0.5, -1.0]]), np.array([[1.0]])
    unit = cmlp.Dense(2, 1, activation="sigmoid").build(2, "float64", rng=0)
    unit.weight, unit.bias = [[0.3, 0.8]], [0.1]
    loss = cmlp.SquaredError()
    y = unit.forward(x)
    error = loss.forward(y, t)
    unit.backward(loss.backward())
    print("one sigmoid unit under the squared error E = (y - t)^2 / 2")
    u = x @ unit.weight.T + unit.bias
    print(f"  u = {u.item():.2f}, y = {y.item():.6f}, E = {error:.6f}")
    by_hand = (y - t) * y * (1 - y)
    print(f"  dE/db   = {unit.grad_bias.item():.6f}, (y - t) y (1 - y)   = {by_hand.item():.6f}")
    dw = ", ".join(f"{v:.6f}" for v in unit.grad_weight[0])
    by_hand = ", ".join(f"{v:.6f}" for v in (by_hand * x)[0])
    print(f"  dE/dw   = ({dw}), delta x = ({by_hand})")


if __name__ == "__main__":
    polynomials()
    both_ways()
    delta()
