"""The live page in a browser: Debian's Chromium, led by playwright; fixtures and helpers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playground_parts import served

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
    "--disable-dev-shm-usage",
]  # fmt: skip
PICTURES = os.environ.get("CMLP_PICTURES")  # a folder, to look at them

PHONE, LAPTOP, PROJECTOR = (390, 844), (1366, 768), (1920, 1080)


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=120_000)
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
    context.set_default_timeout(120_000)
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


fixtures = browser, opened, server
"""For a module of tests, which has to name them."""


def until(page, condition):
    """Wait until it holds.  The page's policy forbids what playwright has for this."""
    for _ in range(12_000):
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


test_loss.__test__ = False  # type: ignore[attr-defined]


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
