"""The live page in a browser: training, data, exports."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from playground_browser import (
    PROJECTOR,
    address_of,
    begun,
    epoch,
    fixtures,
    picture,
    ready,
    size,
    step,
    test_loss,
    train_to,
    until,
)
from playground_parts import CSV, NUMBERS, run_program

import cmlp

browser, opened, server = fixtures


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
