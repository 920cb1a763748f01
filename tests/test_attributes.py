"""Whatever is assigned to a public object takes effect, or is refused."""

import importlib
import inspect

import numpy as np
import pytest

import cmlp
from cmlp import graph, layers, losses, optimizers, schedules
from cmlp.attributes import Declared
from cmlp.datasets import Standardizer
from cmlp.export.files import model_about
from cmlp.layers.activations import KINDS
from cmlp.layers.weighted import Weighted
from cmlp.layers.window import Window

MODULES = ["graph", "initializers", "layers", "losses", "network", "optimizers", "schedules"]

# What has no objects of its own, or only such as users derive from it.
BASES = {
    cmlp.Initializer,
    cmlp.Layer,
    cmlp.Loss,
    cmlp.Optimizer,
    cmlp.Schedule,
    graph.Node,
    layers.Activation,
    Weighted,
    Window,
    schedules.EpochSchedule,
}
PROTOCOLS = {layers.PythonLayer, losses.PythonLoss}


def build(*parts, **settings):
    settings = {"dtype": "float64", "seed": 0, **settings}
    return cmlp.Sequential(*(parts or (cmlp.Dense(3, 4, "tanh"), cmlp.Dense(4, 2))), **settings)


def graph_layer():
    x = graph.Placeholder("x", (None, 3))
    return graph.GraphLayer(x * graph.Variable(2.0, name="w"), x)


EXAMPLES = {
    cmlp.Sequential: build,
    cmlp.Dense: lambda: cmlp.Dense(3, 2).build(rng=0),
    **{
        kind: lambda kind=kind: kind().build(3)
        for kind in (*KINDS.values(), cmlp.PReLU, cmlp.RReLU, cmlp.Dropout)
    },
    cmlp.Conv2D: lambda: cmlp.Conv2D(2, 3, 2).build((2, 4, 5), rng=0),
    cmlp.MaxPool2D: lambda: cmlp.MaxPool2D(2).build((2, 4, 5)),
    cmlp.AvgPool2D: lambda: cmlp.AvgPool2D(2).build((2, 4, 5)),
    cmlp.SubSample2D: lambda: cmlp.SubSample2D(2).build((2, 4, 5)),
    cmlp.Reshape: lambda: cmlp.Reshape((1, 2, 3)).build(6),
    cmlp.Flatten: lambda: cmlp.Flatten().build((1, 2, 3)),
    **{kind: kind for kind in (*losses.KINDS.values(), *optimizers.KINDS.values())},
    cmlp.SoftmaxCrossEntropy: lambda: cmlp.SoftmaxCrossEntropy(class_weight={0: 2.0}),
    cmlp.BinaryCrossEntropy: lambda: cmlp.BinaryCrossEntropy(class_weight=[1.0, 2.0]),
    cmlp.SGD: lambda: cmlp.SGD(0.1, momentum=0.9),
    cmlp.LBFGS: cmlp.LBFGS,
    cmlp.InverseTime: lambda: cmlp.InverseTime(1, 2),
    cmlp.InverseSqrt: cmlp.InverseSqrt,
    cmlp.Exponential: lambda: cmlp.Exponential(0.5),
    cmlp.StepDecay: lambda: cmlp.StepDecay(0.5, 9),
    cmlp.Cosine: lambda: cmlp.Cosine(9),
    cmlp.Warmup: lambda: cmlp.Warmup(4, then=cmlp.Cosine(9)),
    cmlp.MomentumStep: cmlp.MomentumStep,
    schedules.FunctionSchedule: lambda: schedules.FunctionSchedule(lambda t: 0.1),
    cmlp.Halving: cmlp.Halving,
    cmlp.Plateau: cmlp.Plateau,
    cmlp.Normal: cmlp.Normal,
    cmlp.Xavier: cmlp.Xavier,
    cmlp.He: cmlp.He,
    cmlp.Constant: lambda: cmlp.Constant(0.5),
    cmlp.Zeros: cmlp.Zeros,
    graph.Constant: lambda: graph.Constant(2.0),
    graph.Variable: lambda: graph.Variable(2.0),
    graph.Placeholder: lambda: graph.Placeholder("x", (None, 3)),
    graph.nodes.Operation: lambda: graph.exp(graph.Placeholder("x")),
    graph.layers.NetNode: lambda: graph.net(build(), graph.Placeholder("x")),
    graph.layers._NetBackward: lambda: gradient_of_a_net(),
    graph.training.Parameters: lambda: graph.training.Parameters([graph.Variable(2.0)]),
    graph.GraphLayer: graph_layer,
    graph.SGD: graph.SGD,
}  # fmt: skip


def gradient_of_a_net():
    x = graph.Placeholder("x")
    return graph.gradients(graph.net(build(), x), x)


def declared_classes():
    """Every class of these modules that takes part, and those that rooms keep for themselves."""
    found, left = set(), [Declared]
    while left:
        kinds = left.pop().__subclasses__()
        left += kinds
        found |= {
            kind for kind in kinds if kind.__module__.partition(".")[2].partition(".")[0] in MODULES
        }
    return found


def attributes(thing):
    """Public names, methods and constants included."""
    return [name for name in dir(thing) if not name.startswith("_")]


def can_change(thing, name):
    found = getattr(type(thing), name, None)
    return isinstance(found, property) and found.fset is not None


def refuses(thing, name, value):
    try:
        setattr(thing, name, value)
    except AttributeError:
        return True
    return False


class TestEveryClass:
    @pytest.mark.parametrize("module", MODULES)
    def test_takes_part(self, module):
        found = importlib.import_module(f"cmlp.{module}")
        public = [vars(found)[name] for name in found.__all__]
        kinds = {kind for kind in public if inspect.isclass(kind)} - PROTOCOLS
        assert all(issubclass(kind, Declared) for kind in kinds)

    def test_has_an_example(self):
        private = {kind for kind in declared_classes() if kind.__name__.startswith("_")}
        assert declared_classes() - BASES - private <= set(EXAMPLES)

    @pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
    def test_refuses_what_is_fixed(self, kind):
        thing = EXAMPLES[kind]()
        assert isinstance(thing, kind)
        for name in attributes(thing):
            if not can_change(thing, name):
                before = getattr(thing, name)
                assert refuses(thing, name, before), name
                assert refuses(thing, name, None), name
                assert refuses(thing, name, 0.5), name

    @pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
    def test_refuses_what_it_does_not_know(self, kind):
        thing = EXAMPLES[kind]()
        for name in ("trainble", "sead", "learning_rate", "momentun"):
            with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
                setattr(thing, name, 1)

    @pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
    def test_what_can_change_has_a_test_below(self, kind):
        thing = EXAMPLES[kind]()
        owners = [
            next(base for base in kind.__mro__ if name in vars(base))
            for name in attributes(thing)
            if can_change(thing, name)
        ]
        names = [name for name in attributes(thing) if can_change(thing, name)]
        found = {(owner, name) for owner, name in zip(owners, names, strict=True)}
        assert found <= set(CHANGES)


def test_the_message_says_what_to_do():
    with pytest.raises(AttributeError, match="^rate is fixed; make a new Dropout instead$"):
        cmlp.Dropout(0.5).rate = 0.25


def test_a_users_class_may_have_attributes_of_its_own():
    class Rates(cmlp.Schedule):
        def __init__(self):
            self.factor = 1.0

        def rates(self, t, lr):
            self.factor = self.factor / 2
            return np.full(len(t), self.factor)

    class Spread(cmlp.Normal):
        def __init__(self):
            super().__init__(0.5)
            self.calls = 0

        def __call__(self, shape, rng):
            self.calls += 1
            return super().__call__(shape, rng)

    assert Rates().values(0, 2, 1.0).tolist() == [0.5, 0.5]
    spread = Spread()
    spread((2, 3), np.random.default_rng(0))
    assert spread.calls == 1
    with pytest.raises(AttributeError, match="std is fixed"):
        spread.std = 1.0


# ---- what can change, and the computation that then does ----

X = np.linspace(-1.0, 1.0, 15).reshape(5, 3)
LABELS = np.array([0, 1, 0, 1, 1])


def weight():
    layer = cmlp.Dense(3, 2).build(dtype="float64", rng=0)
    layer.forward(X)
    layer.weight = np.ones((2, 3))
    np.testing.assert_allclose(layer.forward(X), X @ np.ones((3, 2)))


def bias():
    layer = cmlp.Dense(3, 2).build(dtype="float64", rng=0)
    before = layer.forward(X)
    layer.bias = [1.0, 2.0]
    np.testing.assert_allclose(layer.forward(X), before + np.array([1.0, 2.0]))


def slope():
    net = build(cmlp.PReLU(), n_in=3)
    net.predict(X)
    net.layers[0].slope = [0.5, 0.5, 0.5]
    np.testing.assert_allclose(net.predict(X), np.where(X > 0, X, 0.5 * X))


def by_hand(net, optimizer):
    loss = cmlp.SoftmaxCrossEntropy()

    def step():
        loss.forward(net.forward(X), LABELS)
        net.backward(loss.backward())
        optimizer.step(net)

    return step


def by_train_step(net, optimizer):
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), optimizer)
    return lambda: trainer.train_step(X, LABELS)


def by_fit(net, optimizer):
    trainer = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), optimizer)
    return lambda: trainer.fit(X, LABELS, epochs=1, shuffle=False)


def rate():
    """One step at the first rate and one at the second, whichever door they go through."""
    for kind in optimizers.KINDS.values():
        results = []
        for door in (by_hand, by_train_step, by_fit):
            net, optimizer = build(), kind(lr=0.1)
            step = door(net, optimizer)
            step()
            once = net.get_flat()
            optimizer.lr = 0.0  # with which no rule moves anything
            step()
            assert np.array_equal(net.get_flat(), once)
            optimizer.lr = 0.4
            step()
            results.append(net.get_flat() - once)
        assert abs(results[0]).max() > 0
        for other in results[1:]:
            np.testing.assert_allclose(other, results[0], rtol=1e-9, atol=1e-12)


def trainable():
    net = build()
    net.layers[0].trainable = False
    before, other = net.layers[0].weight, net.layers[1].weight
    cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy(), cmlp.SGD(lr=0.5)).train_step(X, LABELS)
    assert np.array_equal(net.layers[0].weight, before)
    assert not np.array_equal(net.layers[1].weight, other)
    with pytest.raises(TypeError, match="trainable"):
        net.layers[0].trainable = "no"


def classes():
    net = build()
    net.classes = ["no", "yes"]
    losses = cmlp.Trainer(net, cmlp.SoftmaxCrossEntropy()).evaluate(
        X, np.array(["no", "yes"])[LABELS]
    )
    assert losses == cmlp.Trainer(build(), cmlp.SoftmaxCrossEntropy()).evaluate(X, LABELS)
    with pytest.raises(ValueError, match="read-only"):
        net.classes[0] = "zz"


def link():
    net = build()
    p = net.predict_proba(X)
    net.link = "sigmoid"
    np.testing.assert_allclose(net.predict_proba(X), 1 / (1 + np.exp(-net.predict(X))))
    net.link = None
    assert np.array_equal(net.predict_proba(X), p)
    with pytest.raises(ValueError, match="link is 'tanh'; expected one of softmax, sigmoid, exp"):
        net.link = "tanh"


def metadata():
    net = build()
    net.metadata = {"from": "here"}
    assert model_about(net)["metadata"] == {"from": "here"}
    with pytest.raises(TypeError, match="metadata is 3; expected a dict"):
        net.metadata = 3


def preprocessing():
    net, x = build(), np.asarray(X)
    plain = build().predict((x - 1.0) / 2.0)
    n = x.shape[1]
    net.predict(x)
    net.preprocessing = cmlp.Preprocessing(Standardizer(np.full(n, 1.0), np.full(n, 2.0)))
    np.testing.assert_allclose(net.predict(x), plain, rtol=1e-6, atol=1e-6)
    with pytest.raises(TypeError, match="preprocessing is 3; expected a Preprocessing or None"):
        net.preprocessing = 3


def n_threads():
    net = build(n_threads=2)
    y = net.predict(X)
    net.n_threads = 1
    assert np.array_equal(net.predict(X), y)
    assert net.split()[0].predictor.n_threads == 1
    with pytest.raises(ValueError, match="n_threads is 0"):
        net.n_threads = 0


def name_of_a_node():
    node = graph.Placeholder("x") + 1
    node.name = "y"
    assert node.label == "y" and "y" in graph.to_dot(node)
    with pytest.raises(TypeError, match="name is 3; expected a string or None"):
        node.name = 3


def value():
    v = graph.Variable(2.0)
    v.value = 3.0
    assert graph.run(v * v) == 9.0


def rate_of_a_graph():
    v, optimizer = graph.Variable(1.0), graph.SGD(0.5)
    optimizer.lr = 0.25
    graph.minimize(v * v, [{}], optimizer)
    assert v.value == 0.5
    with pytest.raises(ValueError, match="lr is 0"):
        optimizer.lr = 0


def momentum_of_a_graph():
    v, optimizer = graph.Variable(1.0), graph.SGD(0.25)
    optimizer.momentum = 0.5
    graph.minimize(v * v, [{}, {}], optimizer)
    assert v.value == 0.5 - 0.25 * 1.0 - 0.5 * 0.5
    with pytest.raises(ValueError, match="momentum is 1"):
        optimizer.momentum = 1


def trainable_layer():
    net = build()
    net.layers[0].trainable = False
    before = net.get_flat()
    by_fit(net, cmlp.SGD(0.1))()
    assert np.flatnonzero(net.get_flat() != before).min() == net.layers[0].n_parameters


def trainable_net():
    net = build()
    net.trainable = False
    before = net.get_flat()
    by_fit(net, cmlp.SGD(0.1))()
    assert np.array_equal(net.get_flat(), before)


def trainable_graph():
    layer = graph_layer()
    layer.trainable = False
    net = build(layer, cmlp.Dense(3, 2))
    by_fit(net, cmlp.SGD(0.1))()
    assert layer.variables[0].value == 2.0


CHANGES = {
    (cmlp.Layer, "trainable"): trainable_layer,
    (cmlp.Sequential, "trainable"): trainable_net,
    (graph.training.Parameters, "trainable"): trainable_graph,
    (Weighted, "weight"): weight,
    (Weighted, "bias"): bias,
    (cmlp.PReLU, "slope"): slope,
    (cmlp.Optimizer, "lr"): rate,
    (cmlp.Sequential, "classes"): classes,
    (cmlp.Sequential, "link"): link,
    (cmlp.Sequential, "metadata"): metadata,
    (cmlp.Sequential, "n_threads"): n_threads,
    (cmlp.Sequential, "preprocessing"): preprocessing,
    (graph.Node, "name"): name_of_a_node,
    (graph.Variable, "value"): value,
    (graph.SGD, "lr"): rate_of_a_graph,
    (graph.SGD, "momentum"): momentum_of_a_graph,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=lambda change: change.__name__)
def test_takes_effect(change):
    change()
