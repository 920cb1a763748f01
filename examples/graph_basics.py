"""The three computation graphs of the lecture notes, forward and backward.

The first two are those of "CS489/698 Lecture 04: Multi-layer Perceptron", the third that of
"Multi-layer perceptron", section 2.2. Run it with `python examples/graph_basics.py`.
"""

import numpy as np

import cmlp.graph as graph


def product_of_a_sum() -> None:
    x, y, z = (graph.Placeholder(name) for name in "xyz")
    f = (x + y) * z
    feed = {x: -2, y: 5, z: -4}
    value, dx, dy, dz = graph.run([f, *graph.gradients(f, [x, y, z])], feed)
    print("f = (x + y) z at (-2, 5, -4)")
    print(f"  f = {value:g}, df/dx = {dx:g}, df/dy = {dy:g}, df/dz = {dz:g}")


def logistic_neuron() -> None:
    w = [graph.Variable(value, name=f"w{i}") for i, value in enumerate([2.0, -3.0, -3.0])]
    x = [graph.Placeholder(f"x{i}") for i in range(2)]
    f = 1 / (1 + graph.exp(-(w[0] * x[0] + w[1] * x[1] + w[2])))
    leaves = [*w, *x]
    value, *slopes = graph.run([f, *graph.gradients(f, leaves)], {x[0]: -1, x[1]: -2})
    print("f = 1 / (1 + exp(-(w0 x0 + w1 x1 + w2))) at w = (2, -3, -3), x = (-1, -2)")
    print(f"  f = {value:.4f}, and f (1 - f) = {value * (1 - value):.4f}")
    print("  " + ", ".join(f"df/d{n.name} = {s:.4f}" for n, s in zip(leaves, slopes, strict=True)))


def paths_that_join() -> None:
    r, t = graph.Placeholder("r"), graph.Placeholder("t")
    x, y = r * graph.sin(t), graph.sin(t) ** 2
    u = x**2 + 2 * y
    at_r, at_t = 3.0, 0.5
    du_dr, du_dt = graph.run(graph.gradients(u, [r, t]), {r: at_r, t: at_t})
    print("u = x^2 + 2 y, x = r sin t, y = sin^2 t, at r = 3, t = 0.5")
    print(f"  du/dr = {du_dr:.6f}, 2 r sin^2 t      = {2 * at_r * np.sin(at_t) ** 2:.6f}")
    print(f"  du/dt = {du_dt:.6f}, (r^2 + 2) sin 2t = {(at_r**2 + 2) * np.sin(2 * at_t):.6f}")


if __name__ == "__main__":
    product_of_a_sum()
    logistic_neuron()
    paths_that_join()
