import numpy as np
import pytest

from cmlp import checks


class TestArrays:
    def test_same_array_where_it_fits(self):
        a = np.ones((3, 2), "f")
        assert checks.as_float(a, "x", "float32") is a
        assert checks.as_rows(a, "x", "float32", 2) is a

    @pytest.mark.parametrize(
        "value",
        [
            [[1, 2], [3, 4]],
            ((1.0, 2.0), (3.0, 4.0)),
            np.array([[1, 2], [3, 4]], object),
            np.array([[1, 2], [3, 4]], np.longdouble),
            np.array([[1, 2], [3, 4]], ">i2"),
            np.array([[1.0, 2.0], [3.0, 4.0]]).view(np.recarray),
        ],
        ids=lambda v: type(v).__name__,
    )
    def test_numbers_of_any_kind(self, value):
        a = checks.as_float(value, "x", "float64")
        assert type(a) is np.ndarray
        assert a.dtype == np.float64
        assert a.flags.c_contiguous
        assert a.tolist() == [[1.0, 2.0], [3.0, 4.0]]

    def test_unaligned(self):
        raw = np.frombuffer(b"x" + np.arange(4.0).tobytes(), np.float64, offset=1)
        assert not raw.flags.aligned
        a = checks.as_float(raw, "x", "float64")
        assert a.flags.aligned
        assert a.tolist() == [0.0, 1.0, 2.0, 3.0]

    @pytest.mark.parametrize(
        "value",
        [
            "text",
            [["a"]],
            [None],
            np.array([1, "a"], object),
            np.array(["2020-01-01"], "M8[D]"),
            np.array([1j]),
            object(),
            {"a": 1},
            np.zeros(2, [("a", "f4")]),
        ],
        ids=repr,
    )
    def test_what_are_no_numbers(self, value):
        with pytest.raises(TypeError, match="^x has dtype .*; expected real numbers"):
            checks.as_float(value, "x", "float32")

    def test_what_is_no_array(self):
        class Broken:
            def __array__(self, dtype=None, copy=None):
                raise RuntimeError("on another device")

        with pytest.raises(TypeError, match=r"x cannot be read as an array \(Broken\): on another"):
            checks.as_array(Broken(), "x")
        with pytest.raises(ValueError, match=r"x cannot be read as an array \(list\)"):
            checks.as_array([[1.0], [1.0, 2.0]], "x")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("at", [0, 99_999, 131_071])
    def test_where_a_number_is_missing(self, bad, at):
        a = np.ones((131_072 // 4, 4))
        a.flat[at] = bad
        row, column = divmod(at, 4)
        with pytest.raises(ValueError, match=rf"x holds {bad} at \[{row}, {column}\]"):
            checks.check_finite(a, "x")

    def test_a_sum_may_overflow(self):
        checks.check_finite(np.full(10, 3e38, "f"), "x")
        checks.check_finite(np.array([3e38, 3e38, -3e38], "f"), "x")
        with pytest.raises(ValueError, match=r"holds inf at \[1\] \(as float32\)"):
            checks.as_float([1.0, 1e39], "x", "float32")

    def test_empty_and_flat(self):
        for value in (np.ones((0, 3)), np.ones((3, 0))):
            with pytest.raises(ValueError, match="x is empty"):
                checks.as_rows(value, "x", "float32", None)
        for value in (3.0, [1.0], np.ones((1, 1, 1))):
            with pytest.raises(ValueError, match=r"x has shape .*; expected \(batch, n_in\)"):
                checks.as_rows(value, "x", "float32", None)


class TestNumbers:
    def test_ranges_are_named(self):
        assert checks.number(np.float32(0.5), "rate", 0.0, 1.0) == 0.5
        for value, options, words in (
            (-1, {"low": 0.0}, r"rate is -1; expected a number in \[0, inf\)"),
            (0, {"low": 0.0, "open_low": True}, r"expected a number in \(0, inf\)"),
            (1, {"high": 1.0, "open_high": True}, r"expected a number in \(-inf, 1\)"),
            (float("inf"), {}, "rate is inf"),
        ):
            with pytest.raises(ValueError, match=words):
                checks.number(value, "rate", **options)
        for value in ("1", None, True, np.bool_(True), 1j, [1]):
            with pytest.raises(TypeError, match="rate is"):
                checks.number(value, "rate")

    def test_integers(self):
        assert checks.positive_int(np.uint8(3), "n") == 3
        for value in (1.0, "1", True, None):
            with pytest.raises(TypeError, match="n is .*; expected an integer >= 1"):
                checks.positive_int(value, "n")
        assert checks.positive_int(2**63 - 1, "n") == 2**63 - 1
        for value in (2**63, 10**5000, -(10**5000)):
            with pytest.raises(ValueError, match=r"n is of \d+ bits; expected less than 2\*\*63"):
                checks.positive_int(value, "n")

    def test_seed_and_dtype(self):
        assert checks.seed(2**64 - 1) == 2**64 - 1
        assert checks.float_dtype(np.float32) == "float32"
        assert checks.float_dtype(np.dtype("f8")) == "float64"
        for value in ("f2", "float", int, "text", 3):
            if value == "float":
                assert checks.float_dtype(value) == "float64"
                continue
            with pytest.raises(ValueError, match="dtype is"):
                checks.float_dtype(value)

    def test_choice(self):
        with pytest.raises(ValueError, match="mode is 'x'; expected one of a, b"):
            checks.choice("x", "mode", ("a", "b"))
        with pytest.raises(TypeError, match="mode is 3"):
            checks.choice(3, "mode", ("a", "b"))


class TestLabels:
    @pytest.mark.parametrize("dtype", ["i1", "u8", ">i4", "f4", "?", object])
    def test_any_type(self, dtype):
        values = np.array([1, 0, 1]).astype(dtype)
        labels = checks.as_labels(values, "y", 2)
        assert labels.dtype == np.int64
        assert labels.tolist() == [1, 0, 1]

    def test_classes(self):
        text = np.array(["a", "b"])
        assert checks.as_labels(np.array(["b", "a"], object), "y", 2, text).tolist() == [1, 0]
        numbers = np.array([1, 5])
        assert checks.as_labels([5.0, 1.0], "y", 2, numbers).tolist() == [1, 0]
        with pytest.raises(ValueError, match="label 7.0; expected one of 1, 5"):
            checks.as_labels([7.0], "y", 2, numbers)
        with pytest.raises(ValueError, match="labels such as 'a'"):
            checks.as_labels(["a"], "y", 2, numbers)

    def test_find(self):
        assert checks.find_classes(["b", "a", "b"], "y").tolist() == ["a", "b"]
        assert checks.find_classes([True, True], "y").tolist() == [False, True]
        assert checks.find_classes([3, 4], "y") is None
