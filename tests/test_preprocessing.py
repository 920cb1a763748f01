"""A net's preprocessing: what it does in prediction, in training and in files."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

import cmlp
from cmlp.preprocessing import Preprocessing, Standardizer

X = np.random.default_rng(0).normal(size=(60, 3)) * [1.0, 50.0, 1e3] + [0.0, 7.0, -1e4]
Y = X[:, :2] * 100.0 + 1e5
BEFORE = Preprocessing.fit(X, Y)
Z, T = BEFORE.inputs.transform(X), BEFORE.targets.transform(Y)
FRAME_NAMES = ("a", "b", "c")


def plain(n_out=2, dtype="float64", **settings):
    return cmlp.Sequential(
        cmlp.Dense(3, 5, "tanh"), cmlp.Dense(5, n_out), dtype=dtype, seed=1, **settings
    )


def standardising(dtype="float64", before=BEFORE):
    net = plain(dtype=dtype)
    net.preprocessing = before
    return net


class Twice:
    """A layer of a user's own."""

    def forward(self, x, training=False):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


# ---- prediction --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samples_come_and_outputs_go_as_they_are_in_the_data(dtype):
    net, inner = standardising(dtype), plain(dtype=dtype)
    wanted = BEFORE.targets.inverse_transform(inner.predict(Z))
    np.testing.assert_array_equal(net.predict(X), wanted)
    assert net.predict(X).dtype == dtype
    np.testing.assert_array_equal(net.predict(X[0]), wanted[0])
    np.testing.assert_array_equal(net.forward(X), wanted)
    out = np.empty((60, 2), dtype)
    assert net.predict(X, out=out) is out
    np.testing.assert_array_equal(out, wanted)
    with pytest.raises(ValueError, match=r"x has shape \(60, 2\); expected \(batch, 3\)"):
        net.predict(X[:, :2])
    odd = X.copy()
    odd[0, 0], odd[1, 0] = np.nan, np.inf
    assert np.isnan(net.predict(odd)[0]).all() and np.isfinite(net.predict(odd)[1:]).all()


def test_what_is_assigned_takes_effect_at_once():
    net, inner = plain(), plain()
    before = net.predict(Z)  # the short way is known now
    net.preprocessing = BEFORE
    np.testing.assert_array_equal(net.predict(X), BEFORE.targets.inverse_transform(before))
    net.preprocessing = None
    np.testing.assert_array_equal(net.predict(Z), inner.predict(Z))
    assert not net.preprocessing.scales


def test_probabilities_are_of_standardised_inputs():
    net, inner = plain(), plain()
    net.preprocessing = Preprocessing(BEFORE.inputs)
    np.testing.assert_array_equal(net.predict_proba(X), inner.predict_proba(Z))
    with pytest.raises(ValueError, match="has no probabilities"):
        standardising().predict_proba(X)


def test_inputs_far_from_zero_keep_their_digits():
    far = 1e7 + np.arange(3.0)[:, np.newaxis]
    net = cmlp.Sequential(cmlp.Identity(), n_in=1)
    net.preprocessing = Preprocessing(Standardizer(np.array([1e7]), np.array([1.0])))
    np.testing.assert_array_equal(net.predict(far)[:, 0], [0.0, 1.0, 2.0])


def test_backward_is_the_gradient_by_the_data():
    net, dy = standardising(), np.random.default_rng(1).normal(size=(60, 2))
    net.forward(X)
    dx = net.backward(dy)
    for column, step in enumerate([1e-5, 1e-4, 1e-3]):
        shift = np.zeros(3)
        shift[column] = step
        slope = ((net.predict(X + shift) - net.predict(X - shift)) * dy).sum(axis=1) / (2 * step)
        np.testing.assert_allclose(dx[:, column], slope, rtol=1e-4, atol=1e-6 * abs(slope).max())
    weights, gradient = net.get_flat(), net.get_flat_grad()
    for i in range(0, len(weights), 5):
        moved = net.copy()
        steps = []
        for sign in (1, -1):
            w = weights.copy()
            w[i] += sign * 1e-6
            moved.set_flat(w)
            steps.append((moved.predict(X) * dy).sum())
        assert gradient[i] == pytest.approx((steps[0] - steps[1]) / 2e-6, rel=1e-4)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (Standardizer.fit(X), TypeError, "preprocessing is Standardizer"),
        (Preprocessing(Standardizer.fit(X[:, :2])), ValueError, "has 2 inputs; expected 3"),
        (Preprocessing(None, Standardizer.fit(X)), ValueError, "has 3 targets; expected 2"),
        (Preprocessing(feature_names=("a",)), ValueError, "has 1 feature_names; expected 3"),
    ],
)
def test_what_does_not_fit_is_refused(value, error, message):
    net = standardising()
    with pytest.raises(error, match=message):
        net.preprocessing = value
    assert net.preprocessing is BEFORE


def test_parts_that_make_no_sense():
    with pytest.raises(TypeError, match="inputs is 3; expected a Standardizer"):
        Preprocessing(3)
    for names in ("abc", [1, 2, 3], [["a"]]):
        with pytest.raises(TypeError, match="feature_names is"):
            Preprocessing(feature_names=names)
    net = cmlp.Sequential(cmlp.Dense(3, 2, "softmax"), seed=0)
    with pytest.raises(ValueError, match="ends with softmax; expected a net for regression"):
        net.preprocessing = BEFORE
    with pytest.raises(ValueError, match="read-only"):
        BEFORE.inputs.mean[0] = 3.0
    with pytest.raises(ValueError, match="scale holds 0.0; expected positive"):
        Standardizer(np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="expected \\(n_in,\\) for both"):
        Standardizer(np.zeros(2), np.ones(3))


# ---- nets of nets ------------------------------------------------------------------------------


def test_a_net_in_a_net():
    first, last = standardising(before=Preprocessing(BEFORE.inputs)), plain(n_out=1)
    joined = cmlp.Sequential(first, cmlp.Dense(2, 1), dtype="float64")
    assert joined.preprocessing.inputs is BEFORE.inputs
    assert cmlp.Sequential(standardising(), dtype="float64").preprocessing.targets is BEFORE.targets
    np.testing.assert_array_equal(
        cmlp.Sequential(standardising(), dtype="float64").predict(X), standardising().predict(X)
    )
    for parts in ([cmlp.Dense(3, 3), standardising()], [standardising(), cmlp.Dense(2, 1)]):
        with pytest.raises(ValueError, match=r"layers\[\d\] is a net that standardises"):
            cmlp.Sequential(*parts, dtype="float64")
    assert not cmlp.Sequential(*first.layers, dtype="float64").preprocessing.scales
    assert last.preprocessing.feature_names is None


# ---- training ----------------------------------------------------------------------------------


def trained(net, x, y, loss=None, **fit):
    trainer = cmlp.Trainer(net, loss or cmlp.SquaredError(), cmlp.SGD(0.05))
    history = trainer.fit(x, y, epochs=4, batch_size=16, validation=(x, y), **fit)
    return trainer, history


class OwnLoss:
    """A loss of a user's own: half the squares."""

    def forward(self, y, t, sample_weight=None):
        self.d = y - t
        return 0.5 * float((self.d**2).sum(axis=1).mean())

    def backward(self):
        return self.d / len(self.d)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [cmlp.SquaredError(), cmlp.Huber(), OwnLoss()])
def test_training_on_raw_data_is_training_on_standardised_ones(dtype, loss):
    mine, history = trained(standardising(dtype), X.astype(dtype), Y.astype(dtype), loss)
    bare, expected = trained(
        plain(dtype=dtype),
        BEFORE.inputs.transform(X.astype(dtype)),
        BEFORE.targets.transform(Y.astype(dtype)),
        loss,
    )
    np.testing.assert_array_equal(mine.net.get_flat(), bare.net.get_flat())
    for name in ("loss", "validation_loss"):
        assert list(history[name]) == list(expected[name])


def test_steps_and_fits_see_the_same():
    one, many = (cmlp.Trainer(standardising(), cmlp.SquaredError()) for _ in range(2))
    for _ in range(3):
        one.train_step(X, Y)
    many.fit(X, Y, epochs=3, batch_size=None, shuffle=False)
    np.testing.assert_array_equal(one.net.get_flat(), many.net.get_flat())
    net = plain(dtype="float32")
    trainer = cmlp.Trainer(net, cmlp.SquaredError())
    x, t = Z.astype("f"), T.astype("f")
    trainer.train_step(x, t)
    net.preprocessing = BEFORE  # between two steps of the shortest way
    expected = trainer.evaluate(X, Y)["loss"]
    assert trainer.train_step(X.astype("f"), Y.astype("f")) == pytest.approx(expected, rel=1e-4)


def test_metrics_are_in_the_units_of_the_data():
    trainer, history = trained(standardising(), X, Y)
    scores = trainer.evaluate(X, Y)
    assert scores["mean_absolute_error"] == pytest.approx(abs(trainer.net.predict(X) - Y).mean())
    assert history["validation_mean_absolute_error"][-1] == scores["mean_absolute_error"]
    assert scores["loss"] < 2.0  # of standardised targets


def test_gradients_are_measured_where_training_is():
    seen = [cmlp.GradientMonitor(), cmlp.GradientMonitor(X, Y), cmlp.GradientMonitor(Z, T)]
    trained(standardising(), X, Y, callbacks=seen[:2], shuffle=False)
    trained(plain(), Z, T, callbacks=seen[2:], shuffle=False)
    for monitor in seen[1:]:
        np.testing.assert_allclose(monitor.delta_norms, seen[0].delta_norms, rtol=1e-12)


def test_lbfgs():
    pytest.importorskip("scipy")
    net = standardising()
    cmlp.Trainer(net, cmlp.SquaredError(), cmlp.LBFGS()).fit(X, Y, epochs=60)
    assert abs(net.predict(X) - Y).mean() < 0.02 * Y.std()


@pytest.mark.parametrize("loss", [cmlp.Poisson(), cmlp.SoftmaxCrossEntropy()])
def test_standardised_targets_are_for_numbers(loss):
    net = standardising()
    with pytest.raises(ValueError, match="standardises its targets; .* takes classes or counts"):
        cmlp.Trainer(net, loss).fit(X, abs(Y))


def test_targets_that_do_not_fit():
    trainer = cmlp.Trainer(standardising(), cmlp.SquaredError())
    with pytest.raises(ValueError, match=r"y has shape \(60, 1\); expected \(batch, 2\)"):
        trainer.fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="validation y holds nan"):
        trainer.fit(X, Y, validation=(X, np.full_like(Y, np.nan)))


def test_names_are_learnt_by_training():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    columns = dict(zip(FRAME_NAMES, X.T, strict=True))
    for frame in (pandas.DataFrame(columns), polars.DataFrame(columns)):
        net = standardising()
        trainer = cmlp.Trainer(net, cmlp.SquaredError())
        with pytest.raises(ValueError, match="y has 59 rows"):
            trainer.fit(frame, Y[1:])
        assert net.preprocessing.feature_names is None
        trainer.fit(frame, Y, epochs=1)
        assert net.preprocessing.feature_names == FRAME_NAMES
        np.testing.assert_array_equal(net.predict(frame), net.predict(X))
        for call in (net.predict, net.forward, partial(trainer.train_step, y=Y)):
            with pytest.raises(ValueError, match=r"x has the columns \['c', 'b', 'a'\]; expected"):
                call(frame[["c", "b", "a"]])
        trainer.fit(X, Y, epochs=1)
    assert Preprocessing.fit(frame).feature_names == FRAME_NAMES
    numbered = pandas.DataFrame(X)
    assert Preprocessing.fit(numbered).feature_names is None


# ---- files -------------------------------------------------------------------------------------


def header_of(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    return header, json.loads(header["__metadata__"]["cmlp"]), data[8 + size :]


def rewrite(path, header, about, body):
    header["__metadata__"]["cmlp"] = json.dumps(about)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def test_files_without_it_are_those_of_before(tmp_path):
    plain().save(tmp_path / "m")
    _, about, _ = header_of(tmp_path / "m")
    assert about["format"] == 1 and "preprocessing" not in about
    standardising().save(tmp_path / "m")
    assert header_of(tmp_path / "m")[1]["format"] == 2


def test_files_of_before_are_read(tmp_path):
    """`cmlp train` had means and scales in the metadata; what a user had there is left alone."""
    net, path = plain(), tmp_path / "m"
    scaled = {
        "standardizer": BEFORE.inputs.to_dict(),
        "target_standardizer": BEFORE.targets.to_dict(),
        "features": list(FRAME_NAMES),
    }
    net.metadata = {**scaled, "target": "y", "training": {"data": "t.csv"}}
    net.save(path)
    again = cmlp.load(path)
    assert again.metadata == {"target": "y", "training": {"data": "t.csv"}}
    assert again.preprocessing.feature_names == FRAME_NAMES
    np.testing.assert_array_equal(again.predict(X), standardising().predict(X))
    net.metadata = scaled
    net.save(path)
    assert cmlp.load(path).metadata == scaled
    assert not cmlp.load(path).preprocessing.scales
    for name, wrong in (
        ("standardizer", {"mean": [0.0], "scale": [1.0]}),
        ("standardizer", {"mean": [0.0] * 3, "scale": [0.0] * 3}),
        ("target_standardizer", 3),
        ("features", ["a", 1, "c"]),
        ("features", "abc"),
    ):
        net.metadata = {**scaled, name: wrong, "training": {}}
        net.save(path)
        with pytest.raises(cmlp.FormatError, match=str(path)):
            cmlp.load(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda header, about: about["preprocessing"].update(inputs=[1], more=True),
        lambda header, about: about.update(preprocessing=None),
        lambda header, about: about.pop("preprocessing"),
        lambda header, about: about["preprocessing"].update(feature_names="abc"),
        lambda header, about: about["preprocessing"].update(feature_names=["a", 1, "c"]),
        lambda header, about: about["preprocessing"].update(feature_names=["a"]),
        lambda header, about: header.update(x=header.pop("preprocessing.inputs.mean")),
        lambda header, about: header["preprocessing.inputs.mean"].update(shape=[3, 1]),
        lambda header, about: header["preprocessing.inputs.mean"].update(shape=[1, 3]),
    ],
)
def test_damage_is_named(damage, tmp_path):
    path = tmp_path / "m"
    standardising().save(path)
    header, about, body = header_of(path)
    damage(header, about)
    rewrite(path, header, about, body)
    with pytest.raises(cmlp.FormatError, match=str(path)):
        cmlp.load(path)


def test_scales_that_are_none(tmp_path):
    path = tmp_path / "m"
    standardising().save(path)
    for bad in (np.nan, np.inf, 0.0, -1.0):
        header, about, body = header_of(path)
        start, _ = header["preprocessing.inputs.scale"]["data_offsets"]
        body = body[:start] + np.float64(bad).tobytes() + body[start + 8 :]
        rewrite(tmp_path / "bad", header, about, body)
        with pytest.raises(cmlp.FormatError, match="scale"):
            cmlp.load(tmp_path / "bad")


def test_a_file_that_could_not_be_read_again_is_not_written(tmp_path):
    net = cmlp.Sequential(cmlp.Dense(3, 1), seed=0)
    net.preprocessing = Preprocessing(feature_names=("a" * 3_000_000, "b", "c"))
    with pytest.raises(ValueError, match="names and metadata take"):
        net.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_resuming_takes_it_from_the_checkpoint(tmp_path):
    trainer = cmlp.Trainer(standardising(), cmlp.SquaredError(), cmlp.SGD(0.05))
    saver = cmlp.ModelCheckpoint(tmp_path / "c", every=2)
    trainer.fit(X, Y, epochs=4, callbacks=[saver])
    other = cmlp.Trainer(plain(), cmlp.SquaredError(), cmlp.SGD(0.05))
    with pytest.raises(ValueError, match="preprocessing"):
        other.fit(X, Y, epochs=4, resume=tmp_path / "c")
    same = cmlp.Trainer(standardising(), cmlp.SquaredError(), cmlp.SGD(0.05))
    same.fit(X, Y, epochs=4, resume=tmp_path / "c")
    np.testing.assert_array_equal(same.net.get_flat(), trainer.net.get_flat())
