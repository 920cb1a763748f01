"""The exclusive or learnt by a net of two hidden units, from several starts.

The cost has local minima, so "Lecture 14: Backpropagation in Networks" advises separate runs of
gradient descent, the best of which is kept. Run it with `python examples/several_starts.py`.
"""

import cmlp


def build(seed: int) -> cmlp.Trainer:
    net = cmlp.Sequential(
        cmlp.Dense(2, 2, activation="tanh"), cmlp.Dense(2, 1), dtype="float64", seed=seed
    )
    return cmlp.Trainer(net, cmlp.BinaryCrossEntropy(), cmlp.SGD(lr=0.3, momentum=0.9))


def xor() -> None:
    table = cmlp.datasets.boolean("xor")
    runs = cmlp.best_of(build, (table.x, table.y), n_runs=8, epochs=500, batch_size=None)
    print("loss at the end of each run")
    for seed, loss in zip(runs.seeds, runs.losses, strict=True):
        print(f"  seed {seed}: {loss:.4f}" + ("  <- the best" if loss == min(runs.losses) else ""))
    print("probability of 1 at (0, 0), (0, 1), (1, 0), (1, 1)")
    print("  " + ", ".join(f"{p:.3f}" for p in runs.net.predict_proba(table.x)[:, 0]))


if __name__ == "__main__":
    xor()
