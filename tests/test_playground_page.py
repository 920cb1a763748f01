"""The live page in a browser: Debian's Chromium, led by playwright."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from playground_parts import CSV, NUMBERS, run_program, served

import cmlp

CHROMIUM = shutil.which("chromium")

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")
api = pytest.importorskip("playwright.sync_api")
if CHROMIUM is None:
    pytest.skip("no chromium: apt-get install chromium", allow_module_level=True)

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PICTURES = os.environ.get("CMLP_PICTURES")  # a folder, to look at them

PHONE, LAPTOP, PROJECTOR = (390, 844), (1366, 768), (1920, 1080)

# What every address of the original has.
ORIGINAL = (
    "activation=relu&regularization=L2&batchSize=20&dataset=gauss&regDataset=reg-gauss"
    "&learningRate=0.1&regularizationRate=0.003&noise=15&networkShape=3,5&seed=0.84062"
    "&showTestData=true&discretize=true&percTrainData=70&x=true&y=false&xTimesY=true"
    "&xSquared=false&ySquared=true&cosX=false&sinX=true&cosY=false&sinY=false"
    "&collectStats=false&problem=classification&initZero=false&hideText=true"
    "&playButton_hide=false&noise_hide=true"
)


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def server():
    with served() as found:
        yield found


@pytest.fixture
def opened(browser, server):
    """Open the page with an address; no error may have come up by the end."""
    context = browser.new_context(viewport=size(LAPTOP), accept_downloads=True)
    context.set_default_timeout(20_000)
    wrong = []

    def call(address="", at=LAPTOP, **options):
        page = context.new_page()
        page.on("console", lambda m: m.type in ("error", "warning") and wrong.append(m.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.set_viewport_size(size(at))
        page.goto(f"{server.address}#{address}")
        ready(page)
        return page

    yield call
    context.close()
    assert wrong == []


def until(page, condition):
    """Wait until it holds.  The page's policy forbids what playwright has for this."""
    for _ in range(2000):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(10)
    raise AssertionError(f"never came: {condition}")


def size(pair):
    return dict(zip(("width", "height"), pair, strict=True))


def ready(page, n=1):
    """Wait until so many experiments have begun, and the last has been drawn."""
    until(page, f"Number(document.body.dataset.experiments) >= {n} && !drawing()")


def begun(page, act):
    """Do something that begins a new experiment."""
    n = page.evaluate("Number(document.body.dataset.experiments)")
    act()
    ready(page, n + 1)


def address_of(page):
    return dict(part.split("=", 1) for part in page.evaluate("location.hash.slice(1)").split("&"))


def epoch(page):
    return int(page.inner_text("#epoch").replace(",", ""))


def step(page):
    before = epoch(page)
    page.click("#step")
    until(page, f"document.getElementById('epoch').textContent == '{before + 1}'")


def test_loss(page):
    return float(page.inner_text(".test-loss"))


test_loss.__test__ = False


def train_to(page, seconds=60):
    """Play until the page pauses by itself."""
    page.click("#play")
    page.wait_for_selector("body.playing", state="attached")
    page.wait_for_selector("body:not(.playing)", state="attached", timeout=1000 * seconds)
    until(page, "!drawing()")


def picture(page, name):
    if PICTURES:
        page.wait_for_timeout(200)
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


class TestControls:
    def test_every_control(self, opened):
        """Each takes effect: it stands in the address, and the server takes it."""
        page = opened("mode=textbook&regularization=L2&seed=0.1&hideText=false")
        names = page.evaluate(
            "[...document.querySelectorAll('main .control, #controls-top .control, "
            "#controls-player .control')].map((box) => box.dataset.name)"
        )
        assert len(names) > 14
        for name in [*names, "initZero", "hideText"]:
            if name in ("initZero", "hideText"):
                page.click("#more")
            before = address_of(page)
            self.use(page, name)
            changed = {k for k, v in address_of(page).items() if before.get(k) != v}
            assert name in changed, name
            page.keyboard.press("Escape")
            until(page, "!drawing()")
            assert page.is_hidden("#notice.wrong"), page.inner_text("#notice")
            step(page)

    def use(self, page, name):
        control = page.locator(f"#{name}")
        kind = control.evaluate("(e) => e.type")
        if not control.is_enabled():  # momentum of Adam, the loss of a regression
            page.select_option("#optimizer", label="SGD")
            page.select_option("#problem", label="Classification")
        if kind == "checkbox":
            control.click()
        elif kind == "select-one":
            now = control.evaluate("(e) => e.selectedIndex")
            control.select_option(index=1 if now != 1 else 2 if name != "mode" else 0)
        elif kind == "range":
            control.focus()
            control.press("ArrowRight")
        else:
            control.fill("500" if name == "stopEpoch" else "0.001")
            control.press("Tab")

    @pytest.mark.slow
    def test_each_has_a_sentence(self, opened):
        page = opened()
        for box in page.query_selector_all(".control[data-name]"):
            text = box.get_attribute("title")
            assert text is None or text.endswith(".")
        for target in ("#learningRate", "#regenerate", '[data-feature="sinX"]', '[data-set="xor"]'):
            page.focus(target)
            assert len(page.inner_text("#explain")) > 30

    @pytest.mark.slow
    def test_all_sets_and_features(self, opened):
        page = opened("mode=textbook&seed=0.3")
        for name in ("xor", "gauss", "spiral", "circle"):
            begun(page, lambda name=name: page.click(f'[data-set="{name}"]'))
            assert address_of(page)["dataset"] == name
        for name in ("xSquared", "ySquared", "xTimesY", "sinX", "sinY"):
            begun(page, lambda name=name: page.click(f'[data-feature="{name}"]'))
            assert address_of(page)[name] == "true"
        picture(page, "features")
        begun(page, lambda: page.select_option("#problem", label="Regression"))
        begun(page, lambda: page.click('[data-set="reg-gauss"]'))
        assert page.is_hidden(".confusion")
        step(page)
        picture(page, "regression")

    @pytest.mark.slow
    def test_a_net_keeps_an_input(self, opened):
        page = opened("x=true&y=false&mode=textbook")
        page.click('[data-feature="x"]')
        assert "one input at least" in page.inner_text("#notice")

    @pytest.mark.slow
    def test_layers_and_units(self, opened):
        page = opened("mode=textbook&networkShape=4,2")
        begun(page, lambda: page.click("#more-layers"))
        begun(page, lambda: page.click('[aria-label="Add a unit to layer 3"]'))
        begun(page, lambda: page.click('[aria-label="Remove a unit from layer 1"]'))
        select = '[aria-label="Activation of layer 2"]'
        begun(page, lambda: page.select_option(select, label="GELU"))
        assert address_of(page)["networkShape"] == "3,2,3"
        assert address_of(page)["activations"] == "tanh,gelu,tanh"
        assert page.locator(".hidden-layer .unit").count() == 8
        for _ in range(3):
            begun(page, lambda: page.click("#fewer"))
        assert page.is_disabled("#fewer") and address_of(page)["networkShape"] == ""
        step(page)

    @pytest.mark.slow
    def test_the_largest_net(self, opened):
        shape = ",".join(["16"] * 10)
        page = opened(f"mode=textbook&networkShape={shape}&activation=relu")
        assert page.is_disabled("#more-layers")
        assert page.is_disabled('[aria-label="Add a unit to layer 1"]')
        step(page)
        picture(page, "largest")

    @pytest.mark.slow
    def test_weights_by_hand(self, opened):
        page = opened("mode=textbook&seed=0.5")
        page.click('[aria-label="Unit 2 of layer 1"]')
        fields = page.locator("#card input")
        assert fields.count() == 3
        picture(page, "card")
        before = test_loss(page)
        fields.nth(1).fill("4.5")
        fields.nth(1).press("Enter")
        until(page, f"document.querySelector('.test-loss').textContent != '{before}'")
        assert page.is_hidden("#card")
        page.click('[aria-label="Unit 2 of layer 1"]')
        assert float(fields.nth(1).input_value()) == 4.5
        page.keyboard.press("Escape")
        line = page.locator(".felt path").first
        line.dispatch_event("pointerover")
        assert re.fullmatch(r"Weight from X₁ to unit 1 of layer 1: .?\d\.\d{3}",
                            page.inner_text("#card"))  # fmt: skip
        line.dispatch_event("click")
        assert fields.count() == 1

    @pytest.mark.slow
    def test_the_large_view(self, opened):
        page = opened("mode=textbook&seed=0.5")
        page.hover('[aria-label="Unit 2 of layer 1"]')
        until(page, "document.getElementById('shown').textContent.startsWith('Unit 2')")
        picture(page, "unit")
        page.hover("#shown")
        until(page, "document.getElementById('shown').textContent == 'Output'")
        page.hover(".now .points")
        assert re.fullmatch(r"X₁ \S+, X₂ \S+: .?\d\.\d{3}", page.inner_text(".reading"))


class TestAddresses:
    def test_of_the_original(self, opened):
        page = opened(ORIGINAL)
        given = dict(part.split("=") for part in ORIGINAL.split("&"))
        found = address_of(page)
        unused = {"cosX", "cosY", "collectStats", "playButton_hide"}
        for name in given.keys() - unused:
            assert found[name] == given[name], name
        assert found["mode"] == "original" and found["loss"] == "squared"
        assert "original" in page.inner_text("#notice")
        assert page.is_hidden('[data-name="noise"]') and page.is_visible("#play")
        assert page.is_hidden("#text") and page.is_checked("#discretize")
        picture(page, "original")
        begun(page, lambda: page.click("#notice button:first-of-type"))
        assert address_of(page)["mode"] == "textbook"

    @pytest.mark.slow
    def test_of_one_page_open_the_same_in_another(self, opened):
        page = opened("mode=textbook&seed=0.25&networkShape=3&optimizer=adam&noise=20")
        step(page)
        other = opened(page.evaluate("location.hash.slice(1)"))
        step(other)
        assert page.inner_text(".numbers") == other.inner_text(".numbers")
        assert address_of(page) == address_of(other)

    @pytest.mark.slow
    def test_changed_by_hand(self, opened):
        page = opened("dataset=circle&mode=textbook")
        begun(page, lambda: page.evaluate("location.hash = 'dataset=spiral&mode=textbook'"))
        assert address_of(page)["dataset"] == "spiral"

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "address",
        ["nonsense", "networkShape=,,x,99999,-1&batchSize=x&noise=1e9&learningRate=&seed=%zz&a=b=c",
         "dataset=own&mode=textbook&points=%%%", "activation=__proto__&mode=constructor",
         "dataset=file&mode=textbook&x=false&y=false", "percTrainData=1000&networkShape="],
    )  # fmt: skip
    def test_what_makes_no_sense_is_left_out(self, browser, server, address):
        page = browser.new_page()
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{server.address}#{address}")
        page.wait_for_selector('[data-set="circle"] canvas', state="attached")
        assert wrong == [] and address_of(page)["batchSize"] == "10"
        page.close()

    @pytest.mark.slow
    def test_hidden_controls(self, opened):
        names = {
            "playButton": "#play", "stepButton": "#step", "resetButton": "#reset",
            "dataset": "#sets", "numHiddenLayers": ".layers", "problem": "#problem",
            "learningRate": "#learningRate", "regularization": "#regularization",
            "regularizationRate": "#regularizationRate", "activation": "#activation",
            "percTrainData": "#percTrainData", "noise": "#noise", "batchSize": "#batchSize",
            "showTestData": "#showTestData", "discretize": "#discretize",
        }  # fmt: skip
        page = opened("&".join(f"{name}_hide=true" for name in names) + "&mode=textbook")
        page.click("#more")
        for name, element in names.items():
            assert page.is_hidden(element), name
            box = page.locator(f"#hide-{name}")
            assert not box.is_checked()
            box.click()
            assert page.is_visible(element) and f"{name}_hide" not in address_of(page)


class TestTraining:
    def test_the_spiral(self, opened):
        """To a test loss under 0.05."""
        page = opened(
            "dataset=spiral&mode=textbook&optimizer=adam&learningRate=0.01&networkShape=8,8,8"
            "&activation=tanh&seed=0.7&sinX=true&sinY=true&speed=20&stopLoss=0.049&stopEpoch=3000"
        )
        train_to(page)
        assert test_loss(page) < 0.05
        assert float(page.inner_text(".test-accuracy").split()[0]) > 95
        assert "test loss has fallen" in page.inner_text("#notice")
        picture(page, "spiral")

    @pytest.mark.slow
    def test_play_and_pause(self, opened):
        page = opened("mode=textbook")
        page.click("#play")
        until(page, "document.getElementById('epoch').textContent !== '0'")
        page.click("#play")
        page.wait_for_selector("body:not(.playing)", state="attached")
        assert epoch(page) % 5 == 0

    @pytest.mark.slow
    def test_stop_after_an_epoch_and_go_back(self, opened):
        page = opened("mode=textbook&stopEpoch=40&speed=5&seed=0.1")
        first = page.inner_text(".numbers")
        train_to(page)
        assert epoch(page) == 40
        last = page.inner_text(".numbers")
        page.click("#back")
        until(page, "document.getElementById('epoch').textContent == '35'")
        page.locator("#chart").click(position={"x": 20, "y": 20})
        until(page, "Number(document.getElementById('epoch').textContent) < 10")
        train_to(page)
        assert page.inner_text(".numbers") == last
        page.click("#reset")
        until(page, "document.getElementById('epoch').textContent == '0'")
        until(page, "!drawing()")
        assert page.inner_text(".numbers") == first

    @pytest.mark.slow
    def test_settings_while_it_trains(self, opened):
        page = opened("mode=textbook")
        page.click("#play")
        page.select_option("#learningRate", label="0.1")
        page.select_option("#speed", label="1")
        until(page, "Number(document.getElementById('epoch').textContent) > 10")
        assert page.evaluate("document.body.classList.contains('playing')")
        page.click("#play")
        assert page.is_hidden("#notice")

    @pytest.mark.slow
    def test_new_data_and_weights(self, opened):
        page = opened("mode=textbook&seed=0.1")
        begun(page, lambda: page.click("#restart"))
        assert address_of(page)["start"] == "1" and address_of(page)["seed"] == "0.1"
        begun(page, lambda: page.click("#regenerate"))
        assert address_of(page)["seed"] != "0.1" and "start" not in address_of(page)

    @pytest.mark.slow
    def test_comparison(self, opened):
        page = opened("mode=textbook&stopEpoch=60&seed=0.1&noise=20")
        train_to(page)
        page.click("#compare")
        assert page.is_visible("#pinned")
        begun(page, lambda: page.select_option("#optimizer", label="Adam"))
        train_to(page)
        assert "epoch 60" in page.inner_text("#pinned figcaption")
        page.set_viewport_size(size(PROJECTOR))
        picture(page, "comparison")
        page.click("#unpin")
        assert page.is_hidden("#pinned")

    @pytest.mark.slow
    def test_begin_at_zero(self, opened):
        page = opened("mode=textbook&initZero=true")
        step(page)
        page.click('[aria-label="Unit 1 of layer 1"]')
        assert float(page.locator("#card input").nth(1).input_value()) == 0

    @pytest.mark.slow
    def test_drawing_takes_part_of_a_frame(self, opened):
        page = opened("mode=textbook&stopEpoch=100")
        train_to(page)
        times = page.evaluate("drawTimes")
        assert times and all(math.isfinite(time) and time >= 0 for time in times)


class TestData:
    @pytest.mark.slow
    def test_points_drawn_with_the_mouse(self, opened):
        page = opened("mode=textbook&percTrainData=80&seed=0.1")
        page.click('[data-set="own"]')
        box = page.locator(".now .points").bounding_box()
        at = lambda x, y: (box["x"] + x * box["width"], box["y"] + y * box["height"])  # noqa: E731
        page.mouse.move(*at(0.1, 0.1))
        page.mouse.down()
        page.mouse.move(*at(0.1, 0.8), steps=20)
        page.mouse.up()
        ready(page, 2)
        page.click('[data-brush="-1"]')
        for x in (0.5, 0.6, 0.7, 0.8):
            begun(page, lambda x=x: page.mouse.click(*at(x, 0.4)))
        shown = address_of(page)["points"]
        begun(page, lambda: page.click('[data-brush="undo"]'))
        assert len(address_of(page)["points"]) == len(shown) - 4
        other = opened(page.evaluate("location.hash.slice(1)"))
        for one in (page, other):
            step(one)
            step(one)
        assert page.inner_text(".numbers") == other.inner_text(".numbers")
        picture(page, "drawn")
        page.click('[data-brush="clear"]')
        assert "points" not in address_of(page)

    def drop(self, page, name, text):
        transfer = page.evaluate_handle(
            "([name, text]) => { const t = new DataTransfer();"
            " t.items.add(new File([text], name)); return t; }",
            [name, text],
        )
        page.dispatch_event("main", "dragover", {"dataTransfer": transfer})
        assert page.is_visible("#drop")
        page.dispatch_event("main", "drop", {"dataTransfer": transfer})
        assert page.is_hidden("#drop")

    def test_a_csv_file(self, opened):
        page = opened("mode=textbook&seed=0.1&learningRate=0.3&stopEpoch=100")
        begun(page, lambda: self.drop(page, "mine.csv", CSV))
        assert "mine.csv: 60 rows" in page.inner_text("#notice")
        assert address_of(page)["dataset"] == "file"
        train_to(page)
        assert test_loss(page) < 0.3
        picture(page, "table")
        self.drop(page, "bad.csv", "a,b,c\n1,2,x\n3,oops,y\n")
        page.wait_for_selector("#notice.wrong")
        assert "bad.csv: line 3, column 'b': 'oops' is not a number" in page.inner_text("#notice")
        begun(page, lambda: page.click('[data-set="circle"]'))
        begun(page, lambda: page.click('[data-set="file"]'))

    @pytest.mark.slow
    def test_a_csv_file_of_numbers(self, opened, tmp_path):
        path = tmp_path / "prices.csv"
        path.write_text(NUMBERS)
        page = opened("mode=textbook")
        begun(page, lambda: page.set_input_files("#file", path))
        assert address_of(page)["problem"] == "regression"


class TestExports:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "address",
        ["mode=textbook&optimizer=adam&seed=0.2", "mode=original&loss=squared&percTrainData=30"],
    )
    def test_the_program_does_what_the_page_did(self, opened, address):
        page = opened(f"{address}&stopEpoch=30")
        train_to(page)
        page.select_option("#learningRate", label="0.003")
        page.click('[aria-label="Output unit"]')
        page.locator("#card input").first.fill("0.25")
        page.keyboard.press("Enter")
        step(page)
        page.click("#python")
        text = page.inner_text("#program pre")
        picture(page, "python")
        with page.expect_download() as download:
            page.click("#save-program")
        assert Path(download.value.path()).read_text() == text
        printed = run_program(text)[1].split()
        assert float(printed[-1]) == pytest.approx(test_loss(page), abs=5.1e-4)

    @pytest.mark.slow
    def test_files(self, opened):
        page = opened("mode=textbook&optimizer=adam&seed=0.2&stopEpoch=20")
        train_to(page)
        found = {}
        for kind in ("model", "onnx", "c"):
            if kind == "onnx":
                pytest.importorskip("onnxruntime")
            page.click("#save")
            with page.expect_download() as download:
                page.click(f'[data-file="{kind}"]')
            found[download.value.suggested_filename] = download.value.path()
        x = np.float32([[1.5, -2.5], [0.1, 4]])
        net = cmlp.load(found["net.safetensors"])
        assert b"predict" in Path(found["net.c"]).read_bytes()
        import onnxruntime

        session = onnxruntime.InferenceSession(found["net.onnx"])
        (y,) = session.run(None, {session.get_inputs()[0].name: x})
        np.testing.assert_allclose(y, net.predict(x), rtol=1e-4)


class TestLooks:
    @pytest.mark.slow
    @pytest.mark.parametrize("at", [PHONE, (820, 1180), LAPTOP, PROJECTOR], ids=str)
    def test_sizes(self, opened, at):
        page = opened("mode=textbook&networkShape=8,8,8,8,8,8&seed=0.1&stopEpoch=20", at=at)
        train_to(page)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, "the page scrolls sideways"
        for button in ("#play", "#step", "#python", "#regenerate", "#learningRate"):
            box = page.locator(button).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= at[0]
        box = page.locator(".now .map").bounding_box()
        assert box["width"] == pytest.approx(box["height"], abs=1) and box["width"] > 250
        picture(page, f"size-{at[0]}")

    def test_keyboard(self, opened):
        page = opened("mode=textbook&seed=0.1")
        page.keyboard.press("ArrowRight")
        until(page, "document.getElementById('epoch').textContent == '1'")
        page.keyboard.press("ArrowLeft")
        until(page, "document.getElementById('epoch').textContent == '0'")
        page.keyboard.press(" ")
        page.wait_for_selector("body.playing", state="attached")
        page.keyboard.press(" ")
        page.wait_for_selector("body:not(.playing)", state="attached")
        begun(page, lambda: page.keyboard.press("w"))
        begun(page, lambda: page.keyboard.press("r"))
        begun(page, lambda: page.keyboard.press("d"))
        page.keyboard.press("c")
        assert page.is_visible("#pinned")

    @pytest.mark.slow
    def test_everything_is_reached_by_the_tab_key(self, opened):
        page = opened("mode=textbook")
        wanted = page.evaluate(
            "[...document.querySelectorAll('button, select, input')]"
            ".filter((e) => e.offsetParent && !e.disabled && !e.closest('dialog')).length"
        )
        seen = set()
        for _ in range(wanted + 10):
            page.keyboard.press("Tab")
            seen.add(
                page.evaluate(
                    "[...document.querySelectorAll('button, select, input')]"
                    ".indexOf(document.activeElement)"
                )
            )
        assert len(seen - {-1}) == wanted
        page.focus('[aria-label="Unit 1 of layer 2"]')
        until(page, "document.getElementById('shown').textContent.startsWith('Unit 1')")
        page.keyboard.press("Enter")
        assert page.is_visible("#card")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.ariaLabel") == "Unit 1 of layer 2"

    @pytest.mark.slow
    def test_everything_has_a_name(self, opened):
        page = opened("mode=textbook")
        nameless = page.evaluate(
            "[...document.querySelectorAll('button, select, input')].filter((e) => "
            "!e.ariaLabel && !e.labels?.length && !e.textContent.trim()).map((e) => e.outerHTML)"
        )
        assert nameless == []

    def test_the_end_of_the_server_is_told(self, browser):
        with served() as short:
            page = browser.new_page()
            page.goto(short.address)
            ready(page)
        page.wait_for_selector("#notice.wrong")
        assert "The server has ended" in page.inner_text("#notice")
        page.close()

    @pytest.mark.slow
    def test_nothing_comes_from_elsewhere(self, browser, server):
        page = browser.new_page()
        seen = []
        page.on("request", lambda request: seen.append(request.url))
        page.goto(server.address)
        ready(page)
        assert seen and all(url.startswith(server.address) for url in seen)
        assert json.dumps(seen).count(".js") > 5
        page.close()
