"""Pictures of nets of images."""

import numpy as np
import pytest

import cmlp

plt = pytest.importorskip("matplotlib.pyplot")
plt.switch_backend("Agg")
from cmlp import plots  # noqa: E402


@pytest.fixture
def net():
    yield cmlp.Sequential(
        cmlp.Conv2D(2, 3, 3, activation="relu"), cmlp.MaxPool2D(2), cmlp.Conv2D(3, 20, 2),
        cmlp.Flatten(), cmlp.Dense(80, 4), n_in=(2, 8, 8), seed=0,
    )  # fmt: skip
    plt.close("all")


def tiles(ax):
    """The pictures on axes, from left to right and down, column by column."""
    found = sorted(
        ax.images, key=lambda picture: (picture.get_extent()[3], picture.get_extent()[0])
    )
    return [np.asarray(picture.get_array()) for picture in found]


@pytest.mark.parametrize(("layer", "place"), [(0, 0), (1, 2)])
def test_filters_are_the_weights(net, layer, place):
    ax = plots.filters(net, layer)
    w = net.layers[place].weight
    windows = [w[o, q] for q in range(w.shape[1]) for o in range(w.shape[0])]
    assert np.array_equal(tiles(ax), windows)
    for bad in (-1, 2):
        with pytest.raises(ValueError, match=f"layer is {bad}; expected one of the net's 2"):
            plots.filters(net, bad)


def test_feature_maps_are_what_the_layers_give(net):
    image = np.random.default_rng(0).normal(size=(2, 8, 8)).astype("float32")
    shown = tiles(plots.feature_maps(net, image))
    part = cmlp.Sequential(net.layers[:3], n_in=(2, 8, 8))
    behind = part.predict(image[None])[0]
    assert [tile.shape for tile in shown] == [(8, 8)] * 2 + [(6, 6)] * 3 + [(3, 3)] * 3 + [
        (2, 2)
    ] * 16
    assert np.array_equal(shown[:2], image)
    assert np.array_equal(shown[-16:], behind[:16])
    with pytest.raises(ValueError, match=r"image has shape \(8, 8\); expected that of the net"):
        plots.feature_maps(net, image[0])


def test_misclassified_images_stand_by_certainty():
    y, p = np.array([0, 1, 1, 0, 1]), np.array([0.9, 0.3, 0.8, 0.4, 0.1])  # P(0)
    images = np.arange(5 * 12.0).reshape(5, 1, 3, 4)
    ax = plots.misclassified(images, y, np.stack([p, 1 - p], axis=1))
    assert np.array_equal(tiles(ax), images[[2, 3], 0])
    assert [text.get_text() for text in ax.texts] == ["1 → 0\n0.20 → 0.80", "0 → 1\n0.40 → 0.60"]
    assert ax.get_title().startswith("2 of 5")
    assert len(plots.misclassified(images, y, np.stack([p, 1 - p], axis=1), n=1).images) == 1
    none = plots.misclassified(images, y, np.eye(2)[y])
    assert not none.images
    with pytest.raises(ValueError, match="5 labels and 4 rows"):
        plots.misclassified(images, y, np.eye(2)[y[:4]])
    plt.close("all")
