"""Nets as lists of layers, worked through by hand and by the trainer.

The two nets are the examples of "Deep Learning, topic 3: Multi-layer Perceptron", "Coding
considerations": fully connected layers, activation layers, and a Euclidean or a softmax
cross-entropy loss. Run it with `python examples/layers_by_hand.py`.
"""

import numpy as np

import cmlp

X, LABELS = cmlp.datasets.digits().split()[:2]
T = np.eye(10)[LABELS]

NETS = {
    "fc1, act1, fc2, act2, Euclidean loss": (
        [cmlp.Dense(64, 20), cmlp.Sigmoid(), cmlp.Dense(20, 10), cmlp.Sigmoid()],
        cmlp.SquaredError(),
    ),
    "fc1, act1, fc2, softmax cross-entropy loss": (
        [cmlp.Dense(64, 20), cmlp.ReLU(), cmlp.Dense(20, 10)],
        cmlp.SoftmaxCrossEntropy(),
    ),
}


def train_by_hand(net: cmlp.Sequential, loss: cmlp.Loss, steps: int) -> float:
    optimizer = cmlp.SGD(lr=0.5)
    for _ in range(steps):
        y = X
        for layer in net.layers:
            y = layer.forward(y)
        error = loss.forward(y, T)
        delta = loss.backward()
        for layer in reversed(net.layers):
            delta = layer.backward(delta)
        optimizer.step(net)
    return error


def slope_by_differences(net: cmlp.Sequential, loss: cmlp.Loss) -> tuple[float, float]:
    """dE/dw of one weight by backpropagation and by (E(w + h) - E(w - h)) / 2h."""
    layer, h = net.layers[0], 1e-5
    loss.forward(net.forward(X), T)
    net.backward(loss.backward())
    w, slope = layer.weight, layer.grad_weight[3, 20]
    errors = []
    for moved in (w[3, 20] + h, w[3, 20] - h):
        other = w.copy()
        other[3, 20] = moved
        layer.weight = other
        errors.append(loss.forward(net.forward(X), T))
    layer.weight = w
    return float(slope), (errors[0] - errors[1]) / (2 * h)


def compare() -> None:
    for name, (layers, loss) in NETS.items():
        net = cmlp.Sequential(*layers, dtype="float64", seed=0)
        trained = net.copy()
        trainer = cmlp.Trainer(trained, loss, cmlp.SGD(lr=0.5))
        history = trainer.fit(X, T, epochs=20, batch_size=None, shuffle=False)
        error = train_by_hand(net, loss, steps=20)
        print(name)
        print(
            f"  error of step 20: {error:.12f} by hand, {history['loss'][-1]:.12f} by the trainer"
        )
        apart = np.abs(net.get_flat() - trained.get_flat()).max()
        print(f"  weights apart: {'less than 1e-12' if apart < 1e-12 else apart}")
        slope, difference = slope_by_differences(net, loss)
        print(f"  dE/dw: {slope:.8f} by backpropagation, {difference:.8f} by differences")


if __name__ == "__main__":
    compare()
