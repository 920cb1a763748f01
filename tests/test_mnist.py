"""Handwritten digits of full size, where they are to be had."""

import os
from pathlib import Path

import pytest

import cmlp
from cmlp import datasets

FOLDER = Path(os.environ.get("CMLP_MNIST", Path(__file__).parents[2] / "shared/data/mnist"))


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no MNIST in {FOLDER}; set CMLP_MNIST")
def test_three_epochs_reach_965_in_a_thousand():
    x, y, x_test, y_test = datasets.mnist(FOLDER).split()
    net = cmlp.Sequential(cmlp.Dense(784, 128, activation="relu"), cmlp.Dense(128, 10), seed=0)
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(lr=0.1, momentum=0.9))
    history = trainer.fit(x, y, epochs=3, batch_size=128)
    assert history["loss"][2] < history["loss"][0]
    assert trainer.evaluate(x_test, y_test)["accuracy"] >= 0.965
