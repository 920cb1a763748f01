"""Random views of images: what they are, and training on them."""

import copy
import pickle
from collections import Counter

import numpy as np
import pytest
from core_nets import ISAS, any_number_of_threads, using

import cmlp
from cmlp import Augment

DTYPES = ["float32", "float64"]
EVERYTHING = {"shift": 1, "rotate": 15.0, "elastic": (8.0, 2.0), "fill": -0.5}
SETTINGS = [
    {"crop": (5, 6)},
    {"crop": (5, 6), "shift": 2, "fill": -0.5},
    {"rotate": 20.0},
    {"elastic": (6.0, 1.5)},
    {"crop": (6, 5), **EVERYTHING},
]


def images(n=60, shape=(8, 7), seed=0, dtype="float32"):
    """Images whose every pixel is another number."""
    x = np.random.default_rng(seed).normal(size=(n, *shape))
    return x.reshape(n, -1).astype(dtype)


def find(image, view, fill=0.0, shift=0):
    """The place of an exact part of an image, filled around by `shift` pixels."""
    wide = np.pad(image, shift, constant_values=fill)
    rows, columns = view.shape
    places = [
        (i - shift, j - shift)
        for i in range(wide.shape[0] - rows + 1)
        for j in range(wide.shape[1] - columns + 1)
        if np.array_equal(wide[i : i + rows, j : j + columns], view)
    ]
    assert len(places) == 1
    return places[0]


# ---- views -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0, 2])
def test_a_crop_is_an_exact_part_from_any_place_alike(shift, dtype):
    augment = Augment((8, 7), crop=(5, 6), shift=shift, fill=-3.0)
    x, found = images(1, dtype=dtype), Counter()
    repeated = np.repeat(x, 60, axis=0)
    for step in range(1, 21):
        for view in augment.views(repeated, seed=5, step=step):
            found[find(x.reshape(8, 7), view.reshape(5, 6), -3.0, shift)] += 1
    rows, columns = range(-shift, 3 + shift + 1), range(-shift, 1 + shift + 1)
    assert set(found) == {(i, j) for i in rows for j in columns}
    expected = 1200 / len(found)
    assert sum((n - expected) ** 2 / expected for n in found.values()) < 2 * len(found)


def test_channels_are_cut_out_alike():
    augment = Augment((3, 6, 6), crop=(4, 4))
    x = np.arange(5 * 36.0).reshape(5, 1, 6, 6) + 1000.0 * np.arange(3)[None, :, None, None]
    views = augment.views(x, seed=1)
    assert views.shape == (5, 3, 4, 4)
    assert (views - views[:, :1] == 1000.0 * np.arange(3)[None, :, None, None]).all()
    flat = augment.views(x.reshape(5, -1), seed=1)
    assert np.array_equal(flat, views.reshape(5, -1))


def test_a_view_follows_from_seed_step_and_place():
    augment, x = Augment((8, 7), **EVERYTHING), images(9)
    views = augment.views(x, seed=3, step=4)
    assert np.array_equal(views, augment.views(x, seed=3, step=4))
    assert np.array_equal(views[:5], augment.views(x[:5], seed=3, step=4))
    for other in (augment.views(x, seed=4, step=4), augment.views(x, seed=3, step=5)):
        assert (views != other).any(axis=1).all()
    same = augment.views(np.repeat(x[:1], 9, axis=0), seed=3)
    assert len(np.unique(same, axis=0)) == 9


def turned(image, angle, fill):
    """The image turned about its middle, by the definition."""
    rows, columns = image.shape
    wide = np.pad(image, 40, constant_values=fill)
    v, u = np.mgrid[:rows, :columns] - np.reshape([(rows - 1) / 2, (columns - 1) / 2], (2, 1, 1))
    y = np.sin(angle) * u + np.cos(angle) * v + (rows - 1) / 2 + 40
    x = np.cos(angle) * u - np.sin(angle) * v + (columns - 1) / 2 + 40
    a, b = np.floor(y).astype(int), np.floor(x).astype(int)
    p, q = y - a, x - b
    above = (1 - q) * wide[a, b] + q * wide[a, b + 1]
    below = (1 - q) * wide[a + 1, b] + q * wide[a + 1, b + 1]
    return (1 - p) * above + p * below


def test_rotations_are_turns_by_all_angles_up_to_the_most():
    """On an image that is its own rows, the view shows by which angle it was turned."""
    augment = Augment((9, 9), rotate=30.0, fill=0.25)
    ramp, x = (
        np.mgrid[:9, :9][0].reshape(1, -1).astype("float64"),
        images(1, (9, 9), dtype="float64"),
    )
    shown = augment.views(np.repeat(ramp, 200, axis=0), seed=2).reshape(-1, 9, 9)
    angles = np.arcsin(shown[:, 4, 5] - shown[:, 4, 4])
    views = augment.views(np.repeat(x, 200, axis=0), seed=2).reshape(-1, 9, 9)
    for view, angle in zip(views, angles, strict=True):
        np.testing.assert_allclose(view, turned(x.reshape(9, 9), angle, 0.25), rtol=0, atol=1e-12)
    degrees = np.degrees(angles)
    assert -30.0 <= degrees.min() < -29.0
    assert 29.0 < degrees.max() <= 30.0
    assert degrees.std() == pytest.approx(30.0 / np.sqrt(3.0), rel=0.1)


def test_a_distortion_moves_the_pixels_by_smooth_fields():
    """On an image that is its own coordinates, the view shows where each pixel came from."""
    rows, columns = 60, 50
    ramp = np.mgrid[:rows, :columns].astype("float64")
    x = np.repeat(ramp[:, None].reshape(2, -1), 50, axis=0)
    moves = Augment((rows, columns), elastic=(30.0, 4.0)).views(x, seed=9)
    moved = (
        moves.reshape(2, 50, rows, columns)[:, :, 15:-15, 15:-15] - ramp[:, None, 15:-15, 15:-15]
    )
    # The deviation of evenly drawn numbers under a Gaussian: alpha / sqrt(3) / (2 sigma sqrt(pi)).
    assert moved.std() == pytest.approx(30.0 / np.sqrt(3.0) / (8.0 * np.sqrt(np.pi)), rel=0.05)
    assert abs(moved.mean()) < 0.1
    # ... and their correlation over k pixels: exp(-k^2 / (4 sigma^2)).
    for k in (1, 4, 8):
        correlation = (moved[..., k:] * moved[..., :-k]).mean() / moved.var()
        assert correlation == pytest.approx(np.exp(-k * k / 64.0), abs=0.06)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_instruction_set_sees_the_same(dtype):
    augment, x, found = Augment((8, 7), **EVERYTHING), images(20, dtype=dtype), []
    for isa in ISAS:
        with using(isa):
            found.append(augment.views(x, seed=1))
    for views in found[1:]:
        assert np.array_equal(views, found[0])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_float32_is_float64_rounded(settings):
    augment, x = Augment((8, 7), **settings), images(20)
    wide = augment.views(x.astype("float64"), seed=1)
    np.testing.assert_allclose(augment.views(x, seed=1), wide, rtol=0, atol=2e-5)


def test_the_middle():
    x = np.arange(2 * 30.0).reshape(2, 1, 5, 6)
    middle = Augment((5, 6), crop=(2, 4), rotate=9.0).center(x)
    assert np.array_equal(middle, x[:, :, 1:3, 1:5])


# ---- training --------------------------------------------------------------------------------


def trainer(augment, dtype="float32", hidden=9, python=False, threads=1, seed=3, batch=None):
    layers = [cmlp.Dense(augment.n_view, hidden, "tanh"), cmlp.Dense(hidden, 3)]
    if python:
        layers.insert(1, PassesOn())
    net = cmlp.Sequential(layers, dtype=dtype, seed=1)
    return cmlp.Trainer(
        net, "softmax_cross_entropy", cmlp.Adam(0.01), n_threads=threads, seed=seed, augment=augment
    )


class PassesOn:
    """A layer in Python: the training goes step by step."""

    def forward(self, x, training=False):
        return x

    def backward(self, dy):
        return dy


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_training_sees_the_views_of_its_steps(settings, dtype):
    """As if each minibatch were the views that `Augment.views` gives."""
    augment = Augment((8, 7), **settings)
    x, y = images(50, dtype=dtype), np.arange(50) % 3
    fitted, by_hand = trainer(augment, dtype), trainer(augment, dtype)
    fitted.fit(x, y, epochs=3, batch_size=16)
    by_hand.augment, step = None, 0
    for epoch in range(3):
        order = cmlp._core.permutation(50, 3, epoch)
        for start in range(0, 50, 16):
            rows, step = order[start : start + 16], step + 1
            by_hand.train_step(augment.views(x[rows], 3, step), y[rows])
    np.testing.assert_allclose(
        fitted.net.get_flat(),
        by_hand.net.get_flat(),
        rtol=0,
        atol=2e-6 if dtype == "float32" else 1e-12,
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_layers_in_python_and_single_steps_see_the_same(settings):
    augment = Augment((8, 7), **settings)
    x, y = images(48), np.arange(48) % 3
    found = []
    for python in (False, True):
        one = trainer(augment, "float64", python=python)
        one.fit(x, y, epochs=2, batch_size=16, shuffle=False)
        found.append(one.net.get_flat())
    one = trainer(augment, "float64")
    for i in (0, 16, 32, 0, 16, 32):
        one.train_step(x[i : i + 16], y[i : i + 16])
    found.append(one.net.get_flat())
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[2], found[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("hidden", [9, 300])
def test_the_same_bits_for_any_number_of_threads(hidden):
    """Also where the first layer is shared by columns, and all need the whole minibatch."""
    augment = Augment((24, 25), crop=(20, 22), **EVERYTHING)
    x, y, found = images(70, (24, 25)), np.arange(70) % 3, []
    with any_number_of_threads():
        for threads in (1, 2, 3, 8):
            one = trainer(augment, hidden=hidden, threads=threads)
            one.fit(x, y, epochs=2, batch_size=32)
            found.append(one.net.get_flat())
    for flat in found[1:]:
        assert np.array_equal(flat, found[0])


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize("step", [1, 4, 5, 10])
def test_going_on_from_any_step_has_the_bits_of_one_call(step, python, tmp_path):
    augment = Augment((8, 7), crop=(6, 5), **EVERYTHING)
    x, y, path = images(50), np.arange(50) % 3, tmp_path / "part.safetensors"
    others = []

    class Save(cmlp.Callback):
        every_steps = 1

        def on_steps(self, trainer):
            if trainer.step_count == step:
                others.append(copy.deepcopy(trainer))
                if not python:
                    others.append(pickle.loads(pickle.dumps(trainer)))
                    trainer.save_checkpoint(path)

    whole = trainer(augment, python=python)
    whole.fit(x, y, epochs=3, batch_size=16, callbacks=[Save()])
    assert whole.step_count == 12
    if not python:
        others.append(cmlp.Trainer.load_checkpoint(path))
    for other in others:
        assert (other.step_count, repr(other.augment)) == (step, repr(augment))
        other.fit(x, y, epochs=3, batch_size=16)
    if not python:
        others.append(trainer(augment))
        others[-1].fit(x, y, epochs=3, batch_size=16, resume=path)
        with pytest.raises(ValueError, match="resume is a checkpoint with the augment"):
            trainer(Augment((6, 5))).fit(images(50, (6, 5)), y, batch_size=16, resume=path)
    for other in others:
        assert np.array_equal(other.net.get_flat(), whole.net.get_flat())


def test_what_is_only_looked_at_is_the_middle():
    augment = Augment((8, 7), crop=(6, 5), rotate=20.0)
    x, y = images(50), np.arange(50) % 3
    one, seen = trainer(augment), []

    class Look(cmlp.Callback):
        def on_epoch_end(self, trainer, row):
            seen.append(trainer.first_samples(4)[0])
            trainer.gradient_norms()

    history = one.fit(x, y, epochs=2, validation=(x, y), callbacks=[Look()])
    assert np.array_equal(seen[0], augment.center(x[:4]))
    plain = cmlp.Trainer(one.net, "softmax_cross_entropy")
    expected = plain.evaluate(augment.center(x), y)
    assert one.evaluate(x, y) == expected
    assert history["validation_loss"][-1] == expected["loss"]
    held = trainer(augment).fit(x, y, epochs=1, validation=0.2)
    assert np.isfinite(held["validation_loss"]).all()


def test_averaged_crops():
    augment = Augment((8, 7), crop=(6, 5), **EVERYTHING)
    net, x = trainer(augment).net, images(30)
    one = augment.predict_proba(net, x, n_crops=1)
    assert np.array_equal(one, net.predict_proba(augment.center(x)))
    plain = Augment((8, 7), crop=(6, 5))
    each = [net.predict_proba(plain.views(x, 7, step)) for step in (1, 2, 3)]
    mean = augment.predict_proba(net, x.astype("float64"), n_crops=3, seed=7)
    assert mean.dtype == "float32"
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-6)


@pytest.mark.parametrize("flat", [False, True])
def test_nets_of_images(flat):
    """The same whether images come as arrays or as rows."""
    augment, x = Augment((2, 9, 8), crop=(6, 6), **EVERYTHING), images(40, (2, 9, 8))
    x = x if flat else x.reshape(-1, 2, 9, 8)
    net = cmlp.Sequential(
        cmlp.Conv2D(2, 3, 3, activation="relu"), cmlp.MaxPool2D(2), cmlp.Flatten(),
        cmlp.Dense(12, 3), n_in=(2, 6, 6), seed=0,
    )  # fmt: skip
    one = cmlp.Trainer(net, "softmax_cross_entropy", "adam", augment=augment)
    history = one.fit(x, np.arange(40) % 3, epochs=2, batch_size=16, validation=0.2)
    p = augment.predict_proba(net, x, n_crops=3)
    assert p.shape == (40, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)
    assert augment.predict_proba(net, x, n_crops=1).shape == (40, 3)
    rounded = [round(loss, 12) for loss in history["loss"]]
    assert rounded == LOSSES.setdefault("of images", rounded)


LOSSES: dict[str, list[float]] = {}


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((28,),), ValueError, r"image is \(28,\); expected \(height, width\) or"),
        (((0, 3),), ValueError, "image is 0"),
        (((1 << 16, 3),), ValueError, "image is"),
        (((8, 7), (9, 7)), ValueError, r"crop is \(9, 7\); expected \(8, 7\) at most"),
        (((8, 7), 5), ValueError, "crop is 5"),
        (((8, 7), None, 7), ValueError, "shift is 7; expected less"),
        (((8, 7), None, 1.5), TypeError, "shift is 1.5"),
        (((8, 7), None, 0, 181), ValueError, "rotate is 181"),
        (((8, 7), None, 0, 0, 3), ValueError, r"elastic is 3; expected \(alpha, sigma\)"),
        (((8, 7), None, 0, 0, (3, 0)), ValueError, "sigma of elastic is 0"),
        (((8, 7), None, 0, 0, (0, 3)), ValueError, "alpha of elastic is 0"),
        (((8, 7), None, 0, 0, None, np.nan), ValueError, "fill is nan"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(arguments, error, message):
    with pytest.raises(error, match=message):
        Augment(*arguments)


def test_what_does_not_go_together():
    augment, y = Augment((8, 7), crop=(6, 5)), np.arange(50) % 3
    one, x = trainer(augment), images(50)
    with pytest.raises(ValueError, match=r"x has shape \(50, 30\); expected \(batch, 1, 8, 7\) or"):
        one.fit(augment.center(x), y)
    with pytest.raises(ValueError, match=r"validation x has shape \(50, 30\)"):
        one.fit(x, y, validation=(augment.center(x), y))
    with pytest.raises(ValueError, match=r"views of 56 numbers, \(1, 8, 7\); expected 30"):
        one.augment = Augment((8, 7))
    with pytest.raises(ValueError, match="views of 30 numbers"):
        one.net = cmlp.Sequential(cmlp.Dense(3, 3), seed=0)
    with pytest.raises(TypeError, match="augment is 'crop'; expected an Augment"):
        one.augment = "crop"
    one.optimizer = cmlp.LBFGS()
    with pytest.raises(ValueError, match="expected None for LBFGS"):
        one.fit(x, y)
    scaled = cmlp.Trainer(one.net, "softmax_cross_entropy", augment=augment)
    one.net.preprocessing = cmlp.Preprocessing.fit(augment.center(x))
    with pytest.raises(ValueError, match="the net standardises its inputs"):
        scaled.fit(x, y)
