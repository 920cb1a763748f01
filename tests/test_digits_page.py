"""The page of handwritten digits in a browser."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from playground_browser import LAPTOP, PHONE, PROJECTOR, browser, picture, size, until
from playground_parts import served

import cmlp

fixture = browser  # which has to be named here


@pytest.fixture(scope="module")
def server():
    with served() as found:
        yield found


@pytest.fixture
def opened(browser, server):
    """Open the page; no error may have come up by the end."""
    context = browser.new_context(viewport=size(LAPTOP), accept_downloads=True)
    context.set_default_timeout(120_000)
    wrong = []

    def call(at=LAPTOP):
        page = context.new_page()
        page.on("console", lambda m: m.type in ("error", "warning") and wrong.append(m.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.set_viewport_size(size(at))
        page.goto(f"{server.address}digits.html")
        begun(page, 1)
        return page

    yield call
    context.close()
    assert wrong == []


def begun(page, n):
    """Wait until so many trainings have begun, and the last has been drawn."""
    until(page, f"document.body.dataset.trainings == '{n}'")
    until(page, "document.querySelectorAll('#layers canvas').length > 0")
    until(page, "document.querySelectorAll('#bars > div').length == 10")


def step_of(page):
    return int(page.evaluate("document.body.dataset.step"))


def press(page, key):
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(key)


def draw(page, places):
    """Draw a line with the mouse, from shares of the canvas."""
    page.locator("#drawing").scroll_into_view_if_needed()
    box = page.locator("#drawing").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()


def accuracy(page):
    text = page.inner_text("#accuracy")
    return float(text.removesuffix(" %")) if text.endswith("%") else 0.0


def test_training_to_97_percent(opened):
    """The net of ConvNetJS's page; then a digit that is drawn is recognised at once."""
    page = opened()
    page.fill("#stop", "0.97")
    page.click("#play")
    until(page, "document.body.classList.contains('playing')")
    picture(page, "digits-playing")
    until(page, "!document.body.classList.contains('playing')")
    assert accuracy(page) >= 97.0
    assert float(page.inner_text("#epoch")) > 1
    three = [
        (0.3, 0.3),
        (0.5, 0.15),
        (0.68, 0.3),
        (0.5, 0.47),
        (0.7, 0.65),
        (0.5, 0.85),
        (0.28, 0.7),
    ]
    draw(page, three)
    until(page, "document.getElementById('image-label').textContent.startsWith('your drawing')")
    until(page, "document.querySelector('#bars .best span').textContent == '3'")
    picture(page, "digits-drawn")
    page.click("#clear")
    page.click("#tests button >> nth=2")
    until(page, "document.getElementById('image-label').textContent.startsWith('test image')")
    page.check("#gradients")
    assert page.locator("#tests .looked").count() == 1
    picture(page, "digits-gradients")


def test_guesses(opened):
    """Three likeliest digits of each test image, and a frame where the first is wrong."""
    page = opened()
    until(page, "document.querySelectorAll('#tests .wrong').length > 5")  # untrained
    button = page.locator("#tests .wrong").first
    label = button.get_attribute("aria-label")[-1]
    guesses = [line.split()[0] for line in button.locator("span").all_inner_texts()]
    assert len(set(guesses)) == 3
    assert guesses[0] != label
    before = page.locator("#tests button").first.get_attribute("aria-label")
    page.click("#others")
    until(page, f"document.querySelector('#tests button').ariaLabel != {json.dumps(before)}")


@pytest.mark.slow
def test_settings_while_it_trains(opened):
    page = opened()
    page.click("#play")
    for name, value in (("learningRate", "0.5"), ("decay", "0.0001"), ("batchSize", "40")):
        page.fill(f"#{name}", value)
        page.press(f"#{name}", "Tab")
        step = step_of(page)
        until(page, f"Number(document.body.dataset.step) > {step}")
        assert page.is_hidden("#notice")
    assert page.is_disabled("#momentum")
    page.select_option("#optimizer", "sgd")
    begun(page, 2)
    assert page.input_value("#learningRate") == "0.05"
    page.fill("#momentum", "0.9")
    page.press("#momentum", "Tab")
    page.click("#step")
    until(page, "document.body.dataset.step == '1'")
    page.fill("#learningRate", "-1")
    page.press("#learningRate", "Tab")
    until(page, "!document.getElementById('notice').hidden")
    assert "learningRate is -1" in page.inner_text("#notice")


@pytest.mark.slow
def test_nets(opened):
    """Each that is offered, and one of one's own; shapes as it is written, errors in words."""
    page = opened()
    names = page.locator("#preset option").all_inner_texts()
    assert {"ConvNetJS", "Fully connected", "LeNet-5"} <= set(names)
    for n, name in enumerate(names[:-1], 2):
        page.select_option("#preset", name)
        begun(page, n)
    page.fill("#text", "conv 4 3x3\nrelu\ndense 10")
    until(
        page,
        "document.getElementById('chain').textContent.includes('conv 4 3x3 → 4\\u00d76\\u00d76')",
    )
    page.click("#build")
    begun(page, len(names) + 1)
    assert "1,490 weights" in page.inner_text("#chain")
    page.fill("#text", "conv 4 99\ndense 10")
    until(page, "!document.getElementById('notice').hidden")
    assert "line 1, 'conv 4 99'" in page.inner_text("#notice")


@pytest.mark.slow
def test_files(opened, tmp_path):
    """A net that was downloaded gives the same, and can be loaded again."""
    page = opened()
    page.select_option("#preset", "Fully connected")
    begun(page, 2)
    for _ in range(3):
        step = step_of(page)
        page.click("#step")
        until(page, f"document.body.dataset.step == '{step + 1}'")
    page.click("#save")
    for kind, name in (("model", "net.safetensors"), ("c", "net.c")):
        with page.expect_download() as download:
            page.click(f"[data-file={kind}]")
        download.value.save_as(tmp_path / name)
    page.keyboard.press("Escape")
    net = cmlp.load(tmp_path / "net.safetensors")
    shown = page.locator("#bars > div > span:last-child").all_inner_texts()
    x = cmlp.datasets.digits().split()[2][:1]
    p = net.predict_proba(x)[0]
    assert np.allclose([float(text.removesuffix(" %")) for text in shown], 100 * p, atol=0.06)
    page.set_input_files("#load", tmp_path / "net.safetensors")
    begun(page, 3)
    until(page, "document.body.dataset.step == '0'")
    assert page.locator("#bars > div > span:last-child").all_inner_texts() == shown
    (tmp_path / "net.safetensors").write_bytes(b"no net")
    page.set_input_files("#load", tmp_path / "net.safetensors")
    until(page, "!document.getElementById('notice').hidden")


def test_keys(opened):
    page = opened()
    press(page, "ArrowRight")
    until(page, "document.body.dataset.step == '1'")
    press(page, " ")
    until(page, "document.body.classList.contains('playing')")
    press(page, " ")
    until(page, "!document.body.classList.contains('playing')")
    for _ in range(30):  # everything can be reached
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")


@pytest.mark.slow
@pytest.mark.parametrize("at", [PHONE, LAPTOP, PROJECTOR])
def test_sizes(opened, at):
    """Nothing is cut off at the side."""
    page = opened(at)
    picture(page, f"digits-{at[0]}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for part in ("numbers", "field", "drawing", "charts"):
        found = page.locator(f".{part}")
        assert found.evaluate_all("(all) => all.every((e) => e.scrollWidth <= e.clientWidth + 1)")


@pytest.mark.slow
def test_links(opened):
    page = opened()
    page.click("text=Points of the plane")
    until(page, "document.body.dataset.experiments == '1'")
    page.click("text=Digits")
    begun(page, 1)


class TestMessages:
    """What comes in by the socket that a page would not send."""

    @pytest.fixture
    def socket(self, server):
        from urllib.parse import urlsplit

        from websockets.sync.client import connect

        parts = urlsplit(server.address)
        with connect(
            f"ws://{parts.netloc}{parts.path}digits", origin=f"http://{parts.netloc}"
        ) as found:
            found.recv()
            yield found

    def ask(self, socket, **message):
        socket.send(json.dumps(message))
        while True:
            answer = socket.recv(timeout=30)
            if isinstance(answer, str) and json.loads(answer)["is"] in ("done", "refused"):
                return json.loads(answer)

    @pytest.mark.parametrize(
        ("message", "why"),
        [
            ({"do": "play"}, "expected begin first"),
            ({"do": "fly"}, "do is 'fly'"),
            ({"do": "begin", "settings": 3}, "settings is int"),
            ({"do": "begin", "settings": {}}, "settings has no"),
            ({"do": "check", "net": "x", "side": 8}, "line 1"),
            ({"do": "draw", "pixels": "%"}, "pixels is no base64"),
            ({"do": "draw", "pixels": base64.b64encode(b"1").decode()}, "pixels has 1 bytes"),
            ({"do": "draw", "pixels": 7}, "pixels is int"),
            ({"do": "look", "place": 0}, "expected begin first"),
            ({"do": "save", "kind": "exe"}, "kind is 'exe'"),
            ({"do": "step", "steps": 1, "more": 2}, "more"),
        ],
    )
    def test_refused(self, socket, message, why):
        answer = self.ask(socket, **message)
        assert answer["is"] == "refused"
        assert why in answer["why"]

    def test_a_loss_that_diverges(self, socket):
        from playground_parts import DIGITS

        given = {**DIGITS, "optimizer": "sgd", "learningRate": 100, "net": "dense 10"}
        assert self.ask(socket, do="begin", settings=given)["is"] == "done"
        answers = [self.ask(socket, do="step", steps=1000) for _ in range(3)]
        assert {answer["is"] for answer in answers} <= {"done", "refused"}
        assert self.ask(socket, do="look", place=3)["is"] == "done"
        assert "place is 10000" in self.ask(socket, do="look", place=10000)["why"]
