import errno
import json
import os
import signal
import stat
import subprocess
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cmlp
from cmlp.export import files
from cmlp.layers import registry


def make(dtype="float32"):
    return cmlp.Sequential(
        cmlp.Dense(4, 5, activation=cmlp.LeakyReLU(0.2)),
        cmlp.Dropout(0.25),
        cmlp.PReLU(),
        cmlp.Dense(5, 3, bias=False),
        cmlp.Softmax(),
        dtype=dtype,
        seed=9,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


def parts(data):
    """(header, description of the net, tensors) of a file."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    return header, json.loads(header["__metadata__"]["cmlp"]), data[8 + size :]


def join(header, about, tensors):
    header["__metadata__"]["cmlp"] = json.dumps(about)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_net(self, dtype, path, rng):
        net = make(dtype)
        net.classes = np.array(["x", "y", "z"])
        net.link = "softmax"
        net.metadata = {"scale": [1.0, 2.0], "from": {"name": "digits"}}
        net.save(path)
        again = cmlp.load(path)
        assert repr(again) == repr(net)
        x = rng.normal(size=(7, 4))
        assert np.array_equal(again.predict(x), net.predict(x))
        assert again.classes.tolist() == ["x", "y", "z"]
        assert (again.link, again.metadata) == (net.link, net.metadata)

    @pytest.mark.parametrize("classes", [[3, 5, 8], [0.5, 1.5, 2.5], [False, True]])
    def test_classes(self, classes, path):
        net = make()
        net.classes = np.array(classes)
        net.save(path)
        again = cmlp.load(path).classes
        assert again.tolist() == classes
        assert again.dtype == net.classes.dtype

    def test_every_layer(self, path):
        of_images = [cmlp.Reshape((1, 1, 3)), cmlp.Conv2D(1, 1, 1), cmlp.MaxPool2D(1)]
        of_images += [cmlp.AvgPool2D(1), cmlp.SubSample2D(1), cmlp.Flatten()]
        known = {cmlp.Dense, *map(type, of_images)}
        kinds = [kind for kind in registry._BUILT_IN.values() if kind not in known]
        others = [kind() for kind in kinds]
        net = cmlp.Sequential(cmlp.Dense(3, 3), *of_images, *others, seed=0)
        net.save(path)
        again = cmlp.load(path)
        assert repr(again) == repr(net)
        assert np.array_equal(again.get_flat(), net.get_flat())

    def test_layer_of_the_user(self, path, monkeypatch):
        monkeypatch.setattr(registry, "_REGISTERED", {})

        class Shift:
            def __init__(self, n):
                self.n, self.shift = n, np.zeros(n)

            def forward(self, x, training=False):
                return x + self.shift

            def backward(self, dy):
                return dy

            def parameters(self):
                return {"shift": self.shift}

            def config(self):
                return {"n": self.n}

        net = cmlp.Sequential(cmlp.Dense(2, 3), Shift(3), dtype="float64")
        with pytest.raises(ValueError, match="layers of class Shift cannot be saved"):
            net.save(path)
        assert not path.exists()
        cmlp.register_layer(Shift)
        net.layers[1].shift[:] = [1, 2, 3]
        net.save(path)
        assert np.array_equal(cmlp.load(path).predict([[1.0, 2.0]]), net.predict([[1.0, 2.0]]))
        monkeypatch.setattr(registry, "_REGISTERED", {})
        with pytest.raises(
            cmlp.FormatError, match=r"unknown layer class 'Shift'; see cmlp\.register"
        ):
            cmlp.load(path)

    @pytest.mark.parametrize("shape", [(2,), (3, 1)])
    def test_values_of_the_user_must_fit(self, shape, path, monkeypatch):
        monkeypatch.setattr(registry, "_REGISTERED", {})

        @cmlp.register_layer
        class Shift:
            shape = (3,)

            def __init__(self):
                self.shift = np.zeros(self.shape)

            def forward(self, x, training=False):
                return x

            def backward(self, dy):
                return dy

            def parameters(self):
                return {"shift": self.shift}

            def config(self):
                return {}

        cmlp.Sequential(cmlp.Dense(2, 3), Shift()).save(path)
        Shift.shape = shape
        with pytest.raises(cmlp.FormatError, match=r"layers\.1\.shift has shape \(3,\); expected"):
            cmlp.load(path)

    def test_other_readers_of_safetensors(self, path):
        from safetensors.numpy import load_file

        net = make()
        net.save(path)
        tensors = load_file(path)
        assert np.array_equal(tensors["layers.0.weight"], net.layers[0].weight)
        assert set(tensors) == {
            "layers.0.weight", "layers.0.bias", "layers.2.slope", "layers.3.weight",
        }  # fmt: skip

    def test_metadata_must_be_json(self, path):
        net = make()
        net.metadata = {"scale": np.ones(3)}
        with pytest.raises(TypeError, match="JSON"):
            net.save(path)
        net.metadata = {"scale": float("nan")}
        with pytest.raises(ValueError, match="JSON"):
            net.save(path)
        assert not path.exists()


class TestWriting:
    def test_nothing_else_is_left(self, path):
        make().save(path)
        make().save(path)
        assert os.listdir(path.parent) == [path.name]

    @pytest.mark.parametrize("call", ["open", "fdopen", "fsync", "replace"])
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
    def test_a_failing_write_keeps_the_old_file(self, call, number, path, monkeypatch):
        make().save(path)
        before = path.read_bytes()

        def fail(*args, **options):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            words = f"{os.strerror(number)}; what was at the path before is unchanged"
            with pytest.raises(OSError, match=words) as caught:
                make("float64").save(path)
        assert (caught.value.errno, caught.value.filename) == (number, str(path))
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]

    def test_a_write_that_ends_half_way(self, path):
        """The system's own limit for the size of a file: bytes up to it are written."""
        resource = pytest.importorskip("resource")
        make().save(path)
        before = path.read_bytes()
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, old[1]))
        try:
            with pytest.raises(OSError, match="what was at the path before is unchanged") as caught:
                make().save(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        assert caught.value.errno == errno.EFBIG
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]

    def test_a_full_disk(self, tmp_path):
        mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(tmp_path)]
        if (
            os.name != "posix"
            or os.geteuid()
            or subprocess.run(mount, capture_output=True).returncode
        ):
            pytest.skip("a small disk needs the right to mount one")
        try:
            path = tmp_path / "m"
            make().save(path)
            before = path.read_bytes()
            large = cmlp.Sequential(cmlp.Dense(300, 300), seed=0)
            with pytest.raises(OSError, match="No space left on device; what was at the path"):
                large.save(path)
            assert path.read_bytes() == before
            assert os.listdir(tmp_path) == ["m"]
            make("float64").save(path)
            assert cmlp.load(path).dtype == "float64"
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)

    def test_the_folder_that_cannot_be_synced(self, path, monkeypatch):
        sync, folders = os.fsync, []

        def fail(descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                folders.append(descriptor)
                raise OSError(errno.EINVAL, "no syncing of folders here")
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", fail)
        make().save(path)
        assert len(folders) == 1
        assert len(cmlp.load(path).layers) == 5

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            make().save(tmp_path / "none" / "m")

    def test_links_are_followed(self, path):
        link = path.parent / "link"
        link.symlink_to(path)
        make().save(link)
        assert link.is_symlink()
        assert path.exists()

    def test_what_was_left_is_removed(self, path):
        old = path.parent / f".{path.name}.0123456789ab.tmp"
        new = path.parent / f".{path.name}.ba9876543210.tmp"
        other = path.parent / ".other.0123456789ab.tmp"
        for file in (old, new, other):
            file.write_bytes(b"half a model")
        for file in (old, other):
            os.utime(file, (time.time() - 4000,) * 2)
        make().save(path)
        assert not old.exists()
        assert new.exists(), "a save that may be under way"
        assert other.exists(), "another file's"


def kill_while_saving(saves, path, n):
    """Kill a process that saves by turns, at n random moments: one or the other file is whole."""
    whole = []
    for save in saves:
        save(path)
        whole.append(path.read_bytes())
    start = time.perf_counter()
    saves[0](path)
    span = 3 * (time.perf_counter() - start)
    rng, seen, left, kills = np.random.default_rng(n), set(), [], 0
    # More than n where chance has it that no kill fell into a write, or none behind it.
    while kills < n or ((len(seen) < 2 or not left) and kills < 100 * n):
        child = os.fork()
        if not child:
            try:
                while True:
                    saves[kills % 2](path)
                    saves[1 - kills % 2](path)
            finally:
                os._exit(1)
        time.sleep(rng.uniform(0, span))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the child did not save until the end"
        found = path.read_bytes()
        assert found in whole
        seen.add(found)
        left = [name for name in os.listdir(path.parent) if name != path.name]
        assert all(name.startswith(f".{path.name}.") and name.endswith(".tmp") for name in left)
        kills += 1
    assert len(seen) == 2
    assert left, "no moment within a write was hit"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("n", [12, pytest.param(250, marks=pytest.mark.slow)])
class TestKilled:
    def test_model(self, path, n):
        nets = [cmlp.Sequential(cmlp.Dense(300, 300), seed=s) for s in (1, 2)]
        kill_while_saving([net.save for net in nets], path, n)

    def test_checkpoint(self, path, n):
        saves = []
        for seed in (1, 2):
            net = cmlp.Sequential(cmlp.Dense(150, 150), cmlp.Dropout(0.1), seed=seed)
            trainer = cmlp.Trainer(net, cmlp.SquaredError(), cmlp.Adam())
            trainer.fit(np.ones((9, 150)), np.zeros((9, 150)), epochs=2, batch_size=4)
            saves.append(trainer.save_checkpoint)
        kill_while_saving(saves, path, n)


def damaged(change, path):
    make().save(path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(cmlp.FormatError) as error:
        cmlp.load(path)
    assert str(error.value).startswith(str(path))
    return str(error.value)


def edit_header(function):
    def change(data):
        header, about, tensors = parts(data)
        function(header)
        return join(header, about, tensors)

    return change


def edit_about(function):
    def change(data):
        header, about, tensors = parts(data)
        function(about)
        return join(header, about, tensors)

    return change


def entry(name, **values):
    return edit_header(lambda header: header[name].update(values))


W = "layers.0.weight"


class TestDamage:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda d: b"", "not a safetensors file"),
            (lambda d: d[:7], "not a safetensors file"),
            (lambda d: d[:100], "not a safetensors file"),
            (lambda d: d[:-1], "the file has"),
            (lambda d: d + b"\0", "the file has"),
            (lambda d: (2**63).to_bytes(8, "little") + d[8:], "not a safetensors file"),
            (lambda d: (3 << 20).to_bytes(8, "little") + b" " * (4 << 20), "header of 3145728"),
            (lambda d: (4).to_bytes(8, "little") + b"\xff\xfe{}" + d, "codec can't decode"),
            (lambda d: (2).to_bytes(8, "little") + b"[]", "expected a JSON object"),
            (lambda d: (5).to_bytes(8, "little") + b'{"a":', "bad JSON"),
            (lambda d: (13).to_bytes(8, "little") + b'{"a":1,"a":2}', "a key stands twice"),
            (lambda d: (9).to_bytes(8, "little") + b'{"a":NaN}', "NaN is no number"),
            (lambda d: (200000).to_bytes(8, "little") + b'{"a":' + b"[" * 199995, "bad JSON"),
            (lambda d: d.replace(b'"__metadata__":{"cmlp":', b'"__metadata__":[["cmlp",', 1), ""),
            (lambda d: d.replace(b'"__metadata__"', b'"__metatada__"', 1), "is not described by"),
            (edit_header(lambda h: h.update(more={})), "is not described by"),
            (edit_header(lambda h: h.update(more=3)), "is not described by"),
            (edit_header(lambda h: h.pop(W)), "starts at"),
            (entry(W, dtype="F16"), "has type 'F16'"),
            (entry(W, dtype=["F32"]), "has type"),
            (entry(W, shape=[5, 5]), "expected 100"),
            (entry(W, shape=[2**40, 2**40]), "expected"),
            (entry(W, shape=[-5, -4]), "has shape"),
            (entry(W, shape=[5.0, 4]), "has shape"),
            (entry(W, shape=[True, 20]), "has shape"),
            (entry(W, shape=[4, 5]), r"layers.0.weight is float32 (4, 5); expected float32 (5, 4)"),
            (entry(W, data_offsets=[0]), "offsets"),
            (entry(W, data_offsets=[80, 0]), "takes"),
            (entry(W, data_offsets=[4, 84]), "starts at"),
            (edit_about(lambda a: a.update(format=3)), "format 3; expected 1 or 2"),
            (edit_about(lambda a: a.update(kind="virus")), "a 'virus'"),
            (edit_about(lambda a: a.pop("dtype")), "dtype is missing"),
            (edit_about(lambda a: a.update(dtype="float64")), "expected float64"),
            (edit_about(lambda a: a.update(dtype="float16")), "dtype is 'float16'"),
            (edit_about(lambda a: a.update(seed=-1)), "seed is -1"),
            (edit_about(lambda a: a.update(seed=None)), "seed is missing"),
            (edit_about(lambda a: a.update(n_in=5)), "n_in 4; expected 5"),
            (edit_about(lambda a: a.update(layers=[])), "0 layers"),
            (edit_about(lambda a: a.update(layers=[{}])), "unknown layer class None"),
            (edit_about(lambda a: a.update(layers=["ReLU"])), "expected an object"),
            (edit_about(lambda a: a["layers"].pop()), None),
            (edit_about(lambda a: a["layers"].pop(0)), "has n_in 5; expected 4"),
            (edit_about(lambda a: a["layers"].pop(2)), "tensors do not fit"),
            (edit_about(lambda a: a["layers"][1].update(rate=2)), "rate is 2"),
            (edit_about(lambda a: a["layers"][1].update(speed=2)), "unexpected keyword"),
            (edit_about(lambda a: a["layers"][0].update(n_out=10**12)), "over max_parameters"),
            (edit_about(lambda a: a["layers"][0].update(n_out=10**400)), "over max_parameters"),
            (edit_about(lambda a: a["layers"][0].update(n_out=6)), "has n_in 5; expected 6"),
            (edit_about(lambda a: a["layers"][0].update(activation="os")), "activation is 'os'"),
            (edit_about(lambda a: a["layers"][0].update(weight_init="x")), "weight_init is 'x'"),
            (edit_about(lambda a: a["layers"][0].update({"class": "os.system"})), "unknown layer"),
            (edit_about(lambda a: a.update(classes=[])), "classes is []"),
            (edit_about(lambda a: a.update(classes=[["a"]])), "classes is"),
            (edit_about(lambda a: a.update(classes=["a", 1, None])), "classes is"),
            (edit_about(lambda a: a.update(link="exec")), "link is 'exec'"),
            (edit_about(lambda a: a.update(metadata=3)), "metadata is missing or of a wrong type"),
            (edit_about(lambda a: a.update(layers=[{"class": "ReLU"}] * 5000)), "5000 layers"),
        ],
    )
    def test_is_named(self, change, words, path):
        if words is None:  # one layer less is another net, but a sound one
            make().save(path)
            path.write_bytes(change(path.read_bytes()))
            assert len(cmlp.load(path).layers) == 4
            return
        assert words in damaged(change, path)

    def test_numbers_that_are_none(self, path):
        def change(data):
            header, about, tensors = parts(data)
            nan = np.full(20, np.nan, "f").tobytes()
            first = header[W]["data_offsets"][0]
            return join(header, about, tensors[:first] + nan + tensors[first + 80 :])

        assert "weight holds nan" in damaged(change, path)

    def test_the_limit_can_be_raised(self, path):
        make().save(path)
        with pytest.raises(cmlp.FormatError, match="45 parameters, over max_parameters=44"):
            cmlp.load(path, max_parameters=44)
        cmlp.load(path, max_parameters=45)
        with pytest.raises(ValueError, match="max_parameters is 0"):
            cmlp.load(path, max_parameters=0)

    def test_widths_without_parameters_are_limited(self, path):
        cmlp.Sequential(cmlp.ReLU(), n_in=3).save(path)
        path.write_bytes(edit_about(lambda a: a.update(n_in=10**12))(path.read_bytes()))
        with pytest.raises(cmlp.FormatError, match="n_in is 1000000000000"):
            cmlp.load(path)

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            cmlp.load(tmp_path / "none")

    @settings(max_examples=100, deadline=None)
    @given(data=st.data())
    def test_any_mutation_is_named_or_harmless(self, tmp_path_factory, data):
        path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
        make().save(path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(content) - 1))
            kind = data.draw(st.sampled_from(["set", "cut", "insert", "digit"]))
            if kind == "set":
                content[at] = data.draw(st.integers(0, 255))
            elif kind == "cut":
                del content[at : at + data.draw(st.integers(1, 20))]
            elif kind == "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
            else:
                content[at] = ord(data.draw(st.sampled_from('0123456789[]{},:"')))
            if not content:
                break
        path.write_bytes(content)
        try:
            net = cmlp.load(path)
        except cmlp.FormatError:
            return
        net.predict(np.ones((1, net.n_in), "f"))


def test_reading_takes_little_memory(path):
    import tracemalloc

    net = cmlp.Sequential(cmlp.Dense(700, 700), seed=0)
    net.save(path)
    tracemalloc.start()
    try:
        files.load(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * path.stat().st_size
    finally:
        tracemalloc.stop()
