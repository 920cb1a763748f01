"""The estimators: weights, types, what goes beyond scikit-learn, bad input."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from estimator_parts import difference

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from threadpoolctl import threadpool_limits

import cmlp
from cmlp import MLPClassifier, MLPRegressor
from cmlp.estimators.training import SampleOrder, outputs_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("one_thread"),
]


def test_order_of_samples_is_kept_while_an_epoch_is_under_way():
    order = SampleOrder()
    order.begin(np.random.RandomState(0), 8)
    first = order.of_epochs(0, 3)
    again = order.of_epochs(1, 3)
    assert (again[:2] == first[1:]).all()
    assert sorted(again[2]) == list(range(8))


def test_weights_are_read_only_copies(points):
    net = MLPClassifier(4, max_iter=2).fit(*points)
    assert [w.shape for w in net.coefs_] == [(2, 4), (4, 3)]
    assert [b.shape for b in net.intercepts_] == [(4,), (3,)]
    with pytest.raises(ValueError, match="read-only"):
        net.coefs_[0][0, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        pickle.loads(pickle.dumps(net)).coefs_[0][0, 0] = 1.0


def test_weights_can_be_assigned(points):
    x, _ = points
    net = MLPClassifier(4, max_iter=2).fit(*points)
    other = MLPClassifier(4, max_iter=2).fit(*points)
    net.coefs_[0] = other.coefs_[0]
    net.coefs_[1] = other.coefs_[1]
    net.intercepts_ = other.intercepts_
    copy = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(net.predict_proba(x), other.predict_proba(x))
    np.testing.assert_array_equal(copy.predict_proba(x), other.predict_proba(x))
    net.coefs_ = [np.zeros((2, 5)), np.zeros((5, 3))]
    net.intercepts_ = [np.zeros(5), np.log([1.0, 2.0, 5.0])]
    np.testing.assert_allclose(net.predict_proba(x[:1]), [[0.125, 0.25, 0.625]])


def test_weights_that_do_not_fit_are_refused(points):
    net = MLPClassifier(4, max_iter=2).fit(*points)
    net.coefs_[1] = np.zeros((3, 3))
    with pytest.raises(ValueError, match=r"coefs_\[1\] has shape \(3, 3\)"):
        net.predict(points[0])
    with pytest.raises(AttributeError, match="not fitted"):
        MLPRegressor().coefs_  # noqa: B018


def test_float32_stays_float32_without_a_copy(points, rng):
    x, y = points[0].astype(np.float32), points[1]
    net = MLPClassifier(4, max_iter=2)
    assert np.shares_memory(net._checked(x, y, None, reset=True).x, x)
    net.fit(x, y)
    assert {a.dtype for a in (*net.coefs_, net.predict_proba(x))} == {np.dtype("float32")}
    assert MLPRegressor(hidden_layer_sizes=4, max_iter=2).fit(x, y).predict(x).dtype == np.float32
    assert MLPClassifier(4, max_iter=2, dtype="float32").fit(*points).coefs_[0].dtype == np.float32


def test_any_number_of_threads_gives_the_same_bits(rng):
    x, y = rng.normal(size=(600, 40)), rng.normal(size=600)
    with threadpool_limits(2):
        a, b = (
            MLPRegressor(hidden_layer_sizes=50, n_threads=n, max_iter=3, random_state=0).fit(x, y)
            for n in (1, 2)
        )
    assert difference(a, b) == 0.0


@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix"])
def test_sparse_gives_the_numbers_of_dense(rng, kind):
    from scipy import sparse

    x = rng.normal(size=(80, 6)) * (rng.random((80, 6)) < 0.3)
    y = rng.integers(0, 3, 80)
    settings = {"max_iter": 5, "random_state": 0, "batch_size": 16, "early_stopping": True}
    a = MLPClassifier(5, **settings).fit(x, y)
    b = MLPClassifier(5, **settings).fit(getattr(sparse, kind)(x), y)
    assert difference(a, b) < 1e-14
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-13)
    np.testing.assert_array_equal(a.validation_loss_curve_, b.validation_loss_curve_)
    np.testing.assert_allclose(b.predict_proba(sparse.csr_array(x)), b.predict_proba(x))


def test_sparse_outputs_come_in_blocks(monkeypatch):
    from scipy import sparse

    from cmlp.estimators import training

    monkeypatch.setattr(training, "_BLOCK", 8)
    x = sparse.csr_array(np.arange(20.0).reshape(5, 4))
    sizes = []

    def double(rows):
        sizes.append(len(rows))
        return 2 * rows

    np.testing.assert_array_equal(outputs_of(double, x), 2 * x.toarray())
    assert sizes == [2, 2, 1]


def test_dropout_is_for_training_alone(points):
    plain = MLPClassifier(20, max_iter=3, random_state=0).fit(*points)
    net = MLPClassifier((20, 10), dropout=[0.5, 0], max_iter=3, random_state=0).fit(*points)
    assert [type(la).__name__ for la in net.net_.layers] == ["Dense", "Dropout", "Dense", "Dense"]
    np.testing.assert_array_equal(net.predict_proba(points[0]), net.predict_proba(points[0]))
    dropped = MLPClassifier(20, dropout=0.5, max_iter=3, random_state=0).fit(*points)
    assert difference(plain, dropped) > 1e-4


def test_class_weight_is_a_weight_of_samples(points):
    x, y = points[0][:70], points[1][:70]  # 30, 30 and 10 of the classes
    settings = {"max_iter": 4, "random_state": 0, "batch_size": 20}
    by_class = MLPClassifier(5, class_weight={0: 1, 1: 2, 2: 5}, **settings).fit(x, y)
    by_sample = MLPClassifier(5, **settings).fit(x, y, sample_weight=np.array([1, 2, 5])[y])
    assert difference(by_class, by_sample) == 0.0
    some = MLPClassifier(5, class_weight={2: 5}, **settings | {"batch_size": 10})
    some.partial_fit(x[:10], y[:10], classes=[0, 1, 2])  # the class 2 is not among them
    some.set_params(batch_size=20).fit(x, y)
    assert difference(some, by_sample.fit(x, y, sample_weight=np.array([1, 1, 5])[y])) == 0.0
    balanced = MLPClassifier(5, class_weight="balanced", **settings).fit(x, y)
    weight = 70 / (3 * np.array([30, 30, 10]))[y]
    assert difference(balanced, MLPClassifier(5, **settings).fit(x, y, weight)) < 1e-14


def test_class_weight_of_several_labels_is_their_product(points):
    x, y = points
    indicators = np.column_stack([y > 0, y < 2])
    settings = {"max_iter": 4, "random_state": 0, "batch_size": 20}
    by_class = MLPClassifier(5, class_weight={0: 2, 1: 3}, **settings).fit(x, indicators)
    weight = np.array([3.0, 6.0, 2.0])[y]
    by_sample = MLPClassifier(5, **settings).fit(x, indicators, sample_weight=weight)
    assert difference(by_class, by_sample) == 0.0


def test_label_smoothing_moves_the_target(points):
    x, y = np.zeros((60, 1)), np.repeat([0, 1, 1], 20)
    for labels, expected in ((y, [0.35, 0.65]), (np.repeat([0, 1, 2], 20), [1 / 3] * 3)):
        net = MLPClassifier((), alpha=0, solver="lbfgs", label_smoothing=0.1, tol=1e-9)
        np.testing.assert_allclose(net.fit(x, labels).predict_proba(x[:1])[0], expected, atol=1e-4)
    assert MLPClassifier((), alpha=0, solver="lbfgs").fit(x, y).predict_proba(x)[0, 1] > 0.66


def test_each_layer_has_its_activation(points):
    net = MLPClassifier((4, 3), activation=["silu", "leaky_relu"], max_iter=2).fit(*points)
    assert [la.activation for la in net.net_.layers] == ["silu", "leaky_relu", "softmax"]


def test_own_validation_data_are_noted_and_stop(points):
    x, y = points
    net = MLPClassifier(8, max_iter=5, random_state=0).fit(x, y, X_val=x[::2], y_val=y[::2])
    assert net.best_validation_score_ == max(net.validation_scores_)
    score, loss = net.score(x[::2], y[::2]), -net.predict_log_proba(x)[np.arange(90), y][::2].mean()
    assert net.validation_scores_[-1] == score
    assert net.validation_loss_curve_[-1] == pytest.approx(loss)
    stopped = MLPClassifier(8, max_iter=300, early_stopping=True, tol=2.0, random_state=0)
    stopped.fit(x, y, X_val=x, y_val=y)
    assert stopped.n_iter_ == 12 and stopped.t_ == 12 * 90


@pytest.mark.parametrize("loss", ["absolute_error", "huber", cmlp.Huber(0.5)])
def test_further_losses_are_minimised(numbers, loss):
    x, y = numbers
    net = MLPRegressor(loss, 20, learning_rate_init=0.01, max_iter=60, random_state=0).fit(x, y)
    assert net.loss_curve_[-1] < 0.3 * net.loss_curve_[0]
    d = abs(net.predict(x) - y)
    if loss == "absolute_error":
        assert d.mean() < 0.4


class Quartic:
    """A loss of a user's own: the mean of the fourth powers."""

    def forward(self, y, t, sample_weight=None):
        self.d = y - t
        return float((self.d**4).sum(axis=1).mean())

    def backward(self):
        return 4 * self.d**3 / len(self.d)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_loss_of_ones_own(numbers, solver):
    x, y = numbers
    net = MLPRegressor(Quartic(), 10, solver=solver, max_iter=40, random_state=0).fit(x, y)
    first = MLPRegressor(Quartic(), 10, solver="adam", max_iter=1, random_state=0).fit(x, y)
    assert ((net.predict(x) - y) ** 4).mean() < 0.9 * ((first.predict(x) - y) ** 4).mean()
    with pytest.raises(ValueError, match="loss of cmlp"):
        MLPRegressor(Quartic()).learn_one(x[0], 0.0)


@pytest.mark.parametrize(
    "solver",
    ["adamw", "rmsprop", "adagrad", cmlp.Adadelta(eps=1e-4), cmlp.RMSprop(lr=0.01, momentum=0.9)],
    ids=str,
)
def test_further_solvers_learn(points, solver):
    net = MLPClassifier(20, solver=solver, learning_rate_init=0.05, max_iter=30, random_state=0)
    assert net.fit(*points).score(*points) > 0.95


def test_schedule_gives_the_rate_of_each_step(points):
    x, y = points
    settings = {"solver": "sgd", "max_iter": 4, "batch_size": 30, "random_state": 0}
    halved = MLPClassifier(6, schedule=lambda t: 0.1 if t < 6 else 0.0, **settings).fit(x, y)
    short = MLPClassifier(6, learning_rate_init=0.1, momentum=0.0, **settings | {"max_iter": 2})
    still = clone(halved).set_params(momentum=0.0).fit(x, y)
    assert difference(still, short.fit(x, y)) == 0.0
    assert halved.loss_curve_[0] != halved.loss_curve_[-1]


def test_clipping_bounds_the_step(points):
    x, y = points
    settings = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 1.0, "max_iter": 1}
    settings |= {"random_state": 0, "alpha": 0.0, "batch_size": 90}
    start = MLPClassifier(6, **settings | {"learning_rate_init": 1e-300}).fit(x, y)
    by_norm = MLPClassifier(6, clip_norm=1e-3, **settings).fit(x, y)
    moved = np.sqrt(
        sum(
            ((p - q) ** 2).sum()
            for p, q in zip(
                by_norm.coefs_ + by_norm.intercepts_, start.coefs_ + start.intercepts_, strict=True
            )
        )
    )
    assert moved == pytest.approx(1e-3)
    by_value = MLPClassifier(6, clip_value=1e-4, **settings).fit(x, y)
    assert difference(by_value, start) == pytest.approx(1e-4)


def test_weight_init_and_restarts(points):
    x, y = points
    settings = {"max_iter": 5, "random_state": 3, "weight_init": cmlp.Normal(0.5)}
    one = MLPClassifier(4, **settings).fit(x, y)
    best = MLPClassifier(4, n_restarts=4, **settings).fit(x, y)
    assert best.loss_ <= one.loss_
    assert len(best.loss_curve_) == 5
    assert best.score(x, y) == (best.predict(x) == y).mean()
    np.testing.assert_allclose(best.net_.predict(x), best.predict_proba(x))
    shared = MLPRegressor(
        hidden_layer_sizes=2, n_restarts=3, max_iter=3, early_stopping=True, random_state=0
    )
    assert shared.fit(x, y).best_validation_score_ == max(shared.validation_scores_)


def test_restore_best_puts_the_best_epoch_back(points):
    x, y = points
    settings = {"solver": "sgd", "learning_rate_init": 1.0, "random_state": 0, "batch_size": 9}
    net = MLPClassifier(6, max_iter=20, restore_best=True, **settings).fit(x, y)
    best = int(np.argmin(net.loss_curve_)) + 1
    assert best < 20
    assert difference(net, MLPClassifier(6, max_iter=best, **settings).fit(x, y)) == 0.0


class Recorder(cmlp.Callback):
    def __init__(self, stop_after=None):
        self.stop_after, self.rows = stop_after, []

    def on_epoch_end(self, trainer, row):
        self.rows.append(row)
        return len(self.rows) == self.stop_after


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_our_callbacks_see_epochs_and_stop(points, solver):
    seen = Recorder(stop_after=3)
    net = MLPClassifier(4, solver=solver, callbacks=[seen], max_iter=50).fit(*points)
    assert net.n_iter_ == len(seen.rows) == 3
    assert [row["epoch"] for row in seen.rows] == [1, 2, 3]
    if solver == "adam":
        assert [row["loss"] for row in seen.rows] == net.loss_curve_


def test_checkpoints_of_an_estimator(points, tmp_path):
    saver = cmlp.ModelCheckpoint(tmp_path / "net.safetensors")
    net = MLPClassifier(4, callbacks=[saver], max_iter=2).fit(*points)
    saved = cmlp.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(saved.predict(points[0]), net.predict_proba(points[0]))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scikit_learns_callbacks_follow_the_fit(points, solver):
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9")
    x, y = points
    monitor = callback.ScoringMonitor(scoring="accuracy")
    net = MLPClassifier(6, solver=solver, max_iter=4, random_state=0).set_callbacks(monitor)
    net.fit(x, y)
    scores = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(scores) == 4
    assert scores[-1] == net.score(x, y)


class Stopper:
    """A callback of scikit-learn's protocol that stops after two epochs."""

    def __init__(self):
        self.begun, self.ended, self.losses = 0, 0, []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun += 1

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.ended += 1
        return self.ended == 2


def test_scikit_learns_callbacks_can_stop(points):
    pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9")
    stopper = Stopper()
    net = MLPRegressor(hidden_layer_sizes=4).set_callbacks(stopper).fit(*points)
    assert net.n_iter_ == 2
    assert stopper.begun == stopper.ended == 3  # two epochs and the whole


def test_progress_shows_a_line(points, capsys):
    MLPClassifier(4, max_iter=3, progress=True).fit(*points)
    assert "epoch 3/3" in capsys.readouterr().err


def test_verbose_prints_losses(points, capsys):
    net = MLPClassifier(4, max_iter=2, verbose=True, early_stopping=True).fit(*points)
    out = capsys.readouterr().out
    assert f"Iteration 2, loss = {net.loss_:.8f}" in out
    assert "Validation score: " in out
    MLPRegressor(hidden_layer_sizes=4, solver="lbfgs", max_iter=2, verbose=True).fit(*points)
    assert "Iteration 1, loss = " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": ["relu"]}, "activation has 1 entries"),
        ({"activation": ["relu", "step"]}, "activation is 'step'"),
        ({"dropout": [0.1]}, "dropout has 1 entries"),
        ({"dropout": [0.1, 1.0]}, "dropout is 1.0"),
        ({"dropout": 0.1, "solver": "lbfgs"}, "dropout is 0.1"),
        ({"solver": "newton"}, "'solver' parameter"),
        ({"clip_norm": 0.0}, "'clip_norm' parameter"),
        ({"n_threads": 0}, "'n_threads' parameter"),
        ({"dtype": "float16"}, "'dtype' parameter"),
        (
            {"hidden_layer_sizes": (3, -1)},
            r"hidden_layer_sizes\[1\] is -1; expected an integer >= 1",
        ),
        ({"hidden_layer_sizes": [(4,), (3,)]}, r"hidden_layer_sizes\[0\] is \(4,\); expected"),
        ({"hidden_layer_sizes": [4, 3.5]}, r"hidden_layer_sizes\[1\] is 3.5; expected"),
        ({"hidden_layer_sizes": ["4", "3"]}, r"hidden_layer_sizes\[0\] is '4'; expected"),
        ({"hidden_layer_sizes": np.ones((2, 2), int)}, r"hidden_layer_sizes has shape \(2, 2\)"),
        ({"activation": [("relu",), "tanh"]}, r"activation is \('relu',\)"),
        ({"dropout": [(0.1,), 0.1]}, r"dropout is \(0.1,\)"),
        ({"callbacks": [object()]}, "callbacks"),
        ({"class_weight": {5: 1.0}}, "class_weight has the label 5"),
        ({"class_weight": {1: -1.0}}, r"class_weight\[1\] is -1.0"),
    ],
)
def test_parameters_that_make_no_sense(points, settings, message):
    settings = {"hidden_layer_sizes": (4, 3)} | settings
    with pytest.raises((ValueError, TypeError), match=message):
        MLPClassifier(**settings).fit(*points)


def test_data_that_make_no_sense(points):
    x, y = points
    net = MLPClassifier(4, max_iter=2).fit(x, y)
    bad = x.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        net.predict(bad)
    with pytest.raises(ValueError, match="NaN"):
        net.partial_fit(bad, y)
    with pytest.raises(ValueError, match="classes not in"):
        net.partial_fit(x, y + 1)
    with pytest.raises(ValueError, match="classes not in"):
        net.partial_fit(x, np.array(["a"] * 90))
    with pytest.raises(ValueError, match="2 features"):
        net.predict(x[:, :1])
    with pytest.raises(ValueError, match="Negative"):
        net.fit(x, y, sample_weight=-np.ones(90))
    with pytest.raises(ValueError, match="go together"):
        net.fit(x, y, X_val=x)
    with pytest.raises(ValueError, match="X_val and y_val: .*classes"):
        net.fit(x, y, X_val=x, y_val=y + 5)
    with pytest.raises(ValueError, match="counts >= 0"):
        MLPRegressor("poisson").fit(x, -y)
    with pytest.raises(ValueError, match="solver is 'lbfgs'"):
        MLPRegressor(solver="lbfgs").fit(x, y, X_val=x, y_val=y)
    with pytest.raises(ValueError, match="y_val has shape"):
        MLPRegressor().fit(x, y, X_val=x, y_val=x)
    with pytest.raises(ValueError, match="needs all the data"):
        MLPClassifier(class_weight="balanced").partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="ask for 2 inputs and 2 outputs"):
        MLPRegressor(hidden_layer_sizes=3).partial_fit(x, y).partial_fit(x, x)
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(x)


def test_divergence_is_a_value_error_and_keeps_good_weights(points):
    net = MLPRegressor(
        hidden_layer_sizes=4,
        solver="sgd",
        learning_rate_init=1e3,
        activation="identity",
        max_iter=99,
    )
    with pytest.raises(cmlp.DivergenceError, match="non-finite") as caught:
        net.fit(points[0], 100.0 * points[1])
    assert isinstance(caught.value, ValueError)
    assert all(np.isfinite(w).all() for w in net.coefs_)
    with pytest.raises(ValueError, match="non-finite"):
        clone(net).set_params(n_restarts=2).fit(points[0], 100.0 * points[1])


def test_ctrl_c_leaves_a_usable_net(points):
    class Interrupt(cmlp.Callback):
        def on_epoch_end(self, trainer, row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    net = MLPClassifier(4, callbacks=[Interrupt()])
    with pytest.warns(UserWarning, match="interrupted"):
        net.fit(*points)
    assert net.predict(points[0]).shape == (90,)


def test_warnings(points):
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        MLPClassifier(4, max_iter=2).fit(*points)
    with pytest.warns(UserWarning, match="batch_size is 91"):
        MLPClassifier(4, max_iter=2, batch_size=91).fit(*points)
    with pytest.warns(ConvergenceWarning, match="lbfgs"):
        MLPClassifier(4, solver="lbfgs", max_iter=2).fit(*points)
