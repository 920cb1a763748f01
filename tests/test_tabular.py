"""`TablePreprocessor`: columns of any kind, what is learnt of them, and nets that keep it."""

from __future__ import annotations

import copy
import datetime
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("pandas")
import pandas
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import cmlp
from cmlp import TablePreprocessor
from cmlp.encoding import NUMBERS, TableEncoder
from cmlp.errors import FormatError

N = 40


def homes(n: int = N) -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "size": rng.normal(100, 30, n).round(1),
            "city": rng.choice(["Bonn", "Köln", "Ulm"], n),
            "sold": pandas.Timestamp("2024-01-01")
            + pandas.to_timedelta(rng.integers(0, 700, n), "D"),
            "garden": rng.random(n) < 0.5,
            "name": [f"home {i}" for i in range(n)],
            "land": ["DE"] * n,
        }
    )
    frame.loc[::7, "size"] = np.nan
    frame.loc[::11, "city"] = None
    return frame


def test_kinds_are_found_and_what_is_left_out_is_reported() -> None:
    p = TablePreprocessor().fit(homes())
    cities, garden = (p.encoder_.encoders[name].values for name in ("city", "garden"))
    assert sorted(cities) == ["Bonn", "Köln", "Ulm"]
    assert p.get_feature_names_out().tolist() == [
        "size", "size missing", *(f"city = {city}" for city in cities), "city missing",
        "sold trend", "sold month sine", "sold month cosine", "sold weekday sine",
        "sold weekday cosine", *(f"garden = {value}" for value in garden),
    ]  # fmt: skip
    assert p.encoder_.names == ("size", "city", "sold", "garden")
    assert p.n_features_in_ == 6
    assert [report.partition(",")[0] for report in p.reports_] == [
        "column 'name' has 40 different texts in 40 rows",
        "column 'land' has one value",
    ]


def test_kinds_can_be_given() -> None:
    frame = pandas.DataFrame(
        {"zip": [1, 2, 1, 3] * 5, "a": np.arange(20) / 7, "b": ["x", "y"] * 10}
    )
    p = TablePreprocessor(kinds={"zip": "category", "b": "ignore"}).fit(frame)
    assert p.get_feature_names_out().tolist() == ["zip = 1", "zip = 2", "zip = 3", "a"]
    for kinds, error in (
        ({"zip": "colour"}, "kinds\\['zip'\\] is 'colour'"),
        ({"c": "number"}, "no column 'c'"),
        ({"b": "number"}, "column 'b': 'x' is not a number"),
        ({"b": "time"}, "column 'b' is no column of times"),
        (dict.fromkeys(frame, "ignore"), "no column is left"),
    ):
        with pytest.raises(ValueError, match=error):
            TablePreprocessor(kinds).fit(frame)
    with pytest.raises(ValueError, match="numbers is 'log'"):
        TablePreprocessor(numbers="log").fit(frame)


def test_numbers_against_numpy() -> None:
    x = np.random.default_rng(1).normal(size=500) ** 3
    frame = pandas.DataFrame({"x": x})
    z = {name: TablePreprocessor(numbers=name).fit_transform(frame)[:, 0] for name in NUMBERS}
    low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
    robust = (x - middle) / (high - low)
    np.testing.assert_allclose(z["robust"], robust / np.sqrt(1 + (robust / 3) ** 2))
    np.testing.assert_allclose(z["standard"], (x - x.mean()) / x.std())
    np.testing.assert_array_equal(z["none"], x)
    assert abs(z["quantile"].mean()) < 0.02
    assert abs(z["quantile"].std() - 1) < 0.03
    assert (np.diff(z["quantile"][np.argsort(x)]) >= 0).all()


def test_missing_and_unknown_have_a_place_of_their_own() -> None:
    train = pandas.DataFrame(
        {"a": [1.0, None, 3.0, 5.0], "c": ["u", "v", None, "u"], "d": list("xyxy")}
    )
    p = TablePreprocessor(max_categories=1).fit(train)
    names = p.get_feature_names_out().tolist()
    assert names == ["a", "a missing", "c = u", "c other", "c missing", "d = x", "d other"]
    new = pandas.DataFrame({"d": ["new", None], "c": ["new", None], "a": [None, 3.0]})
    assert p.transform(new).tolist() == [[0, 1, 0, 1, 0, 0, 1], [0, 0, 0, 0, 1, 0, 0]]
    # A place that no training row uses would keep its random weights: then all are zero.
    p = TablePreprocessor().fit(train.assign(a=[1.0, 2.0, 3.0, 5.0], c=list("uvuv")))
    new = pandas.DataFrame({"a": [None], "c": ["new"], "d": ["x"]})
    assert p.transform(new).tolist() == [[0, 0, 0, 1, 0]]


def test_times_are_a_trend_and_a_calendar() -> None:
    hours = pandas.Timestamp("2024-01-01") + pandas.to_timedelta(np.arange(96), "h")
    frame = pandas.DataFrame({"t": hours})
    p = TablePreprocessor().fit(frame)
    assert p.encoder_.encoders["t"].parts == ("weekday", "hour")
    z = p.transform(frame)
    assert np.abs(z).max() <= 1.0
    np.testing.assert_allclose(z[:24, 3:], z[24:48, 3:], atol=1e-12)
    late = p.transform(pandas.DataFrame({"t": [pandas.Timestamp("2300-01-01"), pandas.NaT]}))
    assert np.abs(late).max() <= 3.0
    assert not late[1].any()
    for text in (hours.strftime("%Y-%m-%d %H:%M:%S"), hours.strftime("%Y/%m/%dT%H:%M")):
        np.testing.assert_array_equal(p.transform(pandas.DataFrame({"t": text.astype(str)})), z)
    with pytest.raises(ValueError, match=r"column 't' is of type 'duration"):
        TablePreprocessor().fit(pandas.DataFrame({"t": hours - hours[0]}))
    with pytest.raises(ValueError, match="is no column of times"):
        p.transform(pandas.DataFrame({"t": ["2024-02-30"]}))


@pytest.mark.parametrize("cells", [[1.5], [True], [2], ["x"], ["12"]])
def test_what_is_no_time_is_refused(cells: list) -> None:
    p = TablePreprocessor().fit(pandas.DataFrame({"t": pandas.date_range("2024-01-01", periods=9)}))
    with pytest.raises(
        FormatError, match="column 't' is (of numbers|of truth values|no column of times)"
    ):
        p.transform(pandas.DataFrame({"t": cells}))
    for none in ([None], [float("nan")], [pandas.NaT]):
        assert not p.transform(pandas.DataFrame({"t": none})).any()


def test_a_number_among_many_that_is_none_is_refused() -> None:
    frame = pandas.DataFrame({"a": ["1", "2", "oops", "4"], "b": [1.0, 2, 3, 5]})
    with pytest.raises(ValueError, match="row 3, column 'a': 'oops' is not a number, as other"):
        TablePreprocessor().fit(frame)
    assert TablePreprocessor({"a": "category"}).fit(frame).encoder_.names == ("a", "b")


def test_columns_are_found_by_name() -> None:
    frame = homes()
    p = TablePreprocessor().fit(frame)
    z = p.transform(frame)
    shuffled = frame[frame.columns[::-1]].assign(more=1)
    np.testing.assert_array_equal(p.transform(shuffled), z)
    np.testing.assert_array_equal(p.transform(pa.Table.from_pandas(frame)), z)
    with pytest.raises(ValueError, match="x lacks the columns 'city', 'sold'; it has 'size'"):
        p.encoder_.transform(frame[["size", "garden"]])
    for wrong in (None, 3, "x"):
        with pytest.raises(TypeError, match="X is no table"):
            p.transform(wrong)


def test_arrays_have_columns_in_order() -> None:
    x = np.array([[1.0, "u"], [None, "v"], [3.0, "u"]], dtype=object)
    p = TablePreprocessor().fit(x)
    assert p.get_feature_names_out().tolist() == ["0", "0 missing", "1 = u", "1 = v"]
    assert p.transform(x[1:2]).tolist() == [[0, 1, 0, 1]]
    with pytest.raises(ValueError, match="X has 1 columns; expected 2"):
        p.transform(x[:, :1])


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("least", [5e-324, 1e-310, 2.7e-234, 1e-100])
@pytest.mark.parametrize("far", [1.0, -1e12, 1e308])
def test_spreads_next_to_nothing(numbers: str, least: float, far: float) -> None:
    p = TablePreprocessor(numbers=numbers).fit(pa.table({"a": [0.0, 0.0, 0.0, 0.0, least]}))
    z = p.transform(pa.table({"a": [0.0, least, far]}))
    assert np.isfinite(z).all()
    q = TablePreprocessor(numbers=numbers).fit(pa.table({"a": [0.0, 0.0, 0.0, 1.0, least]}))
    z = q.transform(pa.table({"a": [0.0, least, 1.0, far]}))
    assert np.isfinite(z).all()


# ---- any table --------------------------------------------------------------------------------

VALUES = {
    "number": st.floats(-1e12, 1e12),
    "whole": st.integers(-(2**62), 2**62),
    "truth": st.booleans(),
    "time": st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)),
    "text": st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=5),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    n = draw(st.integers(1, 12))
    columns = {}
    for i, kind in enumerate(draw(st.lists(st.sampled_from([*VALUES]), min_size=1, max_size=5))):
        cells = st.none() | VALUES[kind]
        columns[f"{kind} {i} ä"] = draw(st.lists(cells, min_size=n, max_size=n))
    return pa.table(columns)


@given(tables(), tables(), st.sampled_from(NUMBERS))
@settings(max_examples=150, deadline=None)
def test_any_table(table: pa.Table, other: pa.Table, numbers: str) -> None:
    p = TablePreprocessor(numbers=numbers)
    try:
        z = p.fit_transform(table)
    except ValueError as error:
        assert "no column is left" in str(error) or "as other cells are" in str(error)
        return
    assert z.shape == (len(table), len(p.get_feature_names_out()))
    assert len(set(p.get_feature_names_out())) == z.shape[1]
    assert np.isfinite(z).all()
    text = json.dumps(p.encoder_.to_dict(), allow_nan=False)
    np.testing.assert_array_equal(TableEncoder.from_dict(json.loads(text)).transform(table), z)
    empty = table.slice(0, 0)
    assert p.transform(empty).shape == (0, z.shape[1])
    try:
        assert np.isfinite(p.transform(other)).all()
    except ValueError as error:
        assert "\n" not in str(error)


# ---- nets ---------------------------------------------------------------------------------------


def trained(
    targets: bool = False, dtype: str = "float32"
) -> tuple[cmlp.Sequential, pandas.DataFrame]:
    frame = homes()
    p = TablePreprocessor().fit(frame)
    net = cmlp.Sequential(cmlp.Dense(len(p.encoder_.input_names), 6, "tanh"), cmlp.Dense(6, 1),
                          dtype=dtype, seed=0)  # fmt: skip
    y = 1e5 + 1e3 * np.arange(N)
    scale = cmlp.preprocessing.Standardizer.fit(y[:, None]) if targets else None
    net.preprocessing = cmlp.Preprocessing(p.encoder_, scale)
    cmlp.Trainer(net, cmlp.SquaredError(), cmlp.Adam(0.01)).fit(
        frame, y if targets else y / 1e5, epochs=5
    )
    return net, frame


@pytest.mark.parametrize("targets", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_net_takes_tables_and_its_file_keeps_it(
    tmp_path: Path, targets: bool, dtype: str
) -> None:
    net, frame = trained(targets, dtype)
    assert net.preprocessing.feature_names == ("size", "city", "sold", "garden")
    y = net.predict(frame)
    assert y.shape == (N, 1)
    net.save(tmp_path / "net")
    for again in (cmlp.load(tmp_path / "net"), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(again.predict(frame), y)
        assert again.preprocessing.scales_as(net.preprocessing)
    np.testing.assert_array_equal(net.forward(frame), y)
    assert net.predict(frame[:0]).shape == (0, 1)
    assert net.backward(np.ones_like(y)).shape == (N, net.n_in)
    with pytest.raises(ValueError, match="lacks the columns"):
        net.predict(frame[["size"]])


def test_training_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    net, frame = trained()
    y = np.arange(N) / N
    trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.Adam(0.01))
    trainer.fit(frame, y, epochs=2)
    trainer.save_checkpoint(tmp_path / "c")
    trainer.fit(frame, y, epochs=4)
    again = cmlp.Trainer.load_checkpoint(tmp_path / "c")
    again.fit(frame, y, epochs=4)
    np.testing.assert_array_equal(again.net.get_flat(), net.get_flat())


def test_what_an_export_cannot_express_is_refused(tmp_path: Path) -> None:
    net, _ = trained()
    for write in (
        lambda: net.to_c(tmp_path / "m.c"),
        lambda: net.to_onnx(tmp_path / "m.onnx"),
        lambda: cmlp.to_sklearn(net),
    ):
        with pytest.raises((ValueError, ImportError), match=r"the net takes tables|pip install"):
            write()
    assert not list(tmp_path.iterdir())


def test_a_preprocessing_that_does_not_fit_is_refused() -> None:
    encoder = TablePreprocessor().fit(homes()).encoder_
    net = cmlp.Sequential(cmlp.Dense(3, 1), seed=0)
    with pytest.raises(ValueError, match=r"preprocessing has \d+ inputs; expected 3"):
        net.preprocessing = cmlp.Preprocessing(encoder)
    with pytest.raises(ValueError, match="expected those of inputs"):
        cmlp.Preprocessing(encoder, feature_names=("a",))
    with pytest.raises(TypeError, match="expected a Standardizer or TableEncoder or None"):
        cmlp.Preprocessing(TablePreprocessor())


def broken() -> dict[str, object]:
    """What may stand in a file in place of what was written."""
    good = TablePreprocessor(numbers="quantile").fit(homes()).encoder_.to_dict()
    found: dict[str, object] = {"nothing": None, "a list": [], "no columns": {"named": True}}
    for i, column in enumerate(good["columns"]):
        for key in column:
            for value in (None, -1, "x", [[1]], float("nan"), {"a": 1}):
                if (key, value) in (("center", -1), ("name", "x")) or (
                    key == "method" and value == "x"
                ):
                    continue
                bad = copy.deepcopy(good)
                bad["columns"][i][key] = value
                found[f"{column['name']}: {key} {value}"] = bad
        bad = copy.deepcopy(good)
        del bad["columns"][i]["kind"]
        found[f"{i} without a kind"] = bad
    twice = copy.deepcopy(good)
    twice["columns"] *= 2
    return {**found, "twice": twice, "named": {**good, "named": 1}}


BROKEN = broken()


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(name: str) -> None:
    with pytest.raises(FormatError, match="the columns of a preprocessing are broken") as caught:
        TableEncoder.from_dict(BROKEN[name])
    assert "\n" not in str(caught.value)


# ---- scikit-learn's contract --------------------------------------------------------------------


def test_it_is_a_transformer_of_scikit_learn() -> None:
    base = pytest.importorskip("sklearn.base")
    pipeline = pytest.importorskip("sklearn.pipeline")
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    p = TablePreprocessor({"land": "ignore"}, numbers="quantile", max_categories=3)
    again = base.clone(p)
    assert again is not p
    assert again.get_params() == p.get_params()
    assert "numbers='quantile'" in repr(p)
    with pytest.raises(ValueError, match="'n' is no parameter"):
        p.set_params(n=3)
    frame, y = homes(), np.arange(N)
    made = pipeline.make_pipeline(TablePreprocessor(), Ridge()).fit(frame, y)
    assert made.predict(frame).shape == (N,)
    search = GridSearchCV(made, {"tablepreprocessor__numbers": ["robust", "standard"]}, cv=2)
    assert search.fit(frame, y).best_params_["tablepreprocessor__numbers"] in NUMBERS
