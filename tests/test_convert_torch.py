"""Nets from PyTorch's modules and back."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from export_nets import DTYPES, LAYERS, NAMES, Doubling, alone, between_dense, far_values, rows

import cmlp


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="from_torch needs PyTorch: pip install torch"):
        cmlp.from_torch(None)
    with pytest.raises(ImportError, match="to_torch needs PyTorch: pip install torch"):
        cmlp.to_torch(cmlp.Sequential(cmlp.Dense(2, 1), seed=0))


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def outputs(torch, module, x):
    with torch.no_grad():
        return module(torch.tensor(x)).numpy()


KNOWN = [(make, name) for make, name in zip(LAYERS, NAMES, strict=True) if make is not cmlp.Step]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [make for make, _ in KNOWN], ids=[name for _, name in KNOWN])
def test_every_layer_there_and_back(make, dtype, torch):
    net = between_dense(make, dtype)
    module = cmlp.to_torch(net)
    assert not module.training
    x = rows(net, 500)
    t = 1e-5 if dtype == "float32" else 1e-8  # PyTorch's softplus is linear from 20 on
    np.testing.assert_allclose(outputs(torch, module, x), net.predict(x), rtol=0, atol=t)
    back = cmlp.from_torch(module)
    assert [repr(layer) for layer in back.layers] == [
        repr(layer).replace("PReLU()", "PReLU(init=0.25)") for layer in net.layers
    ]
    assert back.dtype == dtype
    assert np.array_equal(back.get_flat(), net.get_flat())
    assert np.array_equal(back.predict(x), net.predict(x))


@pytest.mark.parametrize("make", [make for make, _ in KNOWN], ids=[name for _, name in KNOWN])
def test_every_layer_at_far_values(make, torch):
    net = alone(make, "float64")
    x = far_values("float64")
    y = outputs(torch, cmlp.to_torch(net), x)
    np.testing.assert_allclose(y, net.predict(x), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "gelu", "softmax"])
def test_activations_in_dense(name, torch):
    net = cmlp.Sequential(cmlp.Dense(4, 5, name), cmlp.Dense(5, 5, cmlp.LeakyReLU(0.3)), seed=0)
    x = rows(net, 100)
    module = cmlp.to_torch(net)
    assert len(module) == 4
    np.testing.assert_allclose(outputs(torch, module, x), net.predict(x), atol=1e-6)


def test_modules_in_modules_and_one_slope_for_all(torch):
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.PReLU(init=0.1), nn.Sequential(nn.Linear(3, 4, bias=False), nn.PReLU()), nn.Linear(4, 2)
    )
    net = cmlp.from_torch(module)
    x = rows(net, 100)
    np.testing.assert_allclose(net.predict(x), outputs(torch, module, x), atol=1e-6)
    assert net.layers[0].slope.shape == (3,)
    assert net.layers[1].bias is None


def test_a_single_linear(torch):
    module = torch.nn.Linear(3, 2).double()
    net = cmlp.from_torch(module)
    assert net.dtype == "float64"
    assert np.array_equal(net.layers[0].weight, module.weight.detach().numpy())


def test_nothing_is_shared_and_no_generator_moves(torch):
    net = between_dense(cmlp.PReLU, "float32")
    x = rows(net, 10)
    before, state = net.predict(x), torch.get_rng_state()
    module = cmlp.to_torch(net)
    assert torch.equal(torch.get_rng_state(), state)
    back = cmlp.from_torch(module)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    assert np.array_equal(net.predict(x), before)
    assert np.array_equal(back.predict(x), before)


def test_what_is_made_trains(torch):
    net = between_dense(cmlp.Tanh, "float32")
    module = cmlp.to_torch(net).train()
    loss = module(torch.tensor(rows(net, 10))).square().mean()
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())


def test_modules_that_are_not_here(torch):
    nn = torch.nn
    linear = nn.Linear(2, 2)
    wrong = {
        "expected a torch.nn.Sequential": (TypeError, "text"),
        r"module\[1\] is Conv1d": (TypeError, nn.Sequential(linear, nn.Conv1d(2, 2, 1))),
        "approximate='none'": (ValueError, nn.Sequential(linear, nn.GELU("tanh"))),
        "beta=1": (ValueError, nn.Sequential(linear, nn.Softplus(beta=2))),
        "dim=-1": (ValueError, nn.Sequential(linear, nn.Softmax(dim=0))),
        "torch.bfloat16": (ValueError, nn.Linear(2, 2, dtype=torch.bfloat16)),
        r"types \[\]": (ValueError, nn.Sequential(nn.ReLU())),
        "has n_in 2; expected 3": (ValueError, nn.Sequential(nn.Linear(2, 3), linear)),
    }
    for message, (error, module) in wrong.items():
        with pytest.raises(error, match=message):
            cmlp.from_torch(module)


def test_layers_that_are_not_there(torch):
    for layer in (Doubling(), cmlp.Step()):
        with pytest.raises(ValueError, match=r"layers\[1\] is .*; PyTorch has no such layer"):
            cmlp.to_torch(cmlp.Sequential(cmlp.Dense(2, 2), layer, seed=0))
    with pytest.raises(ValueError, match="PyTorch has no such activation"):
        cmlp.to_torch(cmlp.Sequential(cmlp.Dense(2, 2, "step"), seed=0))
