"""The command line on tables as they come."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click")
pytest.importorskip("pyarrow")
from cli_parts import run, told

import cmlp

fixture = run  # which has to be named here

SMALL = ["--layers", "4", "--epochs", "2", "--no-picture"]
N = 60


def write(name, head, row, n=N):
    Path(name).write_text("\n".join([*([head] if head else []), *map(row, range(n))]) + "\n")
    return name


def test_what_was_taken_for_what_is_shown_before_training(run):
    write("t.csv", "0;1;2;grade", lambda i: f"{i},5;{i % 7};{i % 3};{'ab'[i % 2]}")
    code, text, err = run("train", "t.csv", *SMALL)
    assert (code, err) == (0, "")
    rows = told(text)
    assert rows["data"] == "t.csv"
    assert rows["read with"] == "separator semicolon, header the first row, decimal comma"
    assert rows["target"] == "grade"
    assert rows["task"] == "classification, 2 classes: a 30, b 30"
    assert rows["features"] == "3: '0', '1', '2'"
    assert rows["rows"] == "43 training, 5 validation, 12 test"
    assert rows["learning rate"] == "0.001"
    assert cmlp.load("t.safetensors").metadata["reading"] == {"header": True}


@pytest.mark.parametrize("header", [True, False])
def test_the_header_is_kept_in_the_model_for_every_command(run, header):
    """The rows below do not tell whether the first one is a header."""
    write("t.csv", "7,8,9", lambda i: f"{i % 9},{i % 7},{i % 2}")
    assert run("train", "t.csv", *SMALL, "--header" if header else "--no-header")[0] == 0
    net = cmlp.load("t.safetensors")
    assert net.preprocessing.feature_names == (("7", "8") if header else ("1", "2"))
    if not header:  # the label 9 was a sample's
        assert net.classes.tolist() == [0, 1, 9]
    for given, n in (([], N + 1 - header), (["--header"], N), (["--no-header"], N + 1)):
        if given and given != (["--header"] if header else ["--no-header"]):
            continue  # then the columns have other names
        code, text, _ = run("predict", "t.safetensors", "t.csv", *given)
        assert (code, len(text.splitlines())) == (0, n + 1)
        code, text, _ = run("evaluate", "t.safetensors", "t.csv", *given)
        assert (code, told(text)["samples"]) == (0, str(n))


def test_layout_options_for_every_command(run):
    text = "".join(f"{i},5:{i % 3}:{'weg' if i == 0 else 'äö'[i % 2]}\n" for i in range(1, N))
    Path("t.csv").write_bytes(("größe:b:y\n" + text).encode("cp1252"))
    layout = ["--delimiter", ":", "--decimal", ",", "--encoding", "cp1252", "--na-values", "weg"]
    assert run("train", "t.csv", *SMALL, *layout)[0] == 0
    net = cmlp.load("t.safetensors")
    assert net.preprocessing.feature_names == ("größe", "b")
    assert net.classes.tolist() == ["ä", "ö"]
    assert net.metadata["reading"] == {
        "header": True, "delimiter": ":", "decimal": ",", "encoding": "cp1252",
        "na_values": ["weg"],
    }  # fmt: skip
    assert run("evaluate", "t.safetensors", "t.csv")[0] == 0
    predicted = run("predict", "t.safetensors", "t.csv")[1]
    Path("new.csv").write_text("größe\tb\n1.5\t2\n", encoding="utf-8")
    other = ["--delimiter", "tab", "--decimal", ".", "--encoding", "utf-8"]
    code, text, _ = run("predict", "t.safetensors", "new.csv", *other)
    assert (code, text.splitlines()[1]) == (0, predicted.splitlines()[1])


# ---- digits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unix_times_keep_their_values(run, dtype):
    write("t.csv", "time,y", lambda i: f"{1_700_000_000 + i},{'ab'[i % 2]}", 100)
    code, _, err = run("train", "t.csv", *SMALL, "--dtype", dtype)
    assert (code, err) == (0, "")
    net = cmlp.load("t.safetensors")
    rows = net.preprocessing.rows(1_700_000_000.0 + np.arange(100)[:, None], "x", dtype, 1)
    assert len(np.unique(rows)) == 100


def test_columns_that_lose_values_are_reported(run):
    write("t.csv", "id,time,y", lambda i: f"{2**60 + i},{1.7e9 + i},{'ab'[i % 2]}")
    _, _, err = run("train", "t.csv", *SMALL, "--no-standardize")
    lost, kept = err.splitlines()[:2]
    assert "column 'id' has whole numbers of more than 15 digits" in lost
    assert "column 'time' has 43 different values, of which float32 keeps" in kept
    Path("far.csv").write_text(
        "a,y\n"
        + "".join(f"{1e15 if i else 0.25 + i},{'ab'[i % 2]}\n" for i in range(40))
        + "0.5,a\n"
    )
    assert run("train", "far.csv", *SMALL, "--dtype", "float64")[2] == ""


# ---- columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        ["--features", "Temp, C", "--features", "b"],
        ["--features", "b,Temp, C"],
        ["--features", "@names.txt"],
    ],
)
def test_features_with_commas_in_their_names(run, given):
    write("t.csv", '"Temp, C",b,"c,d",y', lambda i: f"{i},{i % 7},x,{'ab'[i % 2]}")
    Path("names.txt").write_text("Temp, C\n\nb\n")
    code, _, err = run("train", "t.csv", *SMALL, *given)
    if given[1] == "b,Temp, C":  # joined, of which one name is none
        assert code == 2 and "has no column 'Temp'" in err
        return
    assert code == 0
    assert cmlp.load("t.safetensors").preprocessing.feature_names == ("Temp, C", "b")


def test_an_index_is_left_out_and_said(run):
    write("t.csv", ",a,y", lambda i: f"{i},{i % 7},{'ab'[i % 2]}")
    rows = told(run("train", "t.csv", *SMALL)[1])
    assert rows["features"] == "1: 'a'"
    assert rows["read with"].endswith("index 1")


def test_packed_files_and_standard_input(run, monkeypatch):
    write("t.csv", "a,b,y", lambda i: f"{i},{i % 7},{'ab'[i % 2]}")
    text = Path("t.csv").read_bytes()
    Path("u.csv.gz").write_bytes(gzip.compress(text))
    for source in ("t.csv", "u.csv.gz"):
        assert run("train", source, *SMALL)[0] == 0
    one, other = Path("t.safetensors"), Path("u.safetensors")
    assert cmlp.load(one).get_flat().tolist() == cmlp.load(other).get_flat().tolist()
    assert run("train", "-", *SMALL, input=text)[0] == 0
    assert cmlp.load("stdin.safetensors").classes.tolist() == ["a", "b"]
    expected = run("predict", "t.safetensors", "u.csv.gz")[1]
    assert run("predict", "t.safetensors", "-", input=text)[1] == expected
    assert run("predict", "t.safetensors", "t.csv", "--out", "-")[1] == expected
    assert not Path("-").exists()


def test_two_targets(run):
    write("t.csv", "a,u,v", lambda i: f"{i % 7},{i % 7 + 0.5},{i % 7 - 3.5}")
    code, text, _ = run("train", "t.csv", *SMALL, "--target", "u", "--target", "v")
    assert code == 0
    assert told(text)["task"] == "regression of 2 targets"
    assert told(text)["target"] == "u, v"
    assert cmlp.load("t.safetensors").metadata["target"] == ["u", "v"]
    assert run("evaluate", "t.safetensors", "t.csv")[0] == 0
    assert run("predict", "t.safetensors", "t.csv")[1].startswith("prediction 1,prediction 2\n")


def test_truth_values_as_text(run):
    write("t.csv", "paid,y", lambda i: f"{i % 2 == 0},{i % 2 == 0}")
    text = run("train", "t.csv", *SMALL)[1]
    assert told(text)["task"] == "classification, 2 classes: False 30, True 30"
    assert run("predict", "t.safetensors", "t.csv")[1].split()[1] in ("True", "False")


# ---- resume, names of files, messages ----------------------------------------------------------


def test_resume_takes_the_same_options(run):
    write("t.csv", "a,b,y", lambda i: f"{i},{i % 7},{i % 2}")
    options = [*SMALL, "--target", "y", "--lr", "0.01", "--header", "--features", "a,b"]
    assert run("train", "t.csv", *options, "--checkpoint", "c")[0] == 0
    assert run("train", "t.csv", *options, "--resume", "c", "--epochs", 4)[0] == 0
    for changed in (["--lr", "0.02"], ["--no-header"], ["--target", "a"], ["--delimiter", ";"]):
        code, _, err = run("train", "t.csv", "--resume", "c", *changed)
        assert code == 2
        assert err.startswith(f"cmlp: {changed[0].replace('no-', '')}: was ")


@pytest.mark.parametrize("name", ["m.onnx", "m.c", "m.pt", "m.h5", "m.json", "m.csv"])
def test_no_model_is_written_where_the_name_promises_another_format(run, name):
    code, _, err = run("train", "xor", *SMALL, "--out", name)
    assert code == 2
    assert f"--out: {name} is no model file, expected a name that ends in .safetensors" in err
    assert ("cmlp export" in err) == (name in ("m.onnx", "m.c"))
    assert not Path(name).exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "none.csv", "--target", "y"], "none.csv: No such file or directory"),
        (["train", "none.csv.gz"], "none.csv.gz: No such file or directory"),
        (["train", "nowhere", "--target", "y"], "no data at 'nowhere'"),
        (["predict", "m", "none.csv"], "none.csv: No such file or directory"),
        (["train", "digits", "--target", "y"], "--target: for tables alone"),
        (["train", "digits", "--no-header"], "--header: for tables alone"),
        (["train", "t.csv", "--target", "y", "--target", "y"], "--target: 'y' is given twice"),
        (["train", "two.csv"], "two has 2 rows; expected at least 3 for training, validation"),
        (["train", "one.csv", "--validation", "0"], "one has 1 rows; expected at least 2 for"),
        (["train", "many.csv"], "task='classification' or task='regression' to be given"),
        (["train", "t.csv", "--delimiter", ";;"], "delimiter: got ';;', expected one character"),
        (["train", "t.csv", "--features", "@none"], "none"),
    ],
)
def test_wrong_input_is_one_line(run, args, message):
    write("t.csv", "a,b,y", lambda i: f"{i},{i % 7},{i % 2}")
    write("two.csv", "a,y", lambda i: f"{i},{i}.5", 2)
    write("one.csv", "a,y", lambda i: f"{i},{i}.5", 1)
    write("many.csv", "a,y", lambda i: f"{i},{i}")
    cmlp.Sequential(cmlp.Dense(2, 1), seed=0).save("m")
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_short_help(run):
    for name in ("train", "evaluate", "predict", "export", "playground-run", "info"):
        assert run(name, "-h")[1] == run(name, "--help")[1] != ""
    assert run("-h")[1] == run()[1]


def test_without_pyarrow_it_says_what_to_install(run, monkeypatch):
    write("t.csv", "a,y", lambda i: f"{i},{i % 2}")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run("train", "t.csv")
    assert (code, err) == (2, "cmlp: tables need pyarrow: pip install cmlp[data]\n")
    np.savez("t.npz", x=np.eye(6), y=np.arange(6) % 2)
    assert run("train", "t.npz", *SMALL)[0] == 0
