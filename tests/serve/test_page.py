"""The search page in a real browser: Chromium driven by Playwright. CHROMIUM may name the program."""

import os
import shutil
import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from retrieval.own_photos import picture
from serve.serving import running

playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: requirements-dev.txt")
BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: install it, or name it in CHROMIUM")

# Relative luminance and contrast of WCAG 2.1, of the text of each element on the first opaque background behind it
CONTRAST = """selectors => selectors.map(selector => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const weighed = (v, i) => linear(v / 255) * [.2126, .7152, .0722][i];
  const light = colour => numbers(colour).slice(0, 3).map(weighed).reduce((a, b) => a + b);
  const element = document.querySelector(selector), filled = at => getComputedStyle(at).backgroundColor;
  let behind = element;
  while (behind.parentElement && (numbers(filled(behind))[3] ?? 1) === 0) behind = behind.parentElement;
  const [a, b] = [light(getComputedStyle(element).color), light(filled(behind))];
  return [selector, (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
})"""

TEXTS = (
    "h1", "#status", "#search", ".counts", ".counts em", "#results .name", "#photos span", "legend", "footer a",
    ".drop b",
)  # fmt: skip


def upload(page, seed=4, kind="PNG", lost=40):
    """Choose a photo that is none of the collection: photo ``seed`` without its upper part."""
    pixels, stream = np.asarray(picture(seed)).copy(), BytesIO()
    pixels[:lost] = 0
    Image.fromarray(pixels).save(stream, kind)
    file = {"name": f"mine.{kind.lower()}", "mimeType": f"image/{kind.lower()}", "buffer": stream.getvalue()}
    page.set_input_files("#file", file)
    page.wait_for_selector("#search:enabled")


def wait_until(page, expression, arg=None):
    """That an expression holds; ``wait_for_function`` would evaluate text in the page, which its policy forbids."""
    end = time.monotonic() + 180
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def search(page):
    page.click("#search")
    page.wait_for_selector("#results details")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        options = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", *options])
        yield started
        started.close()


@pytest.fixture
def open_page(browser, port):
    """Opens the page; a mistake of its script, or of its policy, fails the test."""
    contexts, mistakes = [], []

    def open_one(number=port, **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        context.set_default_timeout(180_000)  # a busy machine is slow
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("console", lambda message: message.type == "error" and mistakes.append(message.text))
        page.goto(f"http://127.0.0.1:{number}/")
        page.wait_for_selector("#photos button")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not [text for text in mistakes if "status of 4" not in text]  # which the browser itself writes


def test_upload_search_and_lines(open_page):
    page = open_page()
    assert page.locator("#photos button").count() == 7 and page.locator("h1").inner_text() == "made"
    upload(page)
    search(page)
    assert page.inner_text("#verdict") == "The same place is here."
    first = page.locator("#results details").first
    assert "4.png" in first.inner_text() and "yes, 99.6 %" in first.inner_text()
    assert first.get_attribute("open") is not None and first.locator("svg path.l0").count() == 2
    drawn = first.locator(".pair").bounding_box()
    assert drawn["width"] > 300 and abs(drawn["width"] / drawn["height"] - 762 / 300) < 0.1
    second = page.locator("#results details").nth(1)
    assert second.locator(".pair").count() == 0
    second.locator("summary").click()
    assert second.locator(".pair img").count() == 2
    second.locator("button").click()  # search with this photo
    wait_until(page, "!document.querySelector('#query').src.startsWith('blob:')")
    search(page)
    assert second.locator("summary .name").inner_text() not in page.inner_text("#query_name")


def test_a_box_is_drawn_and_cleared(open_page):
    page = open_page()
    upload(page)
    search(page)
    whole = page.inner_text("#status")
    frame = page.locator("#query").bounding_box()
    page.mouse.move(frame["x"] + frame["width"] * 0.1, frame["y"] + frame["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] * 0.6, frame["y"] + frame["height"] * 0.9, steps=3)
    page.mouse.up()
    sides = [int(page.input_value(f"#side_{side}")) for side in ("left", "top", "right", "bottom")]
    np.testing.assert_allclose(sides, [10, 20, 60, 90], atol=1)
    assert page.is_visible("#box")
    with page.expect_request("**/api/search*") as sent:
        search(page)
    box = [float(side) for side in sent.value.url.split("box=")[1].split("&")[0].replace("%2C", ",").split(",")]
    np.testing.assert_allclose(box, [32, 51, 192, 230], atol=4)  # of 320 x 256 pixels
    wait_until(page, "before => document.querySelector('#status').textContent !== before", whole)
    page.click("#whole")
    assert not page.is_visible("#box")
    page.fill("#side_left", "90")
    page.fill("#side_right", "10")
    page.click("#search")
    assert "the box is empty" in page.inner_text("#status.bad")


def test_by_keyboard_alone(open_page):
    page = open_page()

    def focus(id, key="Tab"):
        for _ in range(40):
            page.keyboard.press(key)
            if page.evaluate("document.activeElement.id || document.activeElement.className") == id:
                return
        raise AssertionError(f"{id} cannot be reached")

    focus("file")
    focus("browse_folder")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the first photo of the collection
    wait_until(page, "document.activeElement.id === 'search'")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    focus("side_left", "Shift+Tab")
    page.keyboard.type("30")
    focus("search")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results details")
    focus("result")
    page.keyboard.press("Enter")  # closes the first result
    assert page.locator("#results details").first.get_attribute("open") is None
    assert page.get_attribute("#status", "aria-live") == "polite"


def test_dark_and_light_can_be_read(open_page):
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        upload(page)
        search(page)
        for selector, ratio in page.evaluate(CONTRAST, list(TEXTS)):
            assert ratio >= 4.5, (scheme, selector, ratio)
        shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, shade[4:-1].split(","))) < 60) == (scheme == "dark")


def test_on_a_telephone_nothing_sticks_out(open_page):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True)
    upload(page)
    search(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#search").bounding_box()["height"] >= 36


def test_folders_filter_results_and_photos(open_page):
    page = open_page()
    page.select_option("#browse_folder", "trip")
    wait_until(page, "document.querySelectorAll('#photos button').length === 3")
    page.select_option("#folder", "trip/day 1")
    upload(page, 1)
    search(page)
    names = page.locator("#results .name").all_inner_texts()
    assert names and all(name.startswith("trip/day 1/") for name in names)


def test_what_is_no_photo_is_told_and_a_tiff_is_shown(open_page):
    page = open_page()
    page.set_input_files("#file", {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"<svg/>"})
    page.wait_for_selector("#status.bad")
    assert "this is no photo" in page.inner_text("#status") and page.is_disabled("#search")
    page.set_input_files("#file", {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"x" * 2_100_000})
    wait_until(page, "document.querySelector('#status').textContent.includes('larger than 2 MB')")
    upload(page, kind="TIFF")
    assert page.evaluate("document.querySelector('#query').src.startsWith('data:image/jpeg')")
    search(page)


def test_the_steps_of_what_was_found_through_another(open_page, opening):
    with running(opening(rerank="ransac,graph")) as port:
        page = open_page(port)
        upload(page, lost=0)
        search(page)
        found = page.locator("#results details", has_text="found through another").first
        if found.get_attribute("open") is None:
            found.locator("summary").click()
        assert "Found through" in found.locator(".through").inner_text() and found.locator(".pair").count() == 3
