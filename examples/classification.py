"""Logistic regression, softmax regression, and an output for each class against the rest.

From "Deep Learning, topic 3: Multi-layer Perceptron" and "Machine Learning CS 539". Run it with
`python examples/classification.py`.
"""

import numpy as np

import cmlp
from cmlp import models


def three_clouds(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    centres = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    return centres[labels] + rng.normal(size=(n, 2)), labels


def two_classes() -> None:
    x, labels = three_clouds()
    x, t = x[labels < 2], labels[labels < 2]
    model = models.LogisticRegression(weight_decay=0.01).fit(x, t)
    second = models.SoftmaxRegression(weight_decay=0.01).fit(x, t)
    print("two classes: P(t = 1 | x) = 1 / (1 + exp(-(w x + b)))")
    print(f"  logistic: {model.score(x, t):.1%} right after {model.n_iter} epochs")
    print(f"  softmax with K = 2: {second.score(x, t):.1%} right")
    y = model.predict_proba(x)[:, 1]
    gradient = (y - t) @ x / len(x) + 0.01 * model.weight[0]
    print(f"  gradient (y - t) x + lambda w at the end: {np.abs(gradient).max():.0e} at most")


def three_classes() -> None:
    x, labels = three_clouds()
    print("three classes")
    for model in (models.SoftmaxRegression(weight_decay=0.01), models.OneVsRest(weight_decay=0.01)):
        p = model.fit(x, labels).predict_proba(x)
        sums = f"{p.sum(axis=1).min():.2f} to {p.sum(axis=1).max():.2f}"
        right = model.score(x, labels)
        print(f"  {type(model).__name__:>17}: {right:.1%} right, outputs sum to {sums}")


def with_a_hidden_layer() -> None:
    x, labels = three_clouds()
    print("a hidden layer below K sigmoid units with 1-of-K targets, and below a softmax")
    for loss in (cmlp.BinaryCrossEntropy(), cmlp.SoftmaxCrossEntropy()):
        net = cmlp.Sequential(cmlp.Dense(2, 8, activation="tanh"), cmlp.Dense(8, 3), seed=0)
        trainer = cmlp.Trainer(net, loss, cmlp.SGD(0.2))
        trainer.fit(x, labels, epochs=50, batch_size=20)
        name = type(loss).__name__
        print(f"  {name:>19}: {trainer.evaluate(x, labels)['accuracy']:.1%} right")


if __name__ == "__main__":
    two_classes()
    three_classes()
    with_a_hidden_layer()
