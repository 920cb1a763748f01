"""The live page without its server: settings, points, experiments, programs, messages."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from playground_parts import CSV, DRAWN, NUMBERS, SETTINGS, run_program, settings

import cmlp
from cmlp import datasets
from cmlp.errors import FormatError
from cmlp.playground import messages, points
from cmlp.playground.experiment import DENSITY, THINNED, Experiment, carried
from cmlp.playground.program import program
from cmlp.playground.settings import ACTIVATIONS, DATASETS, FEATURES, REG_DATASETS, Settings


def experiment(drawn=None, table=None, **changed):
    wanted = settings(**changed)
    if wanted.set_name == "own":
        found = points.own(wanted, DRAWN if drawn is None else drawn)
    elif wanted.set_name == "file":
        found = table.points(wanted)
    else:
        found = points.of_formula(wanted)
    return Experiment(wanted, found)


def weights(one):
    return one.picture()[1]["parameters"]


class TestSettings:
    def test_all_names_of_the_package_are_known(self):
        assert set(FEATURES.values()) == set(datasets.FEATURES_2D)
        known = set(DATASETS) | set(REG_DATASETS.values())
        assert known == {*datasets.POINTS_2D, "own", "file"}
        assert set(ACTIVATIONS.values()) <= set(cmlp.layers.activation_names())

    @pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
    def test_each_is_needed_and_checked(self, name):
        with pytest.raises(ValueError, match=f"lack {name}"):
            Settings.read({k: v for k, v in SETTINGS.items() if k != name})
        for wrong in (None, {"a": 1}, [[]], -1, "no such name" * 4, float("nan"), 1e400):
            with pytest.raises((ValueError, TypeError), match=name):
                settings(**{name: wrong})

    @pytest.mark.parametrize(
        "changed",
        [
            {"features": []},
            {"features": ["x", "x"]},
            {"networkShape": [4]},
            {"networkShape": [4, 17]},
            {"networkShape": [1] * 11, "activations": ["tanh"] * 11},
            {"activations": ["tanh", "step"]},
            {"percTrainData": 100},
            {"dropout": 1},
        ],
    )
    def test_what_cannot_be(self, changed):
        with pytest.raises(ValueError):
            settings(**changed)

    def test_no_object(self):
        with pytest.raises(TypeError, match="expected an object"):
            Settings.read([])

    def test_seeds_of_the_original_are_texts(self):
        assert settings(seed="0.00042").data_seed == 42
        assert settings(seed="hello").data_seed != settings(seed="world").data_seed
        assert settings(start=3).net_seed == 12348


class TestPoints:
    @pytest.mark.parametrize("name", [*DATASETS[:4], "reg-plane", "reg-gauss"])
    def test_formulas(self, name):
        kind = "regression" if name in REG_DATASETS else "classification"
        key = "regDataset" if name in REG_DATASETS else "dataset"
        found = points.of_formula(settings(problem=kind, **{key: name}, percTrainData=30))
        n = 1200 if kind == "regression" else 500
        assert len(found.x) == 0.3 * n and len(found.x_test) == 0.7 * n
        about = found.about()
        assert len(about["train"][0]) == 3 and about["counts"] == [0.3 * n, 0.7 * n]
        if kind == "classification":
            assert {row[2] for row in about["train"]} == {-1, 1}

    @pytest.mark.parametrize("problem", ["classification", "regression"])
    def test_drawn(self, problem):
        found = points.own(settings(problem=problem, percTrainData=80), DRAWN)
        assert len(found.x) == 13 and len(found.x_test) == 3
        rows = found.about()["train"] + found.about()["test"]
        assert sorted(rows) == sorted(DRAWN)

    @pytest.mark.parametrize(
        "drawn",
        [None, [], [[1, 2, 1]], [[1, 2]] * 3, [[7, 0, 1], [0, 0, 1]], [[1, 2, 0]] * 2, "x",
         [["a", 1, 1]] * 2, [[float("nan"), 1, 1]] * 2, [[0, 0, 1]] * 5001],
    )  # fmt: skip
    def test_what_cannot_be_drawn(self, drawn):
        with pytest.raises(ValueError, match="points: expected"):
            points.own(settings(), drawn)

    def test_table_of_classes(self):
        table = points.read_table("of/mine.csv", CSV.encode())
        assert table.name == "mine.csv" and table.classifies
        found = table.points(settings(dataset="file"))
        both = np.concatenate([found.x, found.x_test])
        assert both.min(axis=0).tolist() == [-5, -5] and both.max(axis=0).tolist() == [5, 5]
        width, height = found.about()["axes"]
        assert width == {"name": "width", "low": pytest.approx(9.4), "high": pytest.approx(16.6)}
        assert height["name"] == "height"
        with pytest.raises(ValueError, match="expected classification, as mine.csv has"):
            table.points(settings(problem="regression"))

    def test_table_of_numbers(self):
        table = points.table_of("prices.csv", a_table(NUMBERS, task="regression"))
        found = table.points(settings(problem="regression", regDataset="file"))
        both = np.concatenate([found.y, found.y_test])
        assert both.min() == -1 and both.max() == 1 and both.shape == (80, 1)

    def test_a_constant_column_stays(self):
        middle, half = points.extent(np.float32([[3, 1], [3, 2]]))
        assert middle.tolist() == [3, 1.5] and half.tolist() == [1, 0.5]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "a.csv: the file is empty"),
            ("x,y\n1,2\n2,3\n", "a.csv: 1 inputs, expected two columns and a target"),
            ("x,y,t\n1,2,a\n2,3,b\n3,4,c\n", "a.csv: 3 classes, expected two, or numbers"),
            ("x,y,t\n1,2,a\n2,oops,b\n", "a.csv: line 3, column 'y': 'oops' is not a number"),
            ("x,y,t\n1,2,a\n2,b\n", "a.csv: line 3 has 2 cells, expected 3"),
        ],
    )
    def test_tables_that_are_refused(self, text, why):
        with pytest.raises(FormatError) as caught:
            points.read_table("a.csv", text.encode())
        assert str(caught.value) == why

    @pytest.mark.parametrize("name", ["../../a.csv", "é.csv", "a\\b.TSV", "x" * 300 + ".csv"])
    def test_any_name_of_a_file(self, name):
        text = CSV.replace(",", "\t") if name.endswith("TSV") else CSV
        assert len(points.read_table(name, text.encode()).name) <= 100

    @pytest.mark.parametrize("name", ["", "..", "a", "a.csv.exe", "a.npz"])
    def test_other_kinds_of_files(self, name):
        with pytest.raises(FormatError, match="expected a name that ends in .csv or .tsv"):
            points.read_table(name, CSV.encode())

    def test_thumbnails(self):
        found = points.thumbnails()
        assert set(found) == {"circle", "xor", "gauss", "spiral", "reg-plane", "reg-gauss"}
        json.dumps(found, allow_nan=False)


def a_table(text, **options):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_text(text)
        return datasets.load_table(path, **options)


class TestExperiment:
    def test_what_is_shown(self):
        one = experiment(networkShape=[3, 2], features=["x", "sinY"])
        one.advance(3)
        header, parts = one.picture()
        side = DENSITY // THINNED
        assert header["epoch"] == one.epoch == 3
        assert parts["map"].shape == (DENSITY**2,) and parts["units"].size == 5 * side**2
        assert parts["output"].size == side**2
        assert parts["parameters"].size == 2 * 3 + 3 + 3 * 2 + 2 + 2 + 1
        counts = np.array(header["test"]["counts"])
        assert counts.sum() == 250
        assert header["test"]["accuracy"] == pytest.approx(np.trace(counts) / 250)

    def test_maps_and_losses_are_those_of_the_net(self, tmp_path):
        one = experiment()
        one.advance(5)
        header, parts = one.picture()
        path = tmp_path / "net.safetensors"
        path.write_bytes(one.file("model")[1])
        net = cmlp.load(path)
        top_left = np.float32([[-5.94, 5.94]])
        p = net.predict_proba(top_left)
        assert parts["map"][0] == pytest.approx(2 * p.item() - 1, abs=1e-5)
        found = cmlp.Trainer(net, cmlp.BinaryCrossEntropy()).evaluate(
            one.points.x_test, one.points.y_test
        )
        assert header["test"]["loss"] == pytest.approx(found["loss"], rel=1e-5)
        assert header["test"]["accuracy"] == pytest.approx(found["accuracy"])
        one.look_at([0, 1])
        hidden = cmlp.Sequential(net.layers[0]).predict(top_left)
        assert one.picture()[1]["map"][0] == pytest.approx(hidden[0, 1], abs=1e-5)

    @pytest.mark.parametrize("unit", [[2, 0], [0, 4], [-1, 0]])
    def test_units_that_are_not(self, unit):
        with pytest.raises(ValueError, match="unit is"):
            experiment().look_at(unit)

    def test_no_hidden_layer(self):
        one = experiment(networkShape=[], activations=[], features=["xTimesY"], dataset="xor")
        one.advance(20)
        assert one.picture()[0]["test"]["accuracy"] > 0.8
        assert one.picture()[1]["units"].size == 0

    def test_begin_at_zero(self):
        assert not weights(experiment(initZero=True)).any()

    def test_start_of_the_original(self):
        found = weights(experiment(mode="original", loss="squared"))
        assert (found[8:12] == np.float32(0.1)).all() and abs(found).max() <= 0.5

    def test_other_starts_of_the_same_data(self):
        one, other = experiment(), experiment(start=1)
        assert (one.points.x == other.points.x).all()
        assert (weights(one) != weights(other)).any()

    def test_the_way_back(self):
        one = experiment(optimizer="adam", dropout=0.2)
        seen = [weights(one)]
        for _ in range(4):
            one.advance(2)
            seen.append(weights(one))
        one.back()
        assert one.epoch == 6 and (weights(one) == seen[3]).all()
        one.go_to(3)  # between two places
        one.advance(1)
        assert (weights(one) == seen[2]).all()
        one.go_to(0)
        assert (weights(one) == seen[0]).all()
        one.back()
        assert one.epoch == 0
        with pytest.raises(ValueError, match="epoch is 1; expected 0 to 0"):
            one.go_to(1)

    def test_a_long_way_back(self):
        one = experiment(networkShape=[1], activations=["tanh"])
        found = {}
        for _ in range(450):
            one.advance(1)
            found[one.epoch] = weights(one) if one.epoch in (5, 441) else None
        for epoch in (441, 5):
            one.go_to(epoch)
            assert one.epoch == epoch and (weights(one) == found[epoch]).all()

    def test_changes_while_it_goes_on(self):
        one = experiment(regularization="L2", optimizer="rmsprop")
        one.advance(2)
        changed = {"learningRate": 0.01, "momentum": 0.5, "regularizationRate": 0.1, "batchSize": 7}
        assert one.change(settings(regularization="L2", optimizer="rmsprop", **changed))
        assert one.settings.batchSize == 7
        one.advance(2)
        assert one.epoch == 4
        one.go_to(1)
        assert one.settings == one.begun_with and one.changes == []

    @pytest.mark.parametrize(
        ("before", "change"),
        [
            ({}, {"activations": ["relu", "relu"]}),
            ({}, {"optimizer": "adam"}),
            ({}, {"seed": "0.2"}),
            ({"mode": "original"}, {"batchSize": 20}),
        ],
    )
    def test_changes_that_need_a_new_start(self, before, change):
        one = experiment(**before)
        assert not one.change(settings(**before, **change))
        assert one.settings == one.begun_with

    def test_stopping_at_a_loss(self):
        one = experiment(dataset="gauss", noise=0)
        assert one.advance(100, stop_loss=0.3) == "loss"
        assert 0 < one.epoch < 100
        assert one.picture()[0]["test"]["loss"] <= 0.3
        one.go_to(one.epoch - 1)
        assert one.picture()[0]["test"]["loss"] > 0.3

    def test_a_loss_that_diverges(self):
        one = experiment(
            problem="regression", networkShape=[4, 4], activations=["relu"] * 2, learningRate=100
        )
        assert "NaN or infinite" in one.advance(5)
        assert np.isfinite(weights(one)).all()
        json.dumps(one.picture()[0], allow_nan=False)

    @pytest.mark.parametrize("kind", ["model", "onnx", "c"])
    def test_files(self, kind):
        if kind == "onnx":
            pytest.importorskip("onnx")
        name, content = experiment().file(kind)
        assert name.startswith("net.") and len(content) > 100

    @pytest.mark.parametrize(
        ("layer", "part", "index"),
        [(3, "weight", (0, 0)), (0, "weight", (9, 9)), (0, "bias", (0, 0)), (0, "scale", (0,))],
    )
    def test_weights_that_are_not(self, layer, part, index):
        one = experiment()
        before = weights(one)
        with pytest.raises((ValueError, IndexError)):
            one.edit(layer, part, index, 1.0)
        assert (weights(one) == before).all() and one.changes == []


class TestOriginalMinibatches:
    """Those left over at the end of an epoch go into the first minibatch of the next."""

    def test_none_left_over(self):
        x = np.arange(12.0)
        assert carried(x, x, 4)[2:] == (None, 4)
        assert carried(x, x, 100)[2:] == (None, 12)

    def test_as_the_original_adds_them_up(self):
        """Its loop over all samples, with an update at each multiple of the batch size."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(11, 2)).astype(np.float32)
        y = rng.normal(size=(11, 1)).astype(np.float32)
        net = cmlp.Sequential(cmlp.Dense(2, 1), seed=0)
        w, b = net.layers[0].weight[0].astype(float), 0.0
        total, count = np.zeros(3), 0
        for epoch in range(3):
            first = range(8, 11) if epoch == 0 else ()  # as ours has them from the beginning
            for i in [*first, *range(11)]:
                error = x[i] @ w + b - y[i, 0]
                total += [*(error * x[i]), error]
                count += 1
                if count > 3 * (not epoch) and (i + 1) % 4 == 0:
                    w, b = w - 0.1 * total[:2] / count, b - 0.1 * total[2] / count
                    total, count = np.zeros(3), 0
        xs, ys, by, size = carried(x, y, 4)
        trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.SGD(0.1))
        trainer.fit(xs, ys, epochs=3, batch_size=size, shuffle=False, sample_weight=by)
        np.testing.assert_allclose(net.get_flat(), [*w, b], rtol=1e-5)


PROGRAMS = {
    "default": {},
    "regression": {"problem": "regression", "regDataset": "reg-gauss", "optimizer": "adam"},
    "original": {"mode": "original", "loss": "squared", "initZero": True},
    "left_over": {"mode": "original", "loss": "squared", "percTrainData": 30, "batchSize": 7},
    "all_settings": {
        "features": list(FEATURES), "networkShape": [3, 2, 2],
        "activations": ["relu", "linear", "gelu"], "optimizer": "rmsprop", "momentum": 0.5,
        "regularization": "L1", "regularizationRate": 0.001, "dropout": 0.1, "batchSize": 13,
        "noise": 25, "percTrainData": 70, "start": 5, "seed": "any text",
    },
    "drawn": {"dataset": "own"},
    "drawn_numbers": {"problem": "regression", "regDataset": "own"},
}  # fmt: skip


class TestProgram:
    """It ends with the same weights as the page, bit by bit."""

    def same(self, one):
        names, shown = run_program(program(one))
        assert names["net"].get_flat().tobytes() == weights(one).tobytes()
        loss = float(shown.split()[-1])
        assert one.picture()[0]["test"]["loss"] == pytest.approx(loss, rel=1e-5)

    @pytest.mark.parametrize("changed", PROGRAMS.values(), ids=PROGRAMS)
    def test_of_a_training(self, changed):
        one = experiment(**changed)
        self.same(one)
        one.advance(3)
        one.advance(2)
        self.same(one)
        one.back()
        self.same(one)

    @pytest.mark.parametrize("text", [CSV, NUMBERS], ids=["classes", "numbers"])
    def test_of_a_table(self, text, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        name = 'mine "1".csv'
        (tmp_path / name).write_text(text)
        table = points.read_table(name, text.encode())
        problem = "classification" if table.classifies else "regression"
        one = experiment(table=table, problem=problem, dataset="file", regDataset="file")
        one.advance(3)
        self.same(one)

    @pytest.mark.parametrize("mode", ["textbook", "original"])
    @pytest.mark.parametrize("regularization", ["L1", "L2"])
    def test_with_changes_by_hand(self, mode, regularization):
        kept = {"mode": mode, "regularization": regularization}
        batch = {} if mode == "original" else {"batchSize": 20}
        one = experiment(**kept)
        one.edit(0, "weight", (1, 0), -0.75)
        one.advance(2)
        changed = {"learningRate": 0.1, "momentum": 0.9, "regularizationRate": 0.01}
        one.change(settings(**kept, **changed, **batch))
        one.advance(3)
        one.edit(2, "bias", (0,), 0.5)
        self.same(one)
        one.advance(1)
        self.same(one)
        one.go_to(3)
        self.same(one)


class TestMessages:
    def test_packed_arrays_are_found_again(self):
        parts = {"a": np.arange(5, dtype=np.int8), "b": np.float32([[1.5, -2]])}
        content = messages.pack({"is": "x", "text": "é"}, parts)
        length = int.from_bytes(content[:4], "little")
        header = json.loads(content[4 : 4 + length])
        assert header["text"] == "é"
        place = 4 + length
        for name, kind, size in header["parts"]:
            place += -place % 4
            found = np.frombuffer(content, kind, size, place)
            assert found.tolist() == parts[name].ravel().tolist()
            place += found.nbytes

    @pytest.mark.parametrize(
        "text", ["", "[]", "{", '"play"', '{"do": 1}', '{"do": NaN}', "{}", "[" * 100000]
    )
    def test_no_message(self, text):
        with pytest.raises(ValueError, match="the message is no|no number of JSON"):
            messages.read(text)
