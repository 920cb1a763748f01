"""Estimators on data frames with columns of any kind: ``preprocess``."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn.callback")
pytest.importorskip("pyarrow")
pytest.importorskip("pandas")
import pandas
import pyarrow as pa
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score

import cmlp
from cmlp import MLPClassifier, MLPRegressor, TablePreprocessor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
N = 120
RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame(
    {
        "size": RNG.normal(100, 30, N),
        "city": RNG.choice(["Bonn", "Köln", "Ulm"], N),
        "sold": pandas.date_range("2024-01-01", periods=N),
        "garden": RNG.random(N) < 0.5,
    }
)
PRICE = 3e5 + 2000 * FRAME["size"].to_numpy() + 1e5 * (FRAME["city"] == "Ulm").to_numpy()
FRAME.loc[::9, "size"] = np.nan
LABELS = np.where(np.median(PRICE) < PRICE, "dear", "cheap")
KINDS = {MLPClassifier: LABELS, MLPRegressor: PRICE}


def make(kind, **settings):
    given = {"hidden_layer_sizes": 16, "max_iter": 60, "random_state": 0, "preprocess": "auto"}
    given |= {"learning_rate_init": 0.02, "batch_size": 32}
    return kind(**given | settings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_frame_with_mixed_columns(kind, tmp_path):
    y = KINDS[kind]
    net = make(kind).fit(FRAME, y)
    assert net.score(FRAME, y) > 0.8
    assert net.n_features_in_ == 4
    assert net.feature_names_in_.tolist() == list(FRAME)
    wanted = net.predict(FRAME)
    for same in (pa.Table.from_pandas(FRAME), FRAME[FRAME.columns[::-1]]):
        np.testing.assert_array_equal(net.predict(same), wanted)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net)).predict(FRAME), wanted)
    net.net_.save(tmp_path / "net")
    again = cmlp.load(tmp_path / "net")
    np.testing.assert_array_equal(again.predict(FRAME), net.net_.predict(FRAME))
    if kind is MLPRegressor:  # in the units of the data, from standardised targets
        np.testing.assert_allclose(again.predict(FRAME)[:, 0], wanted)
    assert net.predict(FRAME.assign(city="Rome", size=None)).shape == (N,)
    with pytest.raises(ValueError, match="lacks the columns 'city'"):
        net.predict(FRAME.drop(columns="city"))
    with pytest.raises(ValueError, match="the net takes tables"):
        net.to_c(tmp_path / "m.c")


@pytest.mark.parametrize("kind", KINDS)
def test_without_it_nothing_changes(kind):
    y = KINDS[kind]
    with pytest.raises((ValueError, TypeError)):
        make(kind, preprocess=None).fit(FRAME, y)
    x = RNG.normal(size=(N, 3))
    one = make(kind, preprocess=None, max_iter=5).fit(x, y)
    assert not hasattr(one, "preprocessor_")


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_part_that_is_trained_on_is_learnt_from(kind):
    y = KINDS[kind]
    net = make(kind, early_stopping=True, validation_fraction=0.2, max_iter=3).fit(FRAME, y)
    assert net.validation_scores_ is not None
    rows, held_out = net._rows_apart(N, y, True)
    assert sorted([*rows, *held_out]) == list(range(N))
    expected = TablePreprocessor().fit(FRAME.iloc[rows]).encoder_.to_dict()
    assert net.preprocessor_.encoder_.to_dict() == expected
    other = FRAME.copy()
    other.loc[held_out, "city"] = "Atlantis"
    other.loc[held_out, "size"] = 1e9
    again = make(kind, early_stopping=True, validation_fraction=0.2, max_iter=3).fit(other, y)
    assert again.preprocessor_.encoder_.to_dict() == expected
    other.loc[rows[0], "city"] = "Atlantis"  # and the test can fail
    third = make(kind, early_stopping=True, validation_fraction=0.2, max_iter=3).fit(other, y)
    assert third.preprocessor_.encoder_.to_dict() != expected


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_keeps_what_was_learnt(kind):
    y = KINDS[kind]
    net = make(kind, warm_start=True, max_iter=2).fit(FRAME, y)
    before, encoder = net.score(FRAME, y), net.preprocessor_.encoder_
    net.set_params(max_iter=60).fit(FRAME, y)
    assert net.score(FRAME, y) > before
    assert net.preprocessor_.encoder_ is encoder
    assert net.net_.preprocessing.table is encoder
    net.set_params(preprocess=None)
    with pytest.raises(ValueError, match="preprocess is None; expected what the net was made by"):
        net.fit(FRAME, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_a_warning_points_at_the_call(solver):
    x = RNG.normal(size=(N, 3))
    with pytest.warns(ConvergenceWarning) as caught:
        make(MLPRegressor, preprocess=None, solver=solver, max_iter=2).fit(x, x[:, 0] ** 2)
    assert [w.filename for w in caught] == [__file__]


def test_validation_data_and_weights():
    net = make(MLPClassifier, early_stopping=True, max_iter=5)
    weight = np.where(LABELS == "dear", 2.0, 1.0)
    net.fit(FRAME, LABELS, weight, X_val=FRAME[:30], y_val=LABELS[:30])
    assert len(net.validation_scores_) == net.n_iter_
    with pytest.raises(ValueError, match="y is None; expected labels or numbers"):
        net.fit(FRAME)
    with pytest.raises(ValueError, match="X_val and y_val go together"):
        net.fit(FRAME, LABELS, X_val=FRAME[:30])
    with pytest.raises(ValueError, match="X has 120 rows; expected 3, as y has"):
        net.fit(FRAME, LABELS[:3])


def test_a_preprocessor_of_ones_own():
    given = TablePreprocessor({"sold": "ignore"}, numbers="quantile")
    net = make(MLPRegressor, preprocess=given, max_iter=5).fit(FRAME, PRICE)
    assert net.preprocessor_ is not given
    assert net.preprocessor_.encoder_.names == ("size", "city", "garden")
    assert clone(net).preprocess.get_params() == given.get_params()
    for wrong in ("robust", 3, FRAME):
        with pytest.raises(ValueError, match="'preprocess' parameter of MLPRegressor must be"):
            make(MLPRegressor, preprocess=wrong).fit(FRAME, PRICE)


def test_cross_validation_and_several_targets():
    assert cross_val_score(make(MLPClassifier, max_iter=20), FRAME, LABELS, cv=3).mean() > 0.7
    y = np.column_stack([PRICE, -PRICE / 1e3])
    net = make(MLPRegressor, max_iter=5).fit(FRAME, y)
    assert net.predict(FRAME).shape == (N, 2)
    counts = make(MLPRegressor, loss="poisson", max_iter=5).fit(FRAME, np.arange(N) % 4)
    assert counts.net_.preprocessing.targets is None
    assert (counts.predict(FRAME) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_sees_rows_one_by_one_is_refused(kind):
    known = {"classes": ["cheap", "dear"]} if kind is MLPClassifier else {}
    with pytest.raises(ValueError, match="partial_fit needs preprocess=None"):
        make(kind).partial_fit(FRAME, KINDS[kind], **known)
    with pytest.raises(ValueError, match="learn_one needs preprocess=None"):
        make(kind).fit(FRAME, KINDS[kind]).learn_one(FRAME.iloc[0], KINDS[kind][0])
