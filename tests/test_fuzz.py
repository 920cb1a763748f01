"""The fuzzer itself: a sample of its files, and whether it notices what it is to notice."""

import ctypes
import os
import time

import fuzz
import mutations
import pytest

import cmlp

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/clear_refs"), reason="memory is measured on Linux alone"
)
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def files():
    return mutations.whole_files()


def judge(read, tmp_path, kind="idx", size=0):
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    return fuzz.judge(read, kind, path, True)


def test_whole_files_are_read(files, tmp_path):
    for kind, contents in files.items():
        for data in contents[:3]:
            path = tmp_path / f"whole.{kind}"
            path.write_bytes(data)
            assert fuzz.judge(fuzz.READERS[kind], kind, path, True) == ("read", "")


def test_a_sample(files, tmp_path):
    outcomes = set()
    for i in range(1000):
        kind, data = mutations.mutated(7, i, files)
        path = tmp_path / f"damaged.{kind}"
        path.write_bytes(data)
        outcome, fault = fuzz.judge(fuzz.READERS[kind], kind, path, False)
        assert not fault, f"file {i} of seed 7: {fault}"
        outcomes.add(outcome)
    assert outcomes == {"read", "FormatError", "ValueError"}


def test_a_file_follows_from_its_number(files):
    assert mutations.mutated(7, 99, files) == mutations.mutated(7, 99, mutations.whole_files())
    assert len({mutations.mutated(seed, i, files) for seed in (7, 8) for i in range(50)}) > 95


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("idx", KeyError("shape")),
            ("idx", MemoryError()),
            ("idx", ValueError("task: a word of another reader")),
            ("csv", ValueError("could not convert")),
            ("csv", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "task: ")),
            ("model", cmlp.FormatError("two\nlines")),
            ("model", cmlp.FormatError("x" * 5000)),
        ],
        ids=repr,
    )
    def test_exceptions_that_are_not_documented(self, kind, error, tmp_path):
        def read(path):
            raise error

        assert judge(read, tmp_path, kind)[1].startswith(type(error).__name__)

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("model", cmlp.FormatError("f: no")),
            ("csv", ValueError("task: f has words")),
            ("checkpoint", ValueError("loss is None; expected the loss of your own")),
        ],
        ids=repr,
    )
    def test_exceptions_that_are(self, kind, error, tmp_path):
        def read(path):
            raise error

        assert judge(read, tmp_path, kind) == (type(error).__name__, "")

    def test_time(self, tmp_path, monkeypatch):
        monkeypatch.setattr(fuzz, "MOST_SECONDS", 0.01)

        def read(path):
            end = time.process_time() + 0.02
            while time.process_time() < end:
                pass
            return 0

        assert judge(read, tmp_path)[1] == "0.0 s"

    @pytest.mark.parametrize(("size", "held", "fine"), [(0, 0, False), (8, 0, True), (0, 8, True)])
    def test_memory(self, size, held, fine, tmp_path):
        """40 MB are too many for a small file, and not for a file or arrays of 8 MB."""

        def read(path):
            bytearray(b"x" * 20 * MEGABYTE)
            return held * MEGABYTE

        fault = judge(read, tmp_path, size=size * MEGABYTE)[1]
        assert ("bytes of memory" in fault) != fine


def crash(path):
    ctypes.string_at(0)


def hang(path):
    time.sleep(100)


def fine(path):
    return 0


@pytest.mark.parametrize(
    ("bad", "fault"), [(crash, "ended with"), (hang, "no answer")], ids=["crash", "hang"]
)
def test_crashes_and_hangs_are_found_and_survived(bad, fault, files, monkeypatch):
    monkeypatch.setattr(fuzz, "MOST_WAIT", 1.0)
    kinds = [mutations.mutated(1, i, files)[0] for i in range(8)]
    readers = dict.fromkeys(files, fine) | {kinds[3]: bad}
    found = {i: result for i, *result in fuzz.fuzz(1, 0, 8, workers=1, readers=readers)}
    assert sorted(found) == list(range(8))
    for i, kind in enumerate(kinds):
        assert (fault in found[i][2]) == (kind == kinds[3])
