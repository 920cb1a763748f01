"""scikit-learn's own tests of its perceptrons, run on ours, and its checks of every estimator.

The tests are read from the installed scikit-learn; only the import is changed.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

import cmlp

# These look at attributes with an underscore in front.
PRIVATE = {
    "test_gradient": "_loss_grad_lbfgs",
    "test_learning_rate_warmstart": "_optimizer",
    "test_adaptive_learning_rate": "_optimizer",
}
IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor"

pytestmark = pytest.mark.filterwarnings("ignore")


def theirs() -> dict[str, object]:
    """The tests in scikit-learn's module, with our classes in the place of theirs."""
    package = find_spec("sklearn.neural_network").submodule_search_locations[0]
    path = Path(package, "tests", "test_mlp.py")
    source = path.read_text(encoding="utf-8")
    assert source.count(IMPORT) == 1
    for name, attribute in PRIVATE.items():
        assert f"def {name}(" in source and attribute in source
    names: dict[str, object] = {"__name__": __name__}
    ours = source.replace(IMPORT, "from cmlp import MLPClassifier, MLPRegressor")
    exec(compile(ours, path, "exec"), names)
    return {k: v for k, v in names.items() if k.startswith("test_") and k not in PRIVATE}


globals().update(theirs())


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The problems are small, and the machine may be busy."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def global_random_seed() -> int:
    return 42


CHECKS = parametrize_with_checks([cmlp.MLPClassifier(), cmlp.MLPRegressor()]).mark
NAMES, CASES = CHECKS.args  # a generator in older versions, which pytest wants no more


@pytest.mark.parametrize(NAMES, list(CASES), **CHECKS.kwargs)
def test_estimator_checks(estimator: object, check: object) -> None:
    check(estimator)
