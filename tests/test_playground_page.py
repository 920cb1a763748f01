"""The live page in a browser: controls, addresses, sizes, keys."""

from __future__ import annotations

import json
import re

import pytest
from playground_browser import (
    LAPTOP,
    PHONE,
    PROJECTOR,
    address_of,
    begun,
    fixtures,
    picture,
    ready,
    step,
    test_loss,
    train_to,
    until,
)
from playground_parts import served

browser, opened, server = fixtures

# What every address of the original has.
ORIGINAL = (
    "activation=relu&regularization=L2&batchSize=20&dataset=gauss&regDataset=reg-gauss"
    "&learningRate=0.1&regularizationRate=0.003&noise=15&networkShape=3,5&seed=0.84062"
    "&showTestData=true&discretize=true&percTrainData=70&x=true&y=false&xTimesY=true"
    "&xSquared=false&ySquared=true&cosX=false&sinX=true&cosY=false&sinY=false"
    "&collectStats=false&problem=classification&initZero=false&hideText=true"
    "&playButton_hide=false&noise_hide=true"
)


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
        page.keyboard.press("Escape")
        page.hover('[aria-label="Output unit"] .bias')
        assert page.inner_text("#card") == "Bias of the output: 0.000"

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
