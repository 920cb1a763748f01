"""The server of the live page: who is let in, what is refused, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from playground_parts import CSV, DRAWN, SETTINGS, run_program, served

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")
pytest.importorskip("rich")

from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from cmlp.playground import server as module


@pytest.fixture(scope="module")
def server():
    with served() as found:
        yield found


def get(server, path="", host=None, **headers):
    """A response to a request: status, headers, text."""
    parts = urlsplit(server.address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.putrequest("GET", f"{parts.path}{path}", skip_host=True)
        connection.putheader("Host", parts.netloc if host is None else host)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@contextmanager
def talking(server, origin=True, path="points", **options):
    """A WebSocket as the page has one."""
    parts = urlsplit(server.address)
    address = f"ws://{parts.netloc}{parts.path}{path}"
    given = f"http://{parts.netloc}" if origin is True else origin
    with connect(address, origin=given, open_timeout=10, **options) as found:
        yield Talk(found)


class Talk:
    def __init__(self, connection):
        self.connection = connection

    def send(self, command, **values):
        self.connection.send(json.dumps({"do": command, **values}))

    def next(self):
        message = self.connection.recv(timeout=20)
        if isinstance(message, str):
            return json.loads(message)
        length = int.from_bytes(message[:4], "little")
        header = json.loads(message[4 : 4 + length])
        header["size"] = len(message)
        header["content"] = message[4 + length + (-length % 4) :]
        if header["is"] == "frame":
            self.send("drawn", frames=1, milliseconds=1)
        return header

    def until(self, kind):
        while (message := self.next())["is"] != kind:
            assert message["is"] != "refused", message
        return message

    def begin(self, **changed):
        self.send("begin", settings={**SETTINGS, **changed})
        self.until("done")


class TestDoors:
    def test_the_page_and_its_files(self, server):
        status, headers, text = get(server)
        assert status == 200 and b"<title>cmlp playground" in text
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy
        assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        for line in text.decode().splitlines():
            assert "://" not in line
        folder = module.resources.files("cmlp.playground") / "static"
        for file in folder.iterdir():
            status, headers, content = get(server, file.name)
            assert status == 200 and content == file.read_bytes()

    @pytest.mark.parametrize(
        "path", ["nothing.js", "..%2fserver.py", "../x/", "%2e%2e/server.py", "server.py", "a/b.js",
                 "..\\server.py", "%00.js", "static"],
    )  # fmt: skip
    def test_other_files(self, server, path):
        assert get(server, path)[0] in (400, 403, 404)

    def test_listens_on_this_machine_alone(self, server):
        assert server.address.startswith("http://127.0.0.1:")
        port = urlsplit(server.address).port
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", port), timeout=5)

    def test_each_server_has_a_token_of_its_own(self, server):
        with served() as other:
            assert urlsplit(other.address).path != urlsplit(server.address).path
        for path in ("/", "/wrong/", "/points", "/wrong/points"):
            assert get(server, f"/../..{path}")[0] in (403, 404)

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "", "[::1]"])
    def test_other_hosts(self, server, host):
        assert get(server, host=host)[0] in (400, 403)

    def test_localhost_is_this_machine(self, server):
        port = urlsplit(server.address).port
        assert get(server, host=f"localhost:{port}")[0] == 200

    def test_requests_of_other_pages(self, server):
        assert get(server, Origin="http://evil.example")[0] == 403

    @pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://127.0.0.1:1"])
    def test_sockets_of_other_pages(self, server, origin):
        with pytest.raises(InvalidStatus) as caught, talking(server, origin):
            pass
        assert caught.value.response.status_code == 403

    def test_no_socket_without_the_token(self, server):
        with pytest.raises(InvalidStatus), talking(server, path="../wrong/points"):
            pass

    def test_a_port_that_is_taken(self, server):
        with pytest.raises(OSError):
            module.Server(port=urlsplit(server.address).port)


WRONG = [
    "", "{", "[]", '{"do": "shout"}', '{"do": "begin"}', '{"do": "begin", "settings": {}}',
    '{"do": "play", "epochs": 0}', '{"do": "play", "epochs": "many"}', '{"do": "step", "x": 1}',
    '{"do": "look", "unit": [0]}', '{"do": "look", "unit": ["a", {}]}',
    '{"do": "edit", "layer": 0, "part": "weight", "index": [9, 9], "value": 1}',
    '{"do": "edit", "layer": 0, "part": "weight", "index": [0, 0], "value": "1"}',
    '{"do": "edit", "layer": 0, "part": "weight", "index": 0, "value": 1}',
    '{"do": "go_to", "epoch": 5}', '{"do": "go_to", "epoch": null}', '{"do": "save"}',
    '{"do": "save", "kind": "../x"}', '{"do": "table", "name": "a.csv", "text": ""}',
    '{"do": "table", "name": 1, "text": 2}', '{"do": "drawn", "frames": 1, "milliseconds": -1}',
    '{"do": "__init__", "socket": 1}', '{"do": "play", "stop_loss": -1}',
]  # fmt: skip


class TestTalk:
    def test_training(self, server):
        with talking(server) as page:
            ready = page.until("ready")
            assert set(ready["thumbnails"]) >= {"circle", "reg-plane"} and ready["table"] is None
            page.send("begin", settings=SETTINGS)
            assert page.until("experiment")["points"]["counts"] == [250, 250]
            assert page.until("frame")["epoch"] == 0
            assert page.until("state")["playing"] is False
            page.send("play", epochs=5)
            assert page.until("state")["playing"] is True
            while page.until("frame")["epoch"] < 30:
                pass
            page.send("pause")
            assert page.until("state")["playing"] is False
            page.send("program")
            text = page.until("program")["text"]
            page.send("step")
            after = page.until("frame")
            page.send("back")
            before = page.until("frame")
            assert before["epoch"] < after["epoch"]
            assert str(before["epoch"]) in text
            page.send("go_to", epoch=3)
            assert page.until("frame")["epoch"] == 3
            page.send("edit", layer=0, part="weight", index=[0, 1], value=1.5)
            assert page.until("frame")["epoch"] == 3
            page.send("look", unit=[1, 0])
            assert page.until("frame")["look"] == [1, 0]
            page.send("save", kind="model")
            assert page.until("file")["name"] == "net.safetensors"

    def test_stopping(self, server):
        with talking(server) as page:
            page.begin()
            page.send("play", epochs=100, stop_epoch=7)
            page.until("state")
            stopped = page.until("state")
            assert stopped["stopped"] == "epochs" and not stopped["playing"]
            page.send("play", epochs=100, stop_loss=0.6)
            page.until("state")
            assert page.until("state")["stopped"] == "loss"

    def test_settings_while_it_trains(self, server):
        with talking(server) as page:
            page.begin()
            page.send("play")
            page.until("frame")
            page.send("change", settings={**SETTINGS, "learningRate": 0.1})
            while page.until("state")["settings"]["learningRate"] != 0.1:
                pass

    def test_a_table(self, server):
        with talking(server) as page:
            page.until("ready")
            page.send("table", name="a.csv", text=CSV)
            assert page.until("table") == {
                "is": "table", "name": "a.csv", "rows": 60, "problem": "classification",
            }  # fmt: skip
            page.begin(dataset="file")

    def test_points_and_the_program(self, server):
        with talking(server) as page:
            page.send("begin", settings={**SETTINGS, "dataset": "own"}, drawn=DRAWN)
            page.until("state")
            page.send("step")
            loss = page.until("frame")["test"]["loss"]
            page.send("program")
            printed = run_program(page.until("program")["text"])[1]
            assert float(printed.split()[-1]) == pytest.approx(loss, rel=1e-5)

    def test_training_does_not_wait_for_a_page_that_draws_nothing(self, server):
        with talking(server) as page:
            page.send("begin", settings=SETTINGS)
            page.send("play", epochs=1, stop_epoch=20)
            kinds = []
            while True:
                message = page.connection.recv(timeout=20)
                kinds.append("frame" if isinstance(message, bytes) else json.loads(message))
                if kinds[-1] != "frame" and kinds[-1].get("stopped") == "epochs":
                    break
            assert kinds.count("frame") <= 4

    @pytest.mark.parametrize("begun", [False, True])
    def test_messages_that_make_no_sense(self, server, begun):
        with talking(server) as page:
            page.until("ready")
            if begun:
                page.begin()
            for text in WRONG:
                page.connection.send(text)
                answer = page.next()
                assert answer["is"] == "refused" and "\n" not in answer["why"], (text, answer)
            page.connection.send(json.dumps({"do": "x" * 5000}))
            assert len(page.next()["why"]) <= 300
            page.begin()  # it goes on

    def test_messages_that_are_too_large(self, server):
        with talking(server, max_size=None) as page:
            page.until("ready")
            page.send("table", name="a.csv", text="x" * module.MOST_BYTES)
            with pytest.raises(ConnectionClosed):
                page.next()
        with talking(server) as page:
            page.begin()

    def test_binary_messages(self, server):
        with talking(server) as page:
            page.until("ready")
            page.connection.send(b"\0\1")
            with pytest.raises(ConnectionClosed):
                page.next()

    def test_training_ends_when_the_page_goes(self, server):
        with talking(server) as page:
            page.begin()
            page.send("play", epochs=100)
            page.until("frame")
        deadline = time.monotonic() + 20
        while server.n_pages:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def test_a_limited_number_of_pages(self, server, monkeypatch):
        monkeypatch.setattr(module, "MOST_PAGES", 1)
        with talking(server) as page:
            page.until("ready")
            with pytest.raises(InvalidStatus), talking(server):
                pass


PAGE = [sys.executable, "-m", "cmlp", "playground", "--no-browser"]


class TestCommand:
    def test_prints_the_address_and_ends_at_once(self, tmp_path):
        file = tmp_path / "mine.csv"
        file.write_text(CSV)
        original = "https://playground.tensorflow.org/#dataset=xor&noise=5"
        with subprocess.Popen(
            [*PAGE, original, "--data", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:")
            assert address.endswith("/#dataset=xor&noise=5")

            class There:
                pass

            There.address = address
            with talking(There) as page:
                assert page.until("ready")["table"]["name"] == "mine.csv"
                page.begin()
                page.send("play", epochs=100)
                page.until("frame")
                process.send_signal(signal.SIGINT)
                with pytest.raises(ConnectionClosed):
                    page.until("the end")
            assert process.wait(20) == 130
            assert process.stdout.read() == "" and "Traceback" not in process.stderr.read()

    @pytest.mark.parametrize(
        ("given", "found"),
        [("", ""), ("dataset=xor", "dataset=xor"), ("#a=1,2&b=%20", "a=1,2&b=%20"),
         ("x y\n<script>", "x%20y%0A%3Cscript%3E")],
    )  # fmt: skip
    def test_experiments(self, given, found):
        from cmlp.cli.page import fragment

        assert fragment(None, None, given) == found

    def test_a_file_that_cannot_be_shown(self, tmp_path):
        (tmp_path / "wide.csv").write_text("a,b,c,d\n1,2,3,x\n4,5,6,y\n")
        found = subprocess.run(
            [*PAGE, "--data", "wide.csv"], cwd=tmp_path, capture_output=True, text=True
        )
        assert found.returncode == 2
        assert found.stderr == "cmlp: wide.csv: 3 inputs, expected two columns and a target\n"

    @pytest.mark.parametrize("missing", ["starlette", "uvicorn", "websockets"])
    def test_missing_packages(self, missing, tmp_path):
        program = f"import sys; sys.modules[{missing!r}] = None; import cmlp; cmlp.cli.main()"
        found = subprocess.run(
            [sys.executable, "-c", program, "playground", "--no-browser"],
            capture_output=True, text=True, cwd=tmp_path, env={**os.environ},
        )  # fmt: skip
        assert found.returncode == 2
        assert found.stderr.startswith("cmlp: the page needs more packages: pip install")
        assert found.stderr.count("\n") == 1 and "cmlp[playground]" in found.stderr
