"""The softmax: its Jacobian, the delta of the cross-entropy, and its two invariances.

From "Deep Learning, topic 3: Multi-layer Perceptron", "Calculate the gradient". Run it with
`python examples/softmax_jacobian.py`.
"""

import numpy as np

import cmlp


def show(name: str, rows: np.ndarray) -> None:
    print(name)
    for row in np.atleast_2d(rows):
        print("  " + "  ".join(f"{v + 0.0:8.5f}" for v in row.round(5)))


def jacobian(u: np.ndarray) -> None:
    layer = cmlp.Softmax()
    h = layer.forward(u)
    show("h = softmax(u), u = (1, 2, 3)", h)
    # backward takes dL/dh to dL/du: from the i-th unit vector to the i-th row
    rows = []
    for i in range(3):
        layer.forward(u)
        rows.append(layer.backward(np.eye(3)[i : i + 1])[0])
    show("dh_i/du_k, one backward pass for each i", np.array(rows))
    show("h_i ([i = k] - h_k)", np.diag(h[0]) - np.outer(h, h))


def delta(u: np.ndarray) -> None:
    loss = cmlp.SoftmaxCrossEntropy()
    value = loss.forward(u, [2])
    show(f"delta of the fused layer, t = (0, 0, 1), E = {value:.5f}", loss.backward())
    show("h - t", cmlp.kernels.softmax(u) - [[0, 0, 1]])


def invariances(u: np.ndarray) -> None:
    show("softmax(u + 100)", cmlp.kernels.softmax(u + 100))
    two = u[:, :2]
    difference = cmlp.Sigmoid().forward(two[:, :1] - two[:, 1:])
    show("softmax(1, 2) and sigmoid(1 - 2)", np.hstack([cmlp.kernels.softmax(two), difference]))


if __name__ == "__main__":
    logits = np.array([[1.0, 2.0, 3.0]])
    jacobian(logits)
    delta(logits)
    invariances(logits)
