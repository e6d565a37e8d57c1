"""The report in a real browser. CHROMIUM may name the program; without one the tests are skipped."""

import os
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from report.report_cases import GOOD, make_judgement, make_matches, make_ranking, write_photos

from src.report.report import write_report

BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: install it, or name it in CHROMIUM")

OFFLINE = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
           "--disable-sync")  # fmt: skip
GREEN, RED, GREY = (0x17, 0x8A, 0x48), (0xCC, 0x35, 0x38), (0x8C, 0x94, 0x9B)  # --positive, --negative, --junk
LINE_COLOURS = [(0xFF, 0xD2, 0x3F), (0x3F, 0xD0, 0xFF), (0x7C, 0xFF, 0x6B)]  # .l0, .l1, .l3


def browse(page, *options):
    profile = f"--user-data-dir={page.parent / 'profile'}"
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *OFFLINE, profile, *options]
    command = [BROWSER, *arguments, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=page.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def photograph(page, width=1200, height=1800):
    """The page as [height, width, 3] RGB."""
    picture = page.with_suffix(".png")
    browse(page, f"--window-size={width},{height}", f"--screenshot={picture}")
    return cv2.imread(str(picture))[:, :, ::-1].astype(int)


def count(picture, colour, tolerance=12):
    return int((np.abs(picture - colour).max(axis=2) <= tolerance).sum())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_photos(folder / "photos")
    return write_report(folder / "report.html", make_ranking(), [folder / "photos"], make_judgement(), make_matches())


@pytest.fixture(scope="module")
def opened(page):
    """The same page with the second result of the query that has inliers opened, as a click would."""
    before, after = page.read_text(encoding="utf-8").split(f"<h2>{GOOD}")
    copy = page.with_name("opened.html")
    copy.write_text(
        f"{before}<h2>{GOOD}" + after.replace('<details class="negative"', "<details open class='negative'", 1)
    )
    return copy


def test_frames_and_photos_appear(page):
    picture = photograph(page)
    assert picture.shape == (1800, 1200, 3) and picture.std() > 20
    assert count(picture, GREEN) > 1000 and count(picture, RED) > 10_000 and count(picture, GREY) > 1000
    assert count(picture, (90, 90, 90), 25) > 50_000  # the photos are grey noise
    assert sum(count(picture, colour) for colour in LINE_COLOURS) == 0


def test_opened_result_shows_its_lines(page, opened):
    before, after = photograph(page, height=2400), photograph(opened, height=2400)
    assert all(count(after, colour) > 200 for colour in LINE_COLOURS)
    assert count(after, (90, 90, 90), 25) - count(before, (90, 90, 90), 25) > 50_000  # query and result, large


def test_narrow_window_is_not_overflown(opened):
    """On a telephone nothing may stick out to the right: the margin stays empty from top to bottom."""
    picture = photograph(opened, 500, 4000)
    margin = picture[:, -12:]
    assert (margin.max(axis=(1, 2)) - margin.min(axis=(1, 2))).max() < 3
    assert count(picture, RED) > 10_000


def test_browser_understands_the_page(page):
    tree = browse(page, "--dump-dom")
    assert tree.count("<section ") == 3 and tree.count("<summary ") == 30 and tree.rstrip().endswith("</html>")
    assert "2 to find, the first at rank 2" in tree
