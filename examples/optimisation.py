"""Initial weights, order of the samples, learning rates, and when to stop.

From "Deep Learning, topic 3: Multi-layer Perceptron", "Optimization techniques". Run it with
`python examples/optimisation.py`.
"""

import warnings

import numpy as np

import cmlp
from cmlp import datasets


def trainer_for(schedule: cmlp.Schedule | None = None, lr: float = 0.3) -> cmlp.Trainer:
    net = cmlp.Sequential(cmlp.Dense(2, 8, activation="tanh"), cmlp.Dense(8, 1), seed=0)
    return cmlp.Trainer(net, cmlp.BinaryCrossEntropy(), cmlp.SGD(lr=lr), schedule)


def initial_weights() -> None:
    print("deviation of the initial weights of a layer with 400 inputs and 300 outputs")
    for init, formula in (
        (cmlp.Normal(0.01), "0.01"),
        (cmlp.Xavier(), "1 / sqrt(400) = 0.05"),
        (cmlp.Xavier("uniform"), "1 / sqrt(400) = 0.05"),
        (cmlp.He(), "sqrt(2 / 400) = 0.0707"),
    ):
        w = cmlp.Dense(400, 300, weight_init=init).build(rng=0).weight
        print(f"  {init!r}: {w.std():.4f}, expected {formula}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hidden = cmlp.Dense(2, 3, activation="tanh", weight_init=cmlp.Zeros())
        net = cmlp.Sequential(hidden, cmlp.Dense(3, 1, weight_init=cmlp.Constant(0.5)), seed=0)
    x, y = datasets.points_2d("gauss").split()[:2]
    cmlp.Trainer(net, cmlp.BinaryCrossEntropy()).fit(x, y, epochs=20)
    alike = np.ptp(hidden.weight, axis=0).max() == 0
    print(f"  Zeros(): {len(caught)} warning; units still alike after 20 epochs: {alike}")


def order_of_samples() -> None:
    x, y, x_test, y_test = datasets.points_2d("circle", seed=1).split()
    by_class = np.argsort(y, kind="stable")
    print("samples sorted by class, 30 epochs in minibatches of 10")
    for shuffle in (False, True):
        trainer = trainer_for()
        trainer.fit(x[by_class], y[by_class], epochs=30, batch_size=10, shuffle=shuffle)
        scores = trainer.evaluate(x_test, y_test)
        print(f"  shuffle={shuffle!s:5}: test loss {scores['loss']:.4f}")


def learning_rates() -> None:
    x, y, *held_out = datasets.points_2d("circle", seed=1).split()
    print("learning rate in epochs 1, 10, 50, 100, and the loss at the end")
    for name, schedule in (
        ("constant", None),
        ("halving", cmlp.Halving(threshold=0.01, patience=2)),
        ("held-out set", cmlp.Plateau(threshold=0.01, patience=2)),
        ("a / (b + t)", cmlp.InverseTime(a=300.0, b=1000.0)),
        ("1 / sqrt(t)", cmlp.InverseSqrt(n_steps=100)),
    ):
        trainer = trainer_for(schedule)
        history = trainer.fit(x, y, epochs=100, batch_size=10, validation=tuple(held_out))
        rates = ", ".join(f"{history['lr'][i - 1]:.4f}" for i in (1, 10, 50, 100))
        print(f"  {name:>12}: {rates}, loss {history['loss'][-1]:.4f}")


def when_to_stop() -> None:
    x, y = datasets.points_2d("gauss", noise=0.3).split()[:2]
    trainer = cmlp.Trainer(
        cmlp.Sequential(cmlp.Dense(2, 1), seed=0),
        cmlp.BinaryCrossEntropy(),
        cmlp.SGD(lr=0.5, weight_decay=0.01),
    )
    history = trainer.fit(x, y, epochs=2000, batch_size=None, callbacks=[cmlp.Converged(tol=1e-5)])
    print("until the weights converge or 2000 epochs are done")
    print(f"  stopped after {len(history)} epochs, loss {history['loss'][-1]:.6f}")


if __name__ == "__main__":
    initial_weights()
    order_of_samples()
    learning_rates()
    when_to_stop()
