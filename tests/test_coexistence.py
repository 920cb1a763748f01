"""Beside NumPy, scikit-learn and PyTorch in one process: their settings stay, and all can train."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import itertools
import json
import os
import platform
import random
import signal
import subprocess
import sys
import textwrap
import threading
import warnings

import numpy as np
import pytest

import cmlp

HAS_TORCH = importlib.util.find_spec("torch") is not None


# ---- what could be changed ----


def control_bits():
    """Bits of MXCSR that say how to round, to flush and to trap; None on another processor."""
    if platform.machine() not in ("x86_64", "AMD64") or not sys.platform.startswith("linux"):
        return None
    environment = (ctypes.c_uint32 * 8)()  # fenv_t: the x87 unit's, and MXCSR at its end
    assert ctypes.CDLL(ctypes.util.find_library("m")).fegetenv(environment) == 0
    return environment[7] & ~0x3F  # not the flags of what has happened


def arithmetic():
    """How NumPy rounds, and whether it knows denormals, in both precisions."""
    found = []
    for kind in (np.float32, np.float64):
        one, small = np.ones(3, kind), np.full(3, np.finfo(kind).eps / 8, kind)
        tiny = np.full(3, np.finfo(kind).tiny, kind)
        found += [one + small, one - small, -one - small, tiny / 2, (tiny / 2) * 2]
    return [a.tobytes() for a in found]


def thread_counts():
    """Of every BLAS and OpenMP in the process, and what the libraries say themselves."""
    found = {}
    if importlib.util.find_spec("threadpoolctl"):
        from threadpoolctl import threadpool_info

        found = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
    if "sklearn" in sys.modules:
        from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

        found["sklearn"] = _openmp_effective_n_threads()
    if "torch" in sys.modules:
        import torch

        found["torch"] = (torch.get_num_threads(), torch.get_num_interop_threads())
        found["torch denormals"] = (torch.full((3,), 1e-38) / 16).numpy().tobytes()
    return found


def settings():
    """Everything outside cmlp that a call could have changed."""
    return {
        "errors": np.geterr(),
        "control bits": control_bits(),
        "arithmetic": arithmetic(),
        "threads": thread_counts(),
        "random": (np.random.get_state()[1].tobytes(), random.getstate()),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGFPE)],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "warnings": list(warnings.filters),
        "threads of Python": threading.active_count(),
    }


def test_a_change_would_be_seen():
    before = settings()
    assert arithmetic()[3] != np.zeros(3, np.float32).tobytes()
    with np.errstate(all="raise"):
        assert settings()["errors"] != before["errors"]
    if before["control bits"] is not None:
        libm = ctypes.CDLL(ctypes.util.find_library("m"))
        upward = 0x800  # FE_UPWARD
        assert libm.fesetround(upward) == 0
        try:
            after = settings()
        finally:
            libm.fesetround(0)
        assert after["control bits"] != before["control bits"]
        assert after["arithmetic"] != before["arithmetic"]
    assert settings() == before


# ---- calls that must not ----


def data(n=600):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 100), dtype=np.float32), rng.integers(0, 10, n)


def trainer(**options):
    net = cmlp.Sequential(
        cmlp.Dense(100, 200, activation="tanh"), cmlp.Dropout(0.1), cmlp.Dense(200, 10), seed=0
    )
    return cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.1, momentum=0.9), **options)


def fit(folder):
    """Whole epochs, single steps, scores; on as many threads as there are."""
    t, (x, y) = trainer(), data()
    t.fit(x, y, epochs=2, batch_size=256, validation=(x, y))
    t.train_step(x, y)
    t.evaluate(x, y)
    t.net.predict_proba(x)


def passes(folder):
    """Forward and backward, kernels, denormal numbers in and out."""
    net, (x, _) = trainer().net, data()
    y = net.forward(x * np.float32(1e-40))
    net.backward(y * np.float32(1e-38))
    cmlp.Adam().step(net)
    cmlp.kernels.dense_forward(x, net.layers[0].weight, activation="gelu")
    cmlp.kernels.softmax(np.full((3, 4), 1e-40, np.float32))


def files(folder):
    """A model and a checkpoint, saved and loaded."""
    t, (x, y) = trainer(), data()
    t.fit(x, y, epochs=1)
    t.save_checkpoint(folder / "c")
    t.net.save(folder / "m")
    cmlp.Trainer.load_checkpoint(folder / "c").fit(x, y, epochs=1)
    cmlp.load(folder / "m").predict(x)


def several_runs(folder):
    """Trainings on threads of Python."""
    cmlp.best_of(lambda seed: trainer(seed=seed), data(), n_runs=2, epochs=1)


def python_parts(folder):
    """A layer and a loss written in Python."""

    class Half:
        def forward(self, x, training=False):
            return x / 2

        def backward(self, dy):
            return dy / 2

        def n_out(self, n_in):
            return n_in

    x, y = data()
    net = cmlp.Sequential(cmlp.Dense(100, 10), Half(), seed=0)
    cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy()).fit(x, y, epochs=1)


def estimators(folder):
    pytest.importorskip("sklearn")
    x, y = data()
    cmlp.MLPClassifier(20, max_iter=2, random_state=0).fit(x, y).score(x, y)
    cmlp.MLPRegressor(hidden_layer_sizes=20, max_iter=2, random_state=0, solver="lbfgs").fit(
        x, y
    ).predict(x)


def refusals(folder):
    """Calls that end with an error."""
    t, (x, y) = trainer(), data()
    for call in (
        lambda: t.fit(x[:, :3], y),
        lambda: t.fit(x, y + 100),
        lambda: t.net.predict(x[:, :3]),
        lambda: cmlp.kernels.dense_forward(x, np.ones((2, 3), np.float32)),
        lambda: cmlp.load(__file__),
    ):
        with pytest.raises((ValueError, TypeError, cmlp.FormatError)):
            call()


def divergence(folder):
    x, _ = data()
    net = cmlp.Sequential(cmlp.Dense(100, 1), seed=0)
    with pytest.raises(cmlp.DivergenceError):
        cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(1e6)).fit(x, x[:, :1], epochs=50)


def ctrl_c(folder):
    class Stop(cmlp.Callback):
        def on_epoch_end(self, trainer, row):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer().fit(*data(), callbacks=[Stop()])


CALLS = [
    fit, passes, files, several_runs, python_parts, estimators, refusals, divergence, ctrl_c,
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def libraries():
    """All there are of them, imported before anything is compared."""
    for name in ("sklearn.neural_network", "torch"):
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
@pytest.mark.filterwarnings("ignore:.*not converged")
def test_settings_stay(call, tmp_path):
    call(tmp_path)  # imports what it needs
    before = settings()
    call(tmp_path)
    assert settings() == before


@pytest.mark.parametrize("call", [fit, passes, divergence], ids=lambda call: call.__name__)
def test_settings_stay_in_another_thread(call, tmp_path):
    found = []

    def work():
        before = settings()
        call(tmp_path)
        found.append((before, settings()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    [(before, after)] = found
    assert after == before


def test_a_mode_of_the_caller_stays():
    """Who flushes denormals, or rounds another way, goes on doing so."""
    if control_bits() is None:
        pytest.skip("needs MXCSR")
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    changed = (ctypes.c_uint32 * 8)()
    libm.fegetenv(changed)
    kept = (ctypes.c_uint32 * 8)(*changed)
    changed[7] |= 0x8040 | 0x4000  # flush, and round upwards
    t, (x, y) = trainer(), data()
    t.fit(x, y, epochs=1, batch_size=256)
    libm.fesetenv(changed)
    try:
        before = control_bits()
        t.fit(x, y, epochs=1, batch_size=256)
        t.net.predict(x)
        after = control_bits()
    finally:
        libm.fesetenv(kept)
    assert after == before != control_bits()


# ---- imported in any order ----


def orders(*names):
    return list(itertools.permutations(names))


PROGRAM = """
    import hashlib, json, os, sys
    import importlib

    modules = {"cmlp": "cmlp", "sklearn": "sklearn.ensemble", "torch": "torch"}
    order = sys.argv[1:]
    for name in order:
        importlib.import_module(modules[name])
    import numpy as np
    from threadpoolctl import threadpool_info

    rng = np.random.default_rng(0)
    x = rng.standard_normal((512, 100), dtype=np.float32)
    y = (x[:, :50].sum(axis=1) > 0).astype(np.int64)

    def train_cmlp():
        import cmlp

        net = cmlp.Sequential(cmlp.Dense(100, 200, activation="relu"), cmlp.Dense(200, 2), seed=0)
        trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(0.02))
        losses = trainer.fit(x, y, epochs=5, batch_size=256)["loss"]
        assert losses[-1] < losses[0]
        return hashlib.sha256(net.get_flat()).hexdigest()

    def train_sklearn():
        from sklearn.ensemble import HistGradientBoostingClassifier  # in OpenMP
        from sklearn.neural_network import MLPClassifier  # in NumPy's BLAS

        boosted = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(x, y)
        MLPClassifier(50, max_iter=5, random_state=0).fit(x, y)
        return hashlib.sha256(boosted.predict_proba(x)).hexdigest()

    def train_torch():
        import torch

        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(100, 200), torch.nn.ReLU(), torch.nn.Linear(200, 2)
        )
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        losses = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]
        return "trained"

    counts = {p["filepath"]: p["num_threads"] for p in threadpool_info()}
    found = []
    for _ in range(3):
        found.append({name: globals()["train_" + name]() for name in order})
    assert found[0] == found[1] == found[2]
    now = {p["filepath"]: p["num_threads"] for p in threadpool_info()}
    assert {path: now[path] for path in counts} == counts
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            os._exit(0 if train_cmlp() == found[0]["cmlp"] else 1)
        assert os.waitpid(child, 0)[1] == 0
    print(json.dumps(found[0]))
"""


def train_in_order(*names):
    """What a process says that imports these in this order, and trains with each by turns."""
    program = textwrap.dedent(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *names],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def alone():
    """The bits of a training in a process that imports nothing else."""
    pytest.importorskip("threadpoolctl")
    return train_in_order("cmlp")["cmlp"]


@pytest.mark.parametrize("order", orders("cmlp", "sklearn"), ids="-".join)
def test_beside_scikit_learn(order, alone):
    pytest.importorskip("sklearn")
    assert train_in_order(*order)["cmlp"] == alone


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
@pytest.mark.parametrize("order", orders("cmlp", "sklearn", "torch"), ids="-".join)
def test_beside_scikit_learn_and_pytorch(order, alone):
    pytest.importorskip("sklearn")
    assert train_in_order(*order)["cmlp"] == alone
