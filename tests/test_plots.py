"""Pictures: what is drawn, on whose axes, with which labels."""

from __future__ import annotations

import sys

import matplotlib
import numpy as np
import pytest

import cmlp
from cmlp import plots

matplotlib.use("Agg")
from matplotlib import pyplot


@pytest.fixture
def ax():
    """Axes of the caller's own."""
    figure, ax = pyplot.subplots()
    yield ax
    pyplot.close(figure)


def trained(points, n_out=3, **fit):
    x, labels = points
    net = cmlp.Sequential(
        cmlp.Dense(2, 8, activation="tanh"), cmlp.Dropout(0.1), cmlp.Dense(8, n_out), seed=0
    )
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.Adam(lr=0.05))
    history = trainer.fit(x, labels, epochs=20, batch_size=16, **fit)
    return net, history


def line_net(link=None):
    """A net with the output x1."""
    net = cmlp.Sequential(cmlp.Dense(2, 1), seed=0)
    net.layers[0].weight = np.array([[1.0, 0.0]])
    net.link = link
    return net


def assert_labelled(ax, name=""):
    """A title and names of both axes; rows of pictures need none for the vertical one."""
    assert ax.get_title()
    assert ax.get_xlabel()
    assert ax.get_ylabel() or name in ("feature_maps", "misclassified")


# ---- axes ------------------------------------------------------------------------------------


def everything(points):
    """A call of every function, with the axes left open."""
    net, history = trained(points)
    x, labels = points
    monitor = cmlp.GradientMonitor()
    trained(points, callbacks=[monitor])
    images = cmlp.Sequential(
        cmlp.Conv2D(1, 2, 3), cmlp.Flatten(), cmlp.Dense(32, 2), n_in=(1, 6, 6), seed=0
    )
    image = np.linspace(0.0, 1.0, 36).reshape(1, 6, 6)
    return {
        "loss_curves": lambda **kw: plots.loss_curves(history, **kw),
        "gradient_flow": lambda **kw: plots.gradient_flow(monitor, **kw),
        "confusion_matrix": lambda **kw: plots.confusion_matrix(labels, labels, **kw),
        "predicted_values": lambda **kw: plots.predicted_values([1.0, 2], [1.0, 3], **kw),
        "decision_regions": lambda **kw: plots.decision_regions(
            net, x, labels, resolution=20, **kw
        ),
        "filters": lambda **kw: plots.filters(images, **kw),
        "feature_maps": lambda **kw: plots.feature_maps(images, image, **kw),
        "misclassified": lambda **kw: plots.misclassified(
            [image], [1], images.predict_proba([image]), **kw
        ),
        "hidden_units": lambda **kw: plots.hidden_units(net, **kw),
        "parallel_coordinates": lambda **kw: plots.parallel_coordinates(
            {"lr": [0.1, 0.2, 0.1], "kind": ["a", "b", "a"], "loss": [1.0, 0.5, np.inf]}, **kw
        ),
    }


@pytest.mark.parametrize("name", sorted(set(plots.__all__) - {"SQUARE"}))
def test_draws_on_the_axes_it_is_given(points, name, ax):
    figures = pyplot.get_fignums()
    assert everything(points)[name](ax=ax) is ax
    assert_labelled(ax, name)
    assert pyplot.get_fignums() == figures


@pytest.mark.parametrize("name", sorted(set(plots.__all__) - {"SQUARE"}))
def test_makes_axes_of_its_own(points, name):
    pyplot.close("all")
    ax = everything(points)[name]()
    assert len(pyplot.get_fignums()) == 1
    assert_labelled(ax, name)
    pyplot.close("all")


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install cmlp\[plots\]"):
        plots.loss_curves({"loss": [1.0]})


# ---- training --------------------------------------------------------------------------------


def test_loss_curves_are_the_columns_of_the_history(points, ax):
    _, history = trained(points, validation=points)
    plots.loss_curves(history, ax=ax)
    training, validation = ax.lines
    np.testing.assert_array_equal(training.get_xdata(), range(1, 21))
    np.testing.assert_array_equal(training.get_ydata(), history["loss"])
    np.testing.assert_array_equal(validation.get_ydata(), history["validation_loss"])
    assert ax.get_yscale() == "log"


def test_losses_below_zero_have_a_linear_scale(ax):
    plots.loss_curves({"loss": [1.0, -1.0]}, ax=ax)
    assert ax.get_yscale() == "linear"


def test_a_history_draws_itself(points, ax):
    assert trained(points)[1].plot(ax=ax) is ax


@pytest.mark.parametrize("losses", [[], [0.5], [0.5, float("nan")]])
def test_short_and_broken_histories(losses, ax):
    plots.loss_curves({"loss": losses}, ax=ax)
    ax.figure.canvas.draw()


def test_loss_curves_need_a_loss():
    with pytest.raises(ValueError, match="history has columns"):
        plots.loss_curves({"lr": [0.1]})


def test_gradient_flow_has_a_line_for_each_layer(points, ax):
    monitor = cmlp.GradientMonitor()
    trained(points, callbacks=[monitor])
    plots.gradient_flow(monitor, ax=ax)
    assert [line.get_label() for line in ax.lines] == monitor.layers
    for line, norms in zip(ax.lines, monitor.delta_norms.T, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), norms)
    plots.gradient_flow(monitor, of="weight", ax=ax)
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), monitor.weight_norms[:, -1])


def test_gradient_flow_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="recorded nothing"):
        plots.gradient_flow(cmlp.GradientMonitor())
    with pytest.raises(ValueError, match="of is 'bias'"):
        plots.gradient_flow(cmlp.GradientMonitor(), of="bias")


# ---- predictions -----------------------------------------------------------------------------


def test_confusion_matrix_counts(ax):
    true, guess = ["a", "a", "a", "b", "c"], ["a", "a", "b", "b", "b"]
    plots.confusion_matrix(true, guess, ax=ax)
    cells = {tuple(map(round, text.get_position()[::-1])): text.get_text() for text in ax.texts}
    assert cells == {(0, 0): "2", (0, 1): "1", (1, 1): "1", (2, 1): "1"}
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 1 / 3, 0], [0, 1, 0], [0, 1, 0]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]


def test_confusion_matrix_in_an_order_of_the_callers(ax):
    plots.confusion_matrix([1, 2], [1, 2], classes=[3, 2, 1], ax=ax)
    np.testing.assert_array_equal(ax.images[0].get_array(), np.diag([0, 1, 1]))


def test_confusion_matrix_refuses_what_it_cannot_count():
    with pytest.raises(ValueError, match="predicted holds"):
        plots.confusion_matrix([0, 1], [0, 2], classes=[0, 1])
    with pytest.raises(ValueError, match="shapes"):
        plots.confusion_matrix([0, 1], [0])


def test_predicted_values(ax):
    plots.predicted_values([[1.0, 2], [3, 4]], [[1.5, 2], [3, 5]], ax=ax)
    line, first, second = ax.lines
    assert list(line.get_xdata()) == list(line.get_ydata()) == [1, 5]
    np.testing.assert_array_equal(first.get_xydata(), [[1, 1.5], [3, 3]])
    np.testing.assert_array_equal(second.get_xydata(), [[2, 2], [4, 5]])
    with pytest.raises(ValueError, match="shapes"):
        plots.predicted_values([1.0], [[1.0, 2.0]])


# ---- the plane -------------------------------------------------------------------------------


def test_regions_of_two_classes_meet_where_the_net_is_undecided(ax):
    x = np.array([[-1.0, 0.0], [1.0, 0.0], [2.0, 1.0]])
    plots.decision_regions(line_net("sigmoid"), x, [0, 1, 1], extent=(-3, 3, -2, 2), ax=ax)
    assert ax.images[0].get_extent() == [-3, 3, -2, 2]
    ground = ax.images[0].get_array()
    left, right = ground[100, 10], ground[100, -10]
    assert left[2] > left[0]  # blue
    assert right[0] > right[2]  # orange
    boundary = np.vstack([path.vertices for path in ax.collections[0].get_paths()])
    np.testing.assert_allclose(boundary[:, 0], 0, atol=1e-6)
    assert [len(points.get_offsets()) for points in ax.collections[1:]] == [1, 2]


def test_regions_of_labels_in_text(points, ax):
    x, labels = points
    names = np.array(["ash", "oak", "yew"])[labels]
    net, _ = trained((x, names))
    plots.decision_regions(net, x, names, ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ash", "oak", "yew"]


def test_values_of_a_regression_and_features(ax):
    x = np.array([[-2.0, 0.0], [2.0, 1.0]])
    net = line_net()
    plots.decision_regions(
        net, x, [[4.0], [4.0]], features=["x1^2", "x2"], extent=plots.SQUARE, ax=ax
    )
    ground = ax.images[0].get_array()
    np.testing.assert_allclose(ground[0], np.linspace(-6, 6, 200) ** 2, rtol=1e-5, atol=1e-5)
    shift = cmlp.datasets.Standardizer(np.array([1.0, 0.0]), np.array([2.0, 1.0]))
    plots.decision_regions(net, x, [0.0, 0.0], features=shift.transform, extent=plots.SQUARE, ax=ax)
    np.testing.assert_allclose(
        ax.images[-1].get_array()[0], (np.linspace(-6, 6, 200) - 1) / 2, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros((3, 3)), [0, 1, 0], {}, "x has shape"),
        (np.zeros((3, 2)), [0, 1], {}, "y has shape"),
        (np.zeros((3, 2)), [0, 1, 2], {}, r"expected one of \[0, 1\]"),
        (np.zeros((3, 2)), [0, 1, 1], {"extent": (0, 0, 1, 1)}, "extent is"),
        (np.zeros((3, 2)), [0, 1, 1], {"features": ["x3"]}, "x3"),
    ],
)
def test_regions_refuse_what_they_cannot_draw(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        plots.decision_regions(line_net("sigmoid"), x, y, **options)


def test_hidden_units_over_the_plane(ax):
    net = cmlp.Sequential(
        cmlp.Dense(2, 2), cmlp.ReLU(), cmlp.Dropout(0.5), cmlp.Dense(2, 1), seed=0
    )
    net.layers[0].weight = np.array([[1.0, 0.0], [0.0, 1.0]])
    before = net.get_flat()
    plots.hidden_units(net, ax=ax)
    picture = np.asarray(ax.images[0].get_array().filled(np.nan))
    first, second = picture[:, :60], picture[:, -60:]
    assert np.isnan(picture[:, 60:-60]).all()  # the gap
    ramp = np.maximum(np.linspace(-6, 6, 60), 0) / 6  # the activation is drawn, not its input
    np.testing.assert_allclose(first, np.tile(ramp, (60, 1)), atol=1e-6)
    np.testing.assert_allclose(second, np.tile(ramp[::-1, np.newaxis], (1, 60)), atol=1e-6)
    np.testing.assert_array_equal(net.get_flat(), before)


def test_hidden_units_of_images_are_their_weights(ax):
    net = cmlp.Sequential(cmlp.Dense(6, 3, activation="relu"), cmlp.Dense(3, 2), seed=0)
    net.metadata["image_shape"] = [2, 3]
    plots.hidden_units(net, n_columns=3, ax=ax)
    picture = ax.images[0].get_array()
    w = net.layers[0].weight
    assert picture.shape == (2, 3 * 3 + 2)
    for unit in range(3):
        np.testing.assert_allclose(picture[:, 4 * unit : 4 * unit + 3], w[unit].reshape(2, 3))
    assert ax.images[0].get_clim() == pytest.approx((-abs(w).max(), abs(w).max()))
    plots.hidden_units(net, image_shape=(3, 2), n_units=2, ax=ax)
    assert "2 of 3 units" in ax.get_title()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 1}, "layer is 1"),
        ({"image_shape": (2, 2)}, "image_shape is"),
        ({}, "6 inputs"),
    ],
)
def test_hidden_units_refuse_what_they_cannot_draw(options, message):
    net = cmlp.Sequential(cmlp.Dense(6, 3, activation="relu"), cmlp.Dense(3, 2), seed=0)
    with pytest.raises(ValueError, match=message):
        plots.hidden_units(net, **options)


def test_only_the_first_layer_has_images():
    net = cmlp.Sequential(cmlp.Dense(6, 3), cmlp.Dense(3, 2), cmlp.Dense(2, 1), seed=0)
    with pytest.raises(ValueError, match="layer is 1"):
        plots.hidden_units(net, layer=1, image_shape=(2, 3))


def test_long_names_of_classes_are_slanted(ax):
    plots.confusion_matrix(["short", "long"], ["short", "long"], ax=ax)
    assert ax.get_xticklabels()[0].get_rotation() == 45


def test_a_net_without_hidden_layer_has_no_hidden_units():
    with pytest.raises(ValueError, match="no hidden layer"):
        plots.hidden_units(line_net())
