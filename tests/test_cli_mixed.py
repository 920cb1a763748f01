"""The command line on tables with more than numbers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")
from cli_parts import run, told

import cmlp
from cmlp.cli import data

fixture = run  # which has to be named here

SMALL = ["--layers", "8", "--epochs", "3", "--no-picture"]
N = 80


def homes(name="homes.csv", change=None):
    """A table of numbers, texts, truth values, days, gaps and names; ``change`` alters a row."""
    rng = np.random.default_rng(0)
    lines = ["name,size,city,sold,garden,price"]
    for i in range(N):
        size = rng.normal(100, 30)
        row = {
            "name": f"home {i}",
            "size": "?" if i % 9 == 0 else f"{size:.1f}",
            "city": ["Bonn", "Köln", "", "Ulm"][rng.integers(4)],
            "sold": str(np.datetime64("2024-01-01") + rng.integers(700)),
            "garden": str(bool(rng.integers(2))),
            "price": f"{2000 * size:.2f}",
        }
        if change is not None:
            change(i, row)
        lines.append(",".join(row.values()))
    Path(name).write_text("\n".join(lines) + "\n")
    return name


def test_a_mixed_table_just_works(run):
    code, text, err = run("train", homes(), *SMALL, "--target", "price")
    assert code == 0
    assert "column 'name' has 58 different texts in 58 rows, and is left out" in err
    rows = told(text)
    assert rows["task"] == "regression"
    assert rows["column 'size'"].startswith("number (robust, center ")
    assert rows["column 'size'"].endswith(", missing or not)")
    assert rows["column 'city'"].startswith("category (3 values: ")
    assert rows["column 'sold'"] == "time (trend, month, weekday)"
    assert rows["column 'garden'"].startswith("category (2 values: ")
    again = run("evaluate", "homes.safetensors", "homes.csv", "--part", "test")[1]
    assert told(again)["r2"] == rows["test r2"]
    net = cmlp.load("homes.safetensors")
    assert net.preprocessing.feature_names == ("size", "city", "sold", "garden")
    y = net.predict(cmlp.datasets.read_table("homes.csv"))
    lines = run("predict", "homes.safetensors", "homes.csv")[1].splitlines()[1:]
    np.testing.assert_array_equal(np.array(lines, dtype="f4"), y[:, 0])


def test_predict_finds_columns_by_name_and_says_what_is_missing(run):
    run("train", homes(), *SMALL)
    wanted = run("predict", "homes.safetensors", "homes.csv")[1]
    table = [line.split(",") for line in Path("homes.csv").read_text().splitlines()]
    order = [4, 2, 3, 1]  # without the target and the names
    Path("new.csv").write_text("\n".join(",".join(row[i] for i in order) for row in table) + "\n")
    assert run("predict", "homes.safetensors", "new.csv")[1] == wanted
    Path("less.csv").write_text("\n".join(",".join(row[i] for i in order[:2]) for row in table))
    code, _, err = run("predict", "homes.safetensors", "less.csv")
    assert code == 2
    assert "less.csv lacks the columns 'size', 'sold'; it has 'garden', 'city'" in err
    Path("new.csv").write_text(
        "size,city,sold,garden\n1,x,2024-01-01,True\nbig,x,2024-01-01,True\n"
    )
    code, _, err = run("predict", "homes.safetensors", "new.csv")
    assert (code, "line 3, column 'size': 'big' is not a number" in err) == (2, True)
    code, _, err = run("evaluate", "homes.safetensors", "xor")
    assert (code, "the model takes a table with the columns 'size'" in err) == (2, True)


def parts_of(path):
    """The numbers of the rows that training, validation and test have."""
    loaded = data.load(path)
    numbers = loaded._replace(table=None)
    return [part.x[:, 0].astype(int) for part in data.part(numbers, None, 0.1)]


def test_only_the_training_part_is_learnt_from(run):
    """Preprocessing and weights stay the same whatever stands in the other rows."""
    train, *others = parts_of(homes())
    hidden = {int(i) for rows in others for i in rows}
    assert len(train) + len(hidden) == N

    def change(i, row):
        if i in hidden:
            row.update(size="1e9", city="Atlantis", sold="1900-02-03", garden="", price="-1e9")

    for name, how in (("homes.csv", None), ("changed.csv", change)):
        assert run("train", homes(name, how), *SMALL, "--last-epoch")[0] == 0
    one, other = (cmlp.load(f"{name}.safetensors") for name in ("homes", "changed"))
    assert one.preprocessing.scales_as(other.preprocessing)
    np.testing.assert_array_equal(one.get_flat(), other.get_flat())

    def change_one(i, row):  # and the test can fail
        if i == train[0]:
            row.update(city="Atlantis")

    assert run("train", homes("third.csv", change_one), *SMALL)[0] == 0
    assert not cmlp.load("third.safetensors").preprocessing.scales_as(one.preprocessing)


def test_kinds_and_numbers_can_be_given(run):
    kinds = ["--kind", "garden=ignore", "--kind", "name=category", "--numbers", "quantile"]
    rows = told(run("train", homes(), *SMALL, *kinds)[1])
    assert rows["column 'size'"] == "number (by quantiles, missing or not)"
    assert "column 'garden'" not in rows
    assert rows["column 'name'"].startswith("category (58 values: 'home 0', ")
    for wrong in ("garden", "garden=colour", "=number"):
        code, _, err = run("train", "homes.csv", "--kind", wrong)
        assert (code, "is not NAME=KIND with one of number, category, time" in err) == (2, True)
    code, _, err = run("train", "homes.csv", "--kind", "colour=number")
    assert (code, "no column 'colour'" in err) == (2, True)


def test_a_table_of_numbers_is_standardised_as_before_unless_told(run):
    lines = "".join(f"{i},{i % 7},{'ab'[i % 2]}\n" for i in range(60))
    Path("t.csv").write_text(f"a,b,y\n{lines}")
    run("train", "t.csv", *SMALL)
    assert cmlp.load("t.safetensors").preprocessing.table is None
    run("train", "t.csv", *SMALL, "--kind", "b=category")
    encoders = cmlp.load("t.safetensors").preprocessing.table.encoders
    assert [encoder.kind for encoder in encoders.values()] == ["number", "category"]


def test_a_cell_that_is_no_number_is_no_category(run):
    lines = "".join(f"{'oops' if i == 7 else i},u,{'ab'[i % 2]}\n" for i in range(60))
    Path("t.csv").write_text(f"a,b,y\n{lines}")
    code, _, err = run("train", "t.csv", *SMALL)
    assert code == 2
    assert "line 9, column 'a': 'oops' is not a number, as other cells are" in err
    assert run("train", "t.csv", *SMALL, "--na-values", "oops")[0] == 0
    assert run("train", "t.csv", *SMALL, "--kind", "a=category")[0] == 0


def test_training_on_a_mixed_table_goes_on(run):
    assert run("train", homes(), *SMALL, "--checkpoint", "c")[0] == 0
    assert run("train", "--resume", "c", "--epochs", 6, "--no-picture")[0] == 0
    resumed = cmlp.load("homes.safetensors")
    assert run("train", "homes.csv", *SMALL, "--epochs", 6, "--out", "whole")[0] == 0
    np.testing.assert_array_equal(resumed.get_flat(), cmlp.load("whole").get_flat())


@pytest.mark.parametrize("part", [None, "all", "train", "test"])
def test_evaluate_says_when_it_has_rows_that_were_trained_on(run, part):
    run("train", homes(), *SMALL)
    Path("other.csv").write_bytes(Path("homes.csv").read_bytes())
    given = [] if part is None else ["--part", part]
    for source in ("homes.csv", "other.csv"):
        code, _, err = run("evaluate", "homes.safetensors", source, *given)
        assert code == 0
        assert ("was trained on" in err) == (part != "test" and source == "homes.csv")


# ---- predict --keep, describe, the best epoch ----------------------------------------------------


def test_predictions_beside_columns_of_the_data(run):
    import csv

    run("train", homes(), *SMALL)
    plain = run("predict", "homes.safetensors", "homes.csv")[1].splitlines()
    text = run("predict", "homes.safetensors", "homes.csv", "--keep", "name", "--keep", "size")[1]
    rows = list(csv.reader(text.splitlines()))
    table = list(csv.reader(Path("homes.csv").read_text().splitlines()))
    assert rows == [[*row[:2], y] for row, y in zip(table, plain, strict=True)]
    text = run("predict", "homes.safetensors", "homes.csv", "--keep", "*")[1]
    rows = list(csv.reader(text.splitlines()))
    assert rows == [[*row, y] for row, y in zip(table, plain, strict=True)]
    for source, name, message in (
        ("homes.csv", "colour", "has no column 'colour'"),
        ("xor", "name", "--keep: for tables with names"),
    ):
        code, _, err = run("predict", "homes.safetensors", source, "--keep", name)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err or "the model takes a table" in err


def test_describe(run):
    rows = told(run("describe", homes())[1])
    assert (rows["rows"], rows["separator"], rows["header"]) == ("80", "comma", "the first row")
    assert rows["column 'size'"].startswith("number, 69 different, 9 missing, from ")
    assert rows["column 'sold'"].startswith("time, ")
    assert rows["column 'garden'"].startswith("truth, 2 different, '")
    assert rows["column 'name'"].startswith("text, 80 different, 'home 0', 'home 1'")
    run("train", "homes.csv", *SMALL)
    rows = told(run("describe", "homes.safetensors")[1])
    assert rows["outputs"] == "numbers"
    assert rows["column 'size'"].startswith("number (robust")
    assert rows["trained on"] == "homes.csv"
    assert "Dense" in rows["layers"]
    assert "1797" in run("describe", "digits")[1].replace(",", "")
    for wrong in ("none.csv", "nowhere"):
        code, out, err = run("describe", wrong)
        assert (code, out, err.count("\n")) == (2, "", 1)


def test_the_best_epoch_is_kept(run):
    """A learning rate at which the validation loss rises again."""
    rng = np.random.default_rng(1)
    lines = [f"{a},{b},{'ab'[i % 2]}" for i, (a, b) in enumerate(rng.normal(size=(120, 2)))]
    Path("t.csv").write_text("\n".join(["u,v,y", *lines]) + "\n")
    options = ["t.csv", "--epochs", 40, "--lr", 0.02, "--layers", "64", "--no-picture"]
    rows = told(run("train", *options)[1])
    assert rows["epochs"] == "40"
    epoch, best, last = (re.sub("[,;]", "", rows["kept"]).split()[i] for i in (1, 4, -1))
    assert int(epoch) < 40
    assert float(best) < float(last)
    net = cmlp.load("t.safetensors")
    assert run("train", *options[:2], epoch, *options[3:], "--last-epoch", "--out", "m")[0] == 0
    np.testing.assert_array_equal(cmlp.load("m").get_flat(), net.get_flat())
    assert "kept" not in told(run("train", *options, "--last-epoch", "--out", "n")[1])
    assert (cmlp.load("n").get_flat() != net.get_flat()).any()
