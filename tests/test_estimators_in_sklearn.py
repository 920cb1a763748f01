"""The estimators among scikit-learn's tools: pipelines, searches, workers, data frames."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from estimator_parts import difference

pytest.importorskip("sklearn")
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import cmlp
from cmlp import MLPClassifier
from cmlp.estimators.threads import allowed_threads

VERSION = tuple(int(part) for part in sklearn.__version__.split(".")[:2])

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("one_thread"),
]


def test_pickles_and_clones_go_on(points):
    x, y = points
    net = MLPClassifier(6, random_state=0, batch_size=30, dropout=0.2)
    for _ in range(3):
        net.partial_fit(x, y, classes=[0, 1, 2])
    copy = pickle.loads(pickle.dumps(net))
    for a in (net, copy):
        a.partial_fit(x, y)
    assert difference(net, copy) == 0.0
    assert clone(net).get_params() == net.get_params()
    assert not hasattr(clone(net), "net_")


def test_pipelines_searches_and_ensembles(points):
    x, y = points
    net = MLPClassifier(8, max_iter=15, learning_rate_init=0.05, random_state=0)
    pipeline = make_pipeline(StandardScaler(), net)
    assert cross_val_score(pipeline, x, y, cv=3).mean() > 0.9
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e-2]}, cv=2).fit(x, y)
    assert search.score(x, y) > 0.9
    calibrated = CalibratedClassifierCV(net, cv=2).fit(x, y)
    assert calibrated.predict_proba(x).shape == (90, 3)
    voting = VotingClassifier([("a", net), ("b", clone(net))], voting="soft").fit(x, y)
    assert voting.score(x, y) > 0.9


@pytest.mark.parametrize("backend", ["threading", "loky", "multiprocessing"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_grid_search_in_workers(points, backend):
    import joblib

    x, y = np.tile(points[0], (4, 1)), np.tile(points[1], 4)
    with threadpool_limits(2):
        MLPClassifier(64, max_iter=1, n_threads=2).fit(x, y)  # threads are there before a fork
    net = MLPClassifier(64, max_iter=3, random_state=0)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        search = GridSearchCV(net, {"alpha": [1e-4, 1.0]}, cv=2).fit(x, y)
    alone = GridSearchCV(net, {"alpha": [1e-4, 1.0]}, cv=2).fit(x, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )


def test_workers_do_not_multiply_threads(monkeypatch):
    from joblib import Parallel, delayed

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert allowed_threads(None) is None
    assert allowed_threads(3) == 3
    work = (delayed(allowed_threads)(None) for _ in range(2))
    assert Parallel(n_jobs=2, backend="threading")(work) == [1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    work = (delayed(allowed_threads)(None) for _ in range(2))
    assert Parallel(n_jobs=2, backend="threading")(work) == [None, None]
    with threadpool_limits(1):
        assert cmlp._core.default_threads() == 1


def test_data_frames_and_their_names(points):
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    x, y = points
    names = {"left": x[:, 0], "right": x[:, 1]}
    net = MLPClassifier(4, max_iter=2, random_state=0, early_stopping=True)
    a = clone(net).fit(pandas.DataFrame(names), pandas.Series(y))
    b = clone(net).fit(polars.DataFrame(names), y)
    assert list(a.feature_names_in_) == ["left", "right"]
    if VERSION >= (1, 7):  # which knows the names of polars' columns
        assert list(b.feature_names_in_) == ["left", "right"]
    assert difference(a, b) == difference(a, clone(net).fit(x, y)) == 0.0
    with pytest.warns(UserWarning, match="valid feature names"):
        a.predict(x)


def test_sample_weight_is_routed(points):
    x, y = points
    weight = np.linspace(0.1, 1.0, 90)
    with sklearn.config_context(enable_metadata_routing=True):
        net = MLPClassifier(4, max_iter=2, random_state=0).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = make_pipeline(scaler, net).fit(x, y, sample_weight=weight)
    alone = clone(net).fit(StandardScaler().fit_transform(x), y, sample_weight=weight)
    assert difference(routed[-1], alone) == 0.0


def test_decision_boundary(points):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from sklearn.inspection import DecisionBoundaryDisplay

    x, y = points
    net = MLPClassifier(4, max_iter=2).fit(x, y if VERSION >= (1, 7) else y > 0)
    shown = DecisionBoundaryDisplay.from_estimator(net, x, response_method="predict_proba")
    assert shown.response.shape[:2] == (100, 100)


def test_multilabel_targets():
    x, y = make_multilabel_classification(60, n_classes=4, random_state=0)
    net = MLPClassifier(20, max_iter=100, learning_rate_init=0.05, random_state=0).fit(x, y)
    assert net.predict(x).shape == (60, 4)
    assert net.score(x, y) > 0.9
    assert (net.predict_log_proba(x) <= 0).all()


def test_probabilities_of_zero_have_finite_logarithms():
    x, y = np.array([[-1e4], [1e4]]), np.array([0, 1])
    net = MLPClassifier(2, solver="lbfgs", alpha=0, max_iter=5).fit(x / 1e4, y)
    net.coefs_ = [1e3 * w for w in net.coefs_]
    assert np.isfinite(net.predict_log_proba(x)).all()


def test_without_scikit_learn_the_error_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import cmlp; cmlp.MLPClassifier"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "ImportError: cmlp.estimators needs scikit-learn" in run.stderr
    assert "pip install cmlp[sklearn]" in run.stderr
