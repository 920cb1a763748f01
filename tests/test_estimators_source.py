"""Estimators take a source in place of X and y."""

import numpy as np
import pytest

import cmlp
from cmlp.data import Source

pytest.importorskip("sklearn")

N = 400
RNG = np.random.default_rng(31)
X = RNG.normal(size=(N, 4))
NAMES = np.array(["a", "b", "c"])[RNG.integers(3, size=N)]
NUMBERS = X @ RNG.normal(size=(4, 2))
COUNTS = RNG.poisson(2.0, size=N)
WEIGHTS = RNG.uniform(0.5, 2.0, size=N)
SETTINGS = {"hidden_layer_sizes": (6,), "max_iter": 4, "random_state": 0, "tol": 0.0}

pytestmark = pytest.mark.filterwarnings("ignore:max_iter")


def classifier(**options):
    return cmlp.MLPClassifier(**{**SETTINGS, "shuffle": False, **options})


def regressor(**options):
    return cmlp.MLPRegressor(**{**SETTINGS, "shuffle": False, **options})


def chunks(*arrays):
    return lambda: (tuple(a[i : i + 70] for a in arrays) for i in range(0, N, 70))


def check_same(one, other):
    """What two estimators have learnt, but for the start, which sources draw later."""
    assert one.loss_curve_ == other.loss_curve_
    assert all(np.array_equal(a, b) for a, b in zip(one.coefs_, other.coefs_, strict=True))
    assert one.n_features_in_ == other.n_features_in_ == 4
    assert one.n_iter_ == other.n_iter_


@pytest.mark.parametrize(
    ("make", "y", "options"),
    [
        (classifier, NAMES, {}),
        (classifier, NAMES, {"class_weight": "balanced", "alpha": 0.1}),
        (classifier, NAMES == "a", {"solver": "sgd"}),
        (regressor, NUMBERS, {"batch_size": 7}),
        (regressor, COUNTS, {"loss": "poisson", "alpha": 0.5}),
    ],
)
@pytest.mark.parametrize("kind", ["chunks", "mapped", "weights"])
def test_learn_what_they_learn_from_arrays(make, y, options, kind):
    source = {
        "chunks": lambda: Source.from_chunks(chunks(X, y), window=90),
        "mapped": lambda: Source.from_arrays(X, np.asarray(y)),
        "weights": lambda: Source.from_chunks(chunks(X, y, WEIGHTS), window=90),
    }[kind]()
    weight = WEIGHTS if kind == "weights" else None
    found = make(**options).fit(source)
    check_same(found, make(**options).fit(X, y, weight))
    assert found.predict(X).shape[0] == N
    if make is classifier:
        assert found.classes_.tolist() == np.unique(y).tolist()


def test_shuffle_by_the_source_and_random_state():
    source = Source.from_chunks(chunks(X, NAMES), window=90)
    first, same = (classifier(shuffle=True).fit(source) for _ in range(2))
    check_same(first, same)
    other = classifier(shuffle=True, random_state=1).fit(source)
    assert first.loss_curve_ != other.loss_curve_
    in_order = classifier().fit(source)
    assert first.loss_curve_ != in_order.loss_curve_
    assert all(np.isfinite(first.loss_curve_)) and len(first.loss_curve_) == 4


def test_know_names_and_validation_data():
    pyarrow = pytest.importorskip("pyarrow")
    columns = {f"x{i}": X[:, i] for i in range(4)}
    table = pyarrow.table({**columns, "y": NAMES})
    source = Source.from_frame(table, "y", window=90)
    held_out = pytest.importorskip("pandas").DataFrame(columns)[:50]
    found = classifier(early_stopping=True).fit(source, X_val=held_out, y_val=NAMES[:50])
    assert found.feature_names_in_.tolist() == ["x0", "x1", "x2", "x3"]
    assert len(found.validation_scores_) == found.n_iter_
    warm = classifier(warm_start=True).fit(source).fit(source)
    assert warm.t_ == 8 * N
    renamed = Source.from_frame(table.rename_columns([*"abcd", "y"]), "y")
    with pytest.raises(ValueError, match="the source has the columns"):
        warm.fit(renamed)


def test_own_losses_and_dropout():
    class Loss:
        def forward(self, y, t, w=None):
            self.d = y - t
            return float((self.d**2).sum() / len(y) / 2)

        def backward(self):
            return self.d / len(self.d)

    source = Source.from_chunks(chunks(X, NUMBERS), window=90)
    check_same(regressor(loss=Loss()).fit(source), regressor(loss=Loss()).fit(X, NUMBERS))
    assert regressor(dropout=0.2).fit(source).n_iter_ == 4


def test_what_is_refused():
    source = Source.from_chunks(chunks(X, NAMES), window=90)
    for options, match in (
        ({"solver": "lbfgs"}, "solver is 'lbfgs'; expected a stochastic one"),
        ({"early_stopping": True}, "early_stopping needs X_val and y_val"),
        ({"preprocess": "auto"}, "X is a source; expected a table in memory, for preprocess"),
    ):
        with pytest.raises(ValueError, match=match):
            classifier(**options).fit(source)
    with pytest.raises(TypeError, match="expected neither with a source"):
        classifier().fit(source, NAMES)
    with pytest.raises(TypeError, match="X is a source; expected arrays in partial_fit"):
        regressor().partial_fit(source, None)
    bad = NUMBERS.copy()
    bad[300] = np.nan
    with pytest.raises(ValueError, match="the source's y holds nan"):
        regressor().fit(Source.from_chunks(chunks(X, bad)))
    with pytest.raises(ValueError, match="the target y is None"):
        classifier().fit(X)
