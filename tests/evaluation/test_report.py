import base64
import re

import cv2
import numpy as np
import pytest

from src.errors import UserError
from src.evaluation.ground_truth import GroundTruth, QueryTruth
from src.evaluation.protocols import evaluate
from src.evaluation.report import write_report
from src.records import Ranking

NAMES = [f"photo_{letter}" for letter in "abcdefghijkl"]  # l has no file
GOOD, WORSE, EMPTY = "good_1", "worse_1", "empty_1"


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "photos" / "jpg"
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES[:-1]):
        image = np.full((200, 400, 3), 20 * number, np.uint8)
        cv2.imwrite(str(folder / f"{name}.jpg"), image)
    return tmp_path / "photos"


def query(name, box=None, **lists):
    return QueryTruth(name, "photo_a", box, {"good": (), "ok": (), "junk": (), **lists})


@pytest.fixture
def judged():
    queries = (
        query(EMPTY),
        query(GOOD, (100.0, 50.0, 300.0, 250.0), good=("photo_a",), junk=("photo_c",)),
        query(WORSE, good=("photo_k", "photo_<x>")),
    )
    truth = GroundTruth("tiny & small", "text", queries)
    ranks = np.array([np.arange(12)] * 2 + [np.arange(12)[::-1]])
    ranking = Ranking([q.name for q in queries], NAMES, ranks, np.tile(np.arange(12, 0, -1) + 0.5, (3, 1)))
    return truth, ranking, evaluate(truth, ranking, "classic")


def test_page(tmp_path, images, judged):
    page = write_report(tmp_path / "report.html", *judged, images).read_text(encoding="utf-8")
    assert [page.index(f"<h2>{name}") for name in (WORSE, GOOD, EMPTY)] == sorted(
        page.index(f"<h2>{name}") for name in (WORSE, GOOD, EMPTY)
    )
    assert "tiny &amp; small" in page and "no positives" in page
    assert not re.search(r"(src|href)=\"(?!data:)|<script|@import|url\(", page)  # nothing from outside
    good = page[page.index(f"<h2>{GOOD}") : page.index(f"<h2>{EMPTY}")]
    kinds = re.findall(r'<figure class="(\w+)"', good)
    assert kinds == ["query", "positive", "negative", "junk"] + ["negative"] * 7
    assert "1 &#183; 12.5</span><span>photo_a" in good and "photo_k" not in good  # ten results
    # the box, in percent of the photo, ends at its border
    assert "left:25.00%;top:25.00%;width:50.00%;height:75.00%" in good and 'class="box"' in good
    worse = page[page.index(f"<h2>{WORSE}") : page.index(f"<h2>{GOOD}")]
    assert "2 to find, the first at rank 2" in worse
    assert worse.count("no photo") == 1 and 'class="box' not in worse


def test_thumbnails_are_small_jpegs(tmp_path, images, judged):
    page = write_report(tmp_path / "report.html", *judged, images).read_text(encoding="utf-8")
    data = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(data) == 3 * 11 - 1
    shapes = {cv2.imdecode(np.frombuffer(base64.b64decode(d), np.uint8), cv2.IMREAD_COLOR).shape for d in data}
    assert shapes == {(80, 160, 3)}


def test_finished_page_is_kept_and_another_refused(tmp_path, images, judged):
    truth, ranking, evaluation = judged
    path = write_report(tmp_path / "report.html", *judged, images)
    before = path.stat().st_mtime_ns
    write_report(path, *judged, images)
    assert path.stat().st_mtime_ns == before
    other = Ranking(ranking.query_names, ranking.index_names, ranking.ranks[:, ::-1], ranking.scores)
    evaluation = evaluate(truth, other, "classic")
    with pytest.raises(UserError, match="--overwrite"):
        write_report(path, truth, other, evaluation, images)
    write_report(path, truth, other, evaluation, images, overwrite=True)
    assert path.stat().st_mtime_ns != before


def test_missing_folder(tmp_path, judged):
    with pytest.raises(UserError, match="--images_path"):
        write_report(tmp_path / "report.html", *judged, tmp_path / "none")
