"""Perceptron and ADALINE on AND, OR and XOR, and the best that a line can do for XOR.

From "Deep Learning, topic 3: Multi-layer Perceptron", "Solve XOR problem using ADALINE". Run it
with `python examples/xor_by_least_squares.py`.
"""

from cmlp import datasets, models


def least_squares() -> None:
    xor = datasets.boolean("xor")
    print("least squares on XOR: w = (0, 0), b = 1/2")
    for name, model in (
        ("closed form", models.LinearRegression()),
        ("gradient", models.LinearRegression(method="gradient")),
        ("ADALINE", models.Adaline(batch_size=None, lr=0.5)),
    ):
        model.fit(xor.x, xor.y)
        # adding 0 turns -0.0 into 0.0
        w1, w2, b = (round(float(v), 4) + 0.0 for v in (*model.weight[0], model.bias[0]))
        print(f"  {name:>11}: w = ({w1:.4f}, {w2:.4f}), b = {b:.4f}, epochs {model.n_iter}")


def what_a_line_can_learn() -> None:
    print("share of the truth table learnt, and epochs")
    for name in ("and", "or", "xor"):
        table = datasets.boolean(name)
        for model in (
            models.Perceptron(),
            models.Perceptron(batch_size=None, lr=0.5),
            models.Adaline(lr=0.05),
        ):
            right = model.fit(table.x, table.y).score(table.x, table.y)
            kind = "batch " if model.batch_size is None else ""
            label = f"{kind}{type(model).__name__}"
            print(f"  {name:>3}, {label:<16}: {right:.0%} after {model.n_iter}")


if __name__ == "__main__":
    least_squares()
    what_a_line_can_learn()
