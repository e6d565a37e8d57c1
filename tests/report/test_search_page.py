"""The page of a search, without a network: what it says and shows."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from report.report_cases import NAMES, write_photos

from src.matching.same_place import Verdict
from src.records import LocalFeatures, Matches, Photo
from src.report import search_page
from src.report.search_page import SearchPage
from src.retrieval.photo_search import Found, Result


def features_of(points):
    points, ones = np.reshape(points, (-1, 2)), np.ones(len(points))
    return LocalFeatures(points, ones, ones, np.eye(len(points), 4), (400, 200))


QUERY = features_of([[0, 0], [400, 200], [200, 100]])
PHOTO = features_of([[40, 20], [80, 40], [120, 60]])


class Index:
    """What the page asks of an index: three keypoints of each photo."""

    keypoints = np.tile(PHOTO.keypoints, (len(NAMES), 1))

    def __len__(self):
        return len(NAMES)

    def rows(self, photo):
        return slice(3 * photo, 3 * photo + 3)


def result(rank, name, inliers, verdict=None, indices=((0, 1), (1, 0), (2, 2))):
    matches = Matches(np.array(indices).reshape(-1, 2), np.zeros(len(indices)), inliers)
    return Result(rank, rank, name, 9.0 - rank, matches, verdict)


@pytest.fixture
def photos(tmp_path):
    write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def make_page(photos, results, name="mine.jpg", count=1, judged=False, left_out=""):
    page = SearchPage(Index(), photos)
    for _ in range(count):
        page.add(Found(Photo(name, str(photos / "photo_a.jpg")), QUERY, results, judged, left_out))
    page.write(photos.parent / "search.html", "Search of <holiday>")
    return (photos.parent / "search.html").read_text(encoding="utf-8")


def test_page(photos):
    page = make_page(
        photos,
        [
            result(1, "photo_b.jpg", [True, True, False]),
            result(2, "photo_c.jpg", [False, True, False]),
            result(3, "photo_<l>.jpg", [True, False, False]),
            result(4, "photo_d.jpg", None),
        ],
        "my <photo>",
    )
    assert "Search of &lt;holiday&gt;" in page and "my &lt;photo&gt;" in page and "photo_&lt;l&gt;" in page
    assert "1 queries in 12 photos. Open a result to see its inliers." in page and "3 features" in page
    assert re.findall(r"<b>(\d)</b> inliers of (\d)", page) == [("2", "3"), ("1", "3"), ("1", "3")]
    assert "3, not verified" in page and re.findall(r"<details( open)?>", page) == [" open", ""]
    assert re.findall(r'<s style="width:(\d+)%', page) == ["67", "33", "33", "0"]  # of the query's three features
    # matches hold (row of the index photo, row of the query); photos of 600 x 300 units with 12 between them
    assert re.findall(r"M(\d+) (\d+)L(\d+) (\d+)", page)[:2] == [("600", "300", "672", "30"), ("0", "0", "732", "60")]
    assert page.count("no such photo") == 1
    assert not re.search(r"<script|@import|\bsrc=|url\((?!data:image/jpeg;base64,)|https?://", page)
    assert page.count("data:image/jpeg") == 4  # each photo once


def test_verdicts(photos):
    answers = [("yes", 0.996), ("perhaps", 0.4), ("no", 0.004)]
    rows = [
        result(n, f"photo_{name}.jpg", [True] * 3, Verdict(*answers[n - 1]))
        for n, name in ((1, "b"), (2, "c"), (3, "d"))
    ]
    page = make_page(photos, rows, judged=True, left_out="photo_<a>.jpg")
    assert re.findall(r'<em class="(\w+)">([^<]*)</em>', page) == [
        ("yes", "yes, 99.6 %"), ("perhaps", "perhaps, 40 %"), ("no", "no, 0.4 %")]  # fmt: skip
    assert re.findall(r'<span class="bar (\w+)"><s style="width:(\d+)%', page) == [
        ("yes", "100"), ("perhaps", "40"), ("no", "0")]  # fmt: skip
    assert "<p>Left out: photo_&lt;a&gt;.jpg, the query itself.</p>" in page
    assert "Nothing here is the same place" not in page
    assert "<b>Nothing here is the same place.</b>" in make_page(photos, rows[2:], judged=True)
    assert "Nothing here is the same place" not in make_page(photos, rows[2:])  # not judged


def test_nothing_found_and_too_many_queries(photos, monkeypatch):
    assert "Nothing in the index resembles it." in make_page(photos, [])
    monkeypatch.setattr(search_page, "_SHOWN_QUERIES", 2)
    page = make_page(photos, [result(1, "photo_b.jpg", [True] * 3)], count=3)
    assert "3 queries in 12 photos" in page and "The first 2 queries are shown." in page and page.count("<section") == 2


def test_an_unreadable_query_shows_its_results(photos):
    page = SearchPage(Index(), photos)
    page.add(
        Found(
            SimpleNamespace(name="k", path=str(photos / f"{NAMES[-2]}.jpg")),
            QUERY,
            [result(1, "photo_b.jpg", [True] * 3)],
        )
    )
    page.write(photos.parent / "s.html", "s")
    text = (photos.parent / "s.html").read_text(encoding="utf-8")
    assert "cannot be read" in text and "<details" not in text and "<b>3</b> inliers" in text


def test_names_from_outside_are_shown_as_text(photos):
    """Escape sequences, line ends and bytes that are no Unicode; the page is written, and holds none of them."""
    odd = "a\x1b[31m\n\udcff<b>.jpg"
    page = make_page(photos, [result(1, odd, [True] * 3)], "q" + odd)
    assert page.count(r"a\x1b[31m\n\udcff&lt;b&gt;.jpg") >= 2 and "\x1b" not in page and "<b>.jpg" not in page


def test_a_photo_is_shown_although_its_disk_spells_it_otherwise(photos):
    (photos / "photo_b.jpg").rename(photos / "caf\N{LATIN SMALL LETTER E}\N{COMBINING ACUTE ACCENT}.jpg")
    page = make_page(photos, [result(1, "caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg", [True] * 3)])
    assert "no such photo" not in page and page.count("data:image/jpeg") == 2
