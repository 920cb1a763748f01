"""The page of handwritten digits without a browser: nets as texts, drawings, the training."""

import numpy as np
import pytest
from playground_parts import DIGITS

import cmlp
from cmlp.playground.digits import Digits, DigitsSettings, open_set, read_model
from cmlp.playground.images import as_in_set
from cmlp.playground.nets import ACTIVATIONS, nets_for, read_net

IMAGE = (1, 8, 8)


def settings(**changed):
    return DigitsSettings.read({**DIGITS, **changed})


@pytest.fixture
def digits():
    found = Digits(settings(), open_set("digits", None))
    yield found
    found.close()


class TestNets:
    @pytest.mark.parametrize("side", [8, 28])
    @pytest.mark.parametrize("name", nets_for(8))
    def test_those_of_the_page(self, side, name):
        plan = read_net(nets_for(side)[name], (1, side, side))
        net = plan.build(0)
        assert net.predict(np.zeros((2, *plan.shapes[0]), "f")).shape == (2, 10)
        assert len(plan.lines) == len(net.layers) == len(plan.shapes) - 1

    def test_convnetjs(self):
        """The shapes of its MNIST demo, but for the margin that its images lack."""
        plan = read_net(nets_for(28)["ConvNetJS"], (1, 24, 24))
        assert plan.shapes[1] == (8, 24, 24)
        assert plan.shapes[3] == (8, 12, 12)
        assert plan.shapes[4] == (16, 12, 12)
        assert plan.shapes[6] == (16, 4, 4)
        assert plan.build(0).n_parameters == 8 * 26 + 16 * 201 + 10 * 257

    @pytest.mark.parametrize("name", ACTIVATIONS)
    def test_activations(self, name):
        net = read_net(f"conv 2 3x3\n{name}\nDense  10", IMAGE).build(0)
        assert net.out_shape == (10,)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "the net is empty"),
            ("conv 8\ndense 10", "line 1, 'conv 8': expected conv 8 5x5"),
            ("relu\n\nfoo\ndense 10", "line 3, 'foo'"),
            ("dense 5", r"ends with the shape \(5,\); expected a last line dense 10"),
            ("dense 10\npool 2", r"line 2, 'pool 2': the shape before it is \(10,\)"),
            ("conv 2 9x9\ndense 10", "line 1, .* kernel"),
            ("pool 9\ndense 10", "line 1"),
            ("pool 0\ndense 10", "line 1"),
            ("dense 99999\ndense 10", "99999 outputs; expected 1 to 4096"),
            ("dense 4096\ndense 4096\ndense 10", "weights; expected 4,000,000 at most"),
            ("relu\n" * 40 + "dense 10", "expected 30 layers at most"),
            ("x" * 3000, "3000 characters"),
            ("dropout 1.5\ndense 10", "line 1"),
            ("softmax\ndense 10", "line 1"),
        ],
    )
    def test_others_are_refused(self, text, why):
        with pytest.raises(ValueError, match=why):
            read_net(text, IMAGE)

    def test_no_text(self):
        with pytest.raises(TypeError, match="net is int"):
            read_net(3, IMAGE)


class TestDrawings:
    @pytest.mark.parametrize(("side", "box"), [(8, 8), (28, 20)])
    def test_scaled_to_its_box(self, side, box):
        drawn = np.zeros((112, 112))
        drawn[10:70, 40:60] = 1.0
        image = as_in_set(drawn, side)
        rows, columns = np.nonzero(image)
        assert np.ptp(rows) + 1 == box
        assert np.ptp(columns) + 1 == pytest.approx(box / 3, abs=1)
        assert image.max() == pytest.approx(1.0)

    def test_centre_of_mass(self):
        drawn = np.zeros((112, 112))
        drawn[5:45, 60:100] = 1.0
        drawn[30:45, 60:100] = 0.5
        image = as_in_set(drawn, 28)
        centre = [(np.arange(28) * image.sum(axis=1 - i)).sum() / image.sum() for i in (0, 1)]
        assert centre == pytest.approx([13.5, 13.5], abs=0.51)

    def test_wherever_it_is_drawn(self):
        one, other = np.zeros((112, 112)), np.zeros((112, 112))
        one[10:50, 10:30] = other[60:100, 80:100] = np.linspace(0.2, 1.0, 20)
        assert np.array_equal(as_in_set(one, 28), as_in_set(other, 28))

    def test_nothing(self):
        assert not as_in_set(np.zeros((112, 112)), 28).any()

    def test_a_dot(self):
        drawn = np.zeros((112, 112))
        drawn[3, 4] = 1.0
        assert as_in_set(drawn, 28).sum() == pytest.approx(400.0)


class TestTraining:
    def test_to_97_percent(self, digits):
        digits.session.start(
            epochs=100, until=lambda snapshot: snapshot.validation["accuracy"] >= 0.97
        )
        assert digits.session.wait(120)
        header, _ = digits.picture(digits.test[0], None, np.arange(9))
        assert header["validation"]["accuracy"] >= 0.97
        assert header["test"]["accuracy"] >= 0.95

    def test_picture(self, digits):
        digits.session.advance(30)
        label, places = int(digits.labels[0]), np.array([0, 3, 5])
        header, parts = digits.picture(digits.test[0], label, places)
        net, x = digits.session.trainer.net, digits.inputs(digits.test)
        p = net.predict_proba(x[places])
        assert np.allclose(parts["probabilities"], net.predict_proba(x[:1])[0], atol=1e-6)
        assert parts["classes"].shape == (3, 3)
        assert np.array_equal(parts["classes"][:, 0], p.argmax(axis=1))
        assert np.allclose(parts["shares"], -np.sort(-p, axis=1)[:, :3], atol=1e-6)
        assert header["step"] == 30
        assert header["epoch"] == pytest.approx(30 / 72)
        assert header["shapes"][0] == [8, 8, 8]
        y = x[:1]
        for i, layer in enumerate(net.layers):
            y = layer.forward(y)
            assert np.array_equal(parts[f"activation{i}"], y[0])
            assert parts[f"gradient{i}"].shape == y[0].shape
        assert np.array_equal(parts["filters"], net.layers[0].weight[:, 0])

    def test_a_drawing_has_no_gradients(self, digits):
        _, parts = digits.picture(digits.test[0], None, np.arange(2))
        assert not any(name.startswith("gradient") for name in parts)

    def test_filters_of_a_dense_net(self):
        found = Digits(settings(net="dense 40, relu, dense 10"), open_set("digits", None))
        _, parts = found.picture(found.test[0], None, np.arange(2))
        assert parts["filters"].shape == (32, 8, 8)
        found.close()

    def test_settings_that_change(self, digits):
        digits.session.start()
        new = settings(learningRate=0.5, decay=0.01, batchSize=50)
        assert digits.change(new)
        digits.session.pause()
        assert digits.session.batch_size == 50
        assert digits.session.trainer.optimizer.lr == 0.5
        assert digits.session.trainer.optimizer.weight_decay == 0.01
        for other in ({"optimizer": "sgd"}, {"net": "dense 10"}, {"seed": 3}, {"momentum": 0.5}):
            assert not digits.change(settings(**other))
        assert digits.settings.batchSize == 50

    @pytest.mark.parametrize("optimizer", ["sgd", "adam", "adadelta"])
    def test_optimizers(self, optimizer):
        momentum = 0.9 if optimizer == "sgd" else 0.0
        given = settings(optimizer=optimizer, learningRate=0.01, momentum=momentum)
        found = Digits(given, open_set("digits", None))
        found.session.advance(3)
        assert type(found.session.trainer.optimizer).__name__.lower() == optimizer
        found.close()


def save_idx(path, a):
    """Bytes as a file of the kind that MNIST comes in."""
    sizes = b"".join(n.to_bytes(4, "big") for n in a.shape)
    path.write_bytes(bytes([0, 0, 8, a.ndim]) + sizes + a.astype(np.uint8).tobytes())


@pytest.mark.parametrize("net", ["ConvNetJS", "LeNet-5"])
def test_mnist(tmp_path, net):
    """Images of 28x28 pixels from a folder: here the small digits, each pixel a square."""
    small = cmlp.datasets.digits()
    images = np.zeros((300, 28, 28))
    images[:, 2:26, 2:26] = np.kron(small.x[:300].reshape(-1, 8, 8), np.ones((1, 3, 3))) * 255
    for name, part in (("train", slice(0, 240)), ("t10k", slice(240, 300))):
        save_idx(tmp_path / f"{name}-images-idx3-ubyte", images[part])
        save_idx(tmp_path / f"{name}-labels-idx1-ubyte", small.y[:300][part])
    found = Digits(settings(set="mnist", net=net), open_set("mnist", tmp_path))
    found.session.advance(12)
    header, parts = found.picture(found.test[0], int(found.labels[0]), np.arange(5))
    assert found.about()["side"] == 28
    assert header["epoch"] == 1.0
    assert parts["activation0"].shape[1:] == (28, 28)
    assert parts["gradient0"].shape == parts["activation0"].shape
    found.close()


class TestFiles:
    def test_there_and_back(self, digits):
        digits.session.advance(20)
        name, content = digits.file("model")
        net = read_model(content)
        assert name == "net.safetensors"
        again = Digits(settings(), open_set("digits", None), net)
        x = again.inputs(again.test)
        assert np.array_equal(
            again.session.trainer.net.predict(x), digits.session.trainer.net.predict(x)
        )
        again.session.advance(2)
        again.close()

    def test_source_code(self):
        found = Digits(settings(net="dense 10"), open_set("digits", None))
        name, content = found.file("c")
        found.close()
        assert name == "net.c"
        assert b"void predict(" in content

    def test_nets_for_other_things(self, tmp_path):
        net = cmlp.Sequential(cmlp.Dense(5, 10), seed=0)
        net.save(tmp_path / "net.safetensors")
        other = read_model((tmp_path / "net.safetensors").read_bytes())
        with pytest.raises(ValueError, match="the net takes 5 numbers and gives 10; expected 64"):
            Digits(settings(), open_set("digits", None), other)
        with pytest.raises(cmlp.FormatError):
            read_model(b"\0" * 50)


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("set", "letters"),
            ("optimizer", "lbfgs"),
            ("learningRate", -1),
            ("learningRate", "x"),
            ("momentum", 1),
            ("decay", 11),
            ("batchSize", 0),
            ("batchSize", 1 << 16),
            ("seed", -1),
        ],
    )
    def test_refused(self, name, value):
        with pytest.raises((ValueError, TypeError), match=name):
            settings(**{name: value})

    def test_missing(self):
        with pytest.raises(ValueError, match="settings has no net"):
            DigitsSettings.read({k: v for k, v in DIGITS.items() if k != "net"})
        with pytest.raises(TypeError, match="expected an object"):
            DigitsSettings.read([])

    def test_sets(self, tmp_path):
        with pytest.raises(ValueError, match="start cmlp playground --mnist FOLDER"):
            open_set("mnist", None)
        with pytest.raises(ValueError, match="MNIST"):
            open_set("mnist", tmp_path)
