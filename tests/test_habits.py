"""What people know from other libraries works here too."""

from __future__ import annotations

import numpy as np
import pytest

import cmlp
from cmlp import losses, optimizers


def points(n=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2)).astype(np.float32)
    return x, (x[:, 0] > x[:, 1]).astype(int)


def layers():
    return [cmlp.Dense(2, 5), cmlp.Tanh(), cmlp.Dense(5, 2)]


def test_a_net_is_made_of_one_list():
    given, alone = cmlp.Sequential(layers(), seed=1), cmlp.Sequential(*layers(), seed=1)
    assert np.array_equal(given.get_flat(), alone.get_flat())
    with pytest.raises(ValueError, match="layers is empty; expected at least one layer"):
        cmlp.Sequential([])


def test_a_net_is_a_sequence_of_layers():
    net = cmlp.Sequential(layers(), seed=1)
    assert len(net) == 3
    assert [net[0], net[1], net[-1]] == list(net.layers) == list(net)
    with pytest.raises(IndexError):
        net[3]


def test_a_slice_is_a_net_that_shares_the_layers():
    net = cmlp.Sequential(layers(), seed=1)
    first = net[:2]
    assert isinstance(first, cmlp.Sequential)
    assert first.layers == net.layers[:2]
    x = points()[0]
    assert np.array_equal(net[2:].predict(first.predict(x)), net.predict(x))
    with pytest.raises(ValueError, match="layers is empty"):
        net[3:]


def test_a_net_can_be_called():
    net = cmlp.Sequential(layers(), seed=1)
    x = points()[0]
    assert np.array_equal(net(x), net.predict(x))


@pytest.mark.parametrize("name", losses.KINDS)
def test_losses_by_name(name):
    net = cmlp.Sequential(cmlp.Dense(2, 2), seed=1)
    trainer = cmlp.Trainer(net, name)
    assert type(trainer.loss) is losses.KINDS[name]
    trainer.loss = "squared_error"
    assert type(trainer.loss) is cmlp.SquaredError


@pytest.mark.parametrize("name", [*optimizers.KINDS, "lbfgs"])
def test_optimizers_by_name(name):
    net = cmlp.Sequential(cmlp.Dense(2, 2), seed=1)
    trainer = cmlp.Trainer(net, "squared_error", name)
    assert type(trainer.optimizer) is {**optimizers.KINDS, "lbfgs": cmlp.LBFGS}[name]
    assert f'"{name}"' in cmlp.Trainer.__doc__


@pytest.mark.parametrize("part", ["loss", "optimizer"])
def test_unknown_names_are_refused(part):
    net = cmlp.Sequential(cmlp.Dense(2, 2), seed=1)
    with pytest.raises(ValueError, match=f"{part} is 'adamax'; expected one of"):
        cmlp.Trainer(net, **{"loss": "squared_error", part: "adamax"})


def test_names_train_as_objects_do():
    x, y = points()
    flat = []
    for parts in (("softmax_cross_entropy", "adam"), (cmlp.SoftmaxCrossEntropy(), cmlp.Adam())):
        net = cmlp.Sequential(layers(), seed=1)
        cmlp.Trainer(net, *parts).fit(x, y, epochs=2, batch_size=8)
        flat.append(net.get_flat())
    assert np.array_equal(*flat)


def test_a_share_is_held_out():
    x, y = points()
    weight = np.arange(1.0, 41.0)
    net = cmlp.Sequential(layers(), seed=1)
    trainer = cmlp.Trainer(net, "softmax_cross_entropy")
    seen = {}

    class Look(cmlp.Callback):
        def on_train_begin(self, trainer):
            seen["trained"], seen["held"] = trainer.fitting.data, trainer.fitting.held_out

    history = trainer.fit(
        x, y, epochs=2, batch_size=8, validation=0.25, sample_weight=weight, callbacks=[Look()]
    )
    assert "validation_loss" in history
    rows = [tuple(row) for part in seen.values() for row in part.x]
    assert (len(seen["trained"]), len(seen["held"])) == (30, 10)
    assert sorted(rows) == sorted(tuple(row) for row in x)
    # the same rows by the same seed, drawn and not the last
    by_hand = cmlp.Sequential(layers(), seed=1)
    trained, held = seen["trained"], seen["held"]
    cmlp.Trainer(by_hand, "softmax_cross_entropy").fit(
        trained.x, trained.y, epochs=2, batch_size=8, sample_weight=trained.weight,
        validation=(held.x, held.y, held.weight),
    )  # fmt: skip
    assert np.array_equal(by_hand.get_flat(), net.get_flat())
    assert not np.array_equal(held.x, x[-10:])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 0.001, float("nan")])
def test_shares_that_leave_nothing_are_refused(share):
    x, y = points()
    net = cmlp.Sequential(layers(), seed=1)
    before = net.get_flat()
    with pytest.raises(ValueError, match="validation is"):
        cmlp.Trainer(net, "softmax_cross_entropy").fit(x, y, validation=share)
    assert np.array_equal(net.get_flat(), before)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("kind", [cmlp.EarlyStopping, cmlp.ModelCheckpoint])
def test_names_of_columns_as_in_keras(tmp_path, kind, monitor):
    file = {"path": tmp_path / "c", "save_best_only": True}
    made = kind(monitor=monitor, **file if kind is cmlp.ModelCheckpoint else {})
    assert made.monitor == monitor.replace("val_", "validation_")
    x, y = points()
    net = cmlp.Sequential(layers(), seed=1)
    trainer = cmlp.Trainer(net, "softmax_cross_entropy")
    trainer.fit(x, y, epochs=2, validation=0.25, callbacks=[made])
    assert np.isfinite(made.best)
