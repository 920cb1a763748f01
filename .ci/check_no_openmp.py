"""A package built without OpenMP says so, and trains on one thread."""

import numpy as np

import cmlp

info = cmlp.info()
assert info["openmp"] is False, info
assert info["threads"] == 1, info
rng = np.random.default_rng(0)
x = rng.normal(size=(500, 2))
y = (x[:, 0] * x[:, 1] > 0).astype(int)
net = cmlp.Sequential(cmlp.Dense(2, 32, activation="tanh"), cmlp.Dense(32, 2), seed=0)
trainer = cmlp.Trainer(
    net, loss=cmlp.SoftmaxCrossEntropy(), optimizer=cmlp.Adam(lr=0.01), n_threads=4
)
trainer.fit(x, y, epochs=50, batch_size=32, progress=False)
accuracy = trainer.evaluate(x, y)["accuracy"]
assert accuracy > 0.95, accuracy
print(f"without OpenMP: {info}, accuracy {accuracy:.3f}")
