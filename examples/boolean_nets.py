"""Boolean functions by nets whose weights are given, not learnt.

AND and the layered XNOR are those of "Machine Learning CS 539", the exclusive or those of
"CS489/698 Lecture 04: Multi-layer Perceptron" and "Deep Learning, topic 3: Multi-layer Perceptron".
Run it with `python examples/boolean_nets.py`.
"""

import cmlp
from cmlp.models import boolean_net


def truth_tables() -> None:
    print("sigmoid units, and for xnor two layers of them")
    for name in ("not", "and", "or", "nor", "xnor"):
        table = cmlp.datasets.boolean(name)
        outputs = boolean_net(name).predict(table.x)[:, 0]
        print(f"  {name:>4}: " + ", ".join(f"{y:.5f}" for y in outputs), "for", table.y.tolist())


def exclusive_or() -> None:
    x = cmlp.datasets.boolean("xor").x
    print("exclusive or: y = w h + b, h = relu(U x + c)")
    for name in ("xor_signs", "xor"):
        net = boolean_net(name)
        first, last = net.layers
        print(f"  U = {first.weight.tolist()}, c = {first.bias.tolist()},")
        print(f"  w = {last.weight[0].tolist()}, b = {last.bias[0]:g}, output: {last.activation}")
        h = cmlp.Sequential(first, dtype="float64").predict(x)
        for row in zip(x, h, net.predict(x)[:, 0], strict=True):
            print(
                "    x = ({:g}, {:g})  h = ({:g}, {:g})  y = {:g}".format(*row[0], *row[1], row[2])
            )


if __name__ == "__main__":
    truth_tables()
    exclusive_or()
