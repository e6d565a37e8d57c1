import re
from html.parser import HTMLParser

import numpy as np
import pytest
from report.report_cases import (
    EMPTY,
    GOOD,
    NAMES,
    WORSE,
    make_judgement,
    make_matches,
    make_ranking,
    make_steps,
    query,
    write_photos,
)
from runs import run

from src.errors import UserError
from src.evaluation.evaluate import evaluate
from src.evaluation.ground_truth import GroundTruth
from src.matching.same_place import Calibration
from src.records import Provenance, Ranking
from src.report import report
from src.report.report import Judgement, write_report
from src.retrieval.ranking_file import save_ranking


@pytest.fixture
def images(tmp_path):
    write_photos(tmp_path / "photos" / "jpg")
    return [tmp_path / "photos"]


def section(page, name):
    start = page.index(f"<h2>{name}")
    return page[start : page.index("</section>", start)]


class Nesting(HTMLParser):
    """Fails where a tag is closed that is not the last one opened."""

    def __init__(self, page):
        super().__init__()
        self.stack, self.ids, self.links = [], [], []
        self.feed(page)
        assert not self.stack

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br"):
            self.stack.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        self.links += [value for name, value in attributes if name == "href"]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def test_page(tmp_path, images):
    path = write_report(tmp_path / "r.html", make_ranking(), images, make_judgement())
    page = path.read_text(encoding="utf-8")
    assert [page.index(f"<h2>{name}") for name in (WORSE, GOOD, EMPTY)] == sorted(
        page.index(f"<h2>{name}") for name in (WORSE, GOOD, EMPTY)
    )
    assert "tiny &amp; small" in page and "no positives" in page and '<td class="map">' in page
    good = section(page, GOOD)
    assert re.findall(r'<details class="(\w+)"', good) == ["positive", "negative", "junk"] + ["negative"] * 7
    assert '<span>1</span><span>12.50</span></span><span class="name">photo_a<' in good
    assert "photo_k" not in good and len(re.findall("<details", good)) == 10
    # the box, in percent of the photo, ends at its border
    assert "left:25.00%;top:25.00%;width:50.00%;height:75.00%" in good and 'class="box"' in good
    assert "AP 100.00 · 1 to find, the first at rank 1" in good
    worse = section(page, WORSE)
    assert "2 to find, the first at rank 2" in worse and 'class="box' not in worse
    # each closed and opened; the first is in the way of the second, and stands beside it once more
    assert worse.count("no such photo") == 3 and worse.count("cannot be read") == 2


def test_self_contained_and_well_formed(tmp_path, images):
    page = write_report(tmp_path / "r.html", make_ranking(), images, make_judgement(), make_matches()).read_text(
        "utf-8"
    )
    assert "default-src 'none'" in page
    assert not re.search(r"<script|@import|\bsrc=|url\((?!data:image/jpeg;base64,)|https?://", page)
    nesting = Nesting(page)
    assert {link[1:] for link in nesting.links} == set(nesting.ids) and len(set(nesting.ids)) == len(nesting.ids)
    assert page.count("data:image/jpeg") == len(NAMES) - 2  # each photo once


def test_opened_result_holds_its_inliers(tmp_path, images):
    page = write_report(tmp_path / "r.html", make_ranking(), images, make_judgement(), make_matches()).read_text(
        "utf-8"
    )
    second, third, fourth = section(page, GOOD).split("<details")[2:5]
    assert "30 inliers of 40 correspondences<" in second
    assert "correspondences: 3, too few to verify" in third and "its matches were not kept" in fourth
    lines = re.findall(r"M(\d+) (\d+)L(\d+) (\d+)", second)
    assert len(lines) == 30 and len(re.findall(r"h0", second)) == 60
    assert "<path" not in third + fourth
    # photos of 2:1, 300 units high with 12 between them: lines begin in the left one and end in the right one
    starts, ends = np.array(lines, int)[:, 0], np.array(lines, int)[:, 2]
    assert starts.max() <= 600 and ends.min() >= 612 and ends.max() <= 1212
    without = write_report(tmp_path / "w.html", make_ranking(), images, make_judgement()).read_text("utf-8")
    assert "kept" not in without and "inlier" not in without[without.index("<body") :]


def test_a_photo_found_through_another_is_shown_with_both_steps(tmp_path, images):
    """photo_h itself is not among the results shown."""
    path, through = tmp_path / "r.html", make_steps()
    page = write_report(path, make_ranking(), images, make_judgement(), through, num_results=4).read_text("utf-8")
    Nesting(page)
    second, third, fourth = section(page, GOOD).split("<details")[2:5]
    assert "through" not in second + fourth
    assert f'score 10.5, found through {NAMES[7]}"' in third and f"found through {NAMES[7]}:</p>" in third
    direct, there, back = third.split('class="pair"')[1:]
    assert "too few to verify" in direct and "<path" not in direct
    assert "12 inliers of 20 correspondences" in there and there.count("h0") == 24
    assert 'aria-label="query photo_a"' in there and f'aria-label="{NAMES[7]}"' in there
    assert "9 inliers of 20 correspondences" in back and back.count("h0") == 18
    assert f'aria-label="{NAMES[7]}"' in back and f'aria-label="{NAMES[2]}"' in back
    assert "both steps to it" in page and page.count("data:image/jpeg") == 7  # a to d, h, i, j
    with pytest.raises(UserError, match=r"other settings \(.*steps"):
        write_report(path, make_ranking(), images, make_judgement(), make_matches(), num_results=4)


def test_gallery_without_ground_truth(tmp_path, images):
    page = write_report(tmp_path / "r.html", make_ranking(), images, num_results=3).read_text(encoding="utf-8")
    assert "Search results" in page and page.count('<details class="plain">') == 9
    assert [page.index(f"<h2>{name}") for name in (EMPTY, GOOD, WORSE)] == sorted(
        page.index(f"<h2>{name}") for name in (EMPTY, GOOD, WORSE)
    )
    body = page[page.index("<body") :]
    assert not re.search(r"positive|negative|mAP|AP |<table|class=\"box", body)


def test_scores_of_global_descriptors_are_similarities(tmp_path, images):
    ranking = make_ranking()
    scores = np.tile(np.linspace(1.0000001, -0.2, 12, dtype=np.float32), (3, 1))  # a photo with itself, rounded
    similar = Ranking(ranking.query_names, NAMES, ranking.ranks, scores)
    pages = {}
    for name, settings in (
        ("plain", {"searcher": "global", "rerank": "none"}),
        ("expanded", {"searcher": "global", "rerank": "dba,alpha_qe"}),
        ("graph", {"num_rerank": 100, "rerank": "ransac,graph"}),
        ("fusion", {"num_rerank": 100, "searcher": "global", "rerank": "ransac,fusion"}),
        ("foreign", {}),
    ):
        path = write_report(tmp_path / name, similar, images, make_judgement(), None, Provenance("", {}, settings))
        pages[name] = path.read_text(encoding="utf-8")
        assert "<span>1.0000</span>" in pages[name] and "<span>0.8909</span>" in pages[name]
        body = pages[name][pages[name].index("<body") :].replace("a share of 1 for inliers", "")
        assert not re.search('inlier|class="l0|not kept', body)
    words = "its rank and its similarity (cosine of the global descriptors, 1 at most)"
    assert f"{words}. Open" in pages["plain"] and "its score (similarity after alpha_qe). Open" in pages["expanded"]
    assert "its score (nearness in the graph of verified pairs). Open" in pages["graph"]
    assert "its rank and its score. Open" in pages["foreign"]


@pytest.mark.parametrize("settings", [{"num_rerank": 100}, {"searcher": "global", "rerank": "ransac", "num_rerank": 9}])
def test_scores_of_verified_photos_count_inliers(tmp_path, images, settings):
    path = write_report(tmp_path / "r.html", make_ranking(), images, None, make_matches(), Provenance("", {}, settings))
    page = path.read_text(encoding="utf-8")
    assert "<span>12 inliers</span>" in page and "its inliers (of the matches that RANSAC verified)" in page


def test_the_first_missed_positive_stands_beside_the_false_photo_in_its_way(tmp_path, images):
    """Photo_i at rank 8 without junk is behind photo_b at rank 2; the third photo is junk and has no rank."""
    first = query(GOOD, good=("photo_a", "photo_i"), junk=("photo_c",))
    truth = GroundTruth("tiny", "text", (first, query(EMPTY), query(WORSE)))
    judgement = Judgement(truth, evaluate(truth, make_ranking(), "classic"))
    page = write_report(tmp_path / "r.html", make_ranking(), images, judgement, make_matches(), num_results=4)
    results = section(page.read_text("utf-8"), GOOD).split("<details ")[1:]
    captions = [re.search(r'caption"><span>(.+?)</span>', result)[1] for result in results]
    assert captions == ["1", "2", "\N{EN DASH}", "3", "8"]  # the last one behind the first four
    assert ["missed" in result[:30] for result in results] == [False] * 4 + [True]
    assert "the first one missed; in its way, at rank 2, photo_b:" in results[-1]
    assert "its matches were not kept" in results[-1] and "30 inliers of 40 correspondences" in results[-1]


def test_a_title_and_verdicts_of_a_calibration(tmp_path, images):
    path, calibration = tmp_path / "r.html", Calibration([0, 20], [0.01, 0.97], 20, 20, Provenance("w"), {})
    arguments = (path, make_ranking(), images, make_judgement(), make_matches())
    page = write_report(*arguments, title="Ours <1>", calibration=calibration).read_text("utf-8")
    assert "<h1>Ours &lt;1&gt;</h1>" in page and "tiny &amp; small, protocol classic: 3 queries" in page
    assert '<span class="verdict yes">yes, 97 %</span>' in section(page, GOOD).split("<details ")[2]
    assert page.count('class="verdict ') == 1  # the pair of photo_c was not verified, the others were not kept
    with pytest.raises(UserError, match=r"other settings \(same_place, title\)"):
        write_report(*arguments)


def test_names_and_provenance_are_escaped(tmp_path, images):
    ranking = make_ranking()
    names = ["<b>&\"'", *NAMES[1:]]
    odd = Ranking(["<i>q", GOOD, WORSE], names, ranking.ranks, ranking.scores)
    provenance = Provenance("<u>c", {"name": "<i>"}, {"way<s>": "<em>"}, {}, {"engine": '"<tt>'})
    page = write_report(tmp_path / "r.html", odd, images, provenance=provenance).read_text(encoding="utf-8")
    assert not re.search(r"<b>&|<i>q|<i>\W*<|<u>|<em>\W*<|<s>|<tt>", page)
    assert "&lt;b&gt;&amp;&#34;&#39;" in page and "&lt;u&gt;c" in page
    Nesting(page)


def test_three_settings(tmp_path, images):
    page = write_report(tmp_path / "r.html", make_ranking(), images, make_judgement("modelzoo")).read_text("utf-8")
    assert "AP easy" in page and "Setting medium" in page
    assert page.count('<polyline class="curve c') == 2  # no query has positives in the setting hard
    assert 'class="box unused"' in page and 'class="box"' not in page


def test_same_input_same_page(tmp_path, images):
    pages = [
        write_report(tmp_path / name, make_ranking(), images, make_judgement(), make_matches()).read_bytes()
        for name in ("a.html", "b.html")
    ]
    assert pages[0] == pages[1]


def test_finished_page_is_kept_and_another_refused(tmp_path, images):
    judgement, ranking = make_judgement(), make_ranking()
    path = write_report(tmp_path / "r.html", ranking, images, judgement)
    before = path.stat().st_mtime_ns
    write_report(path, ranking, images, judgement)
    assert path.stat().st_mtime_ns == before
    other = Ranking(ranking.query_names, ranking.index_names, ranking.ranks[:, ::-1], ranking.scores)
    for changed, named in (
        ({"ranking": other}, "results"),
        ({"judgement": None}, "judgement"),
        ({"matches": make_matches()}, "matches"),
        ({"num_results": 3}, "results"),
        ({"provenance": Provenance("", {}, {"seed": 1})}, "seed"),
        ({"provenance": Provenance("abc")}, "weights"),
    ):
        arguments = {"ranking": ranking, "images_path": images, "judgement": judgement, **changed}
        with pytest.raises(UserError, match=rf"made under other settings \(.*{named}.*\); give `overwrite`"):
            write_report(path, **arguments)
    (images[0] / "jpg" / f"{NAMES[3]}.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="photo_files.*`overwrite`"):
        write_report(path, ranking, images, judgement)
    write_report(path, ranking, images, judgement, overwrite=True)
    assert path.stat().st_mtime_ns != before
    path.write_text("a page of someone else")
    with pytest.raises(UserError, match="r.html: not a report; give `overwrite`"):
        write_report(path, ranking, images, judgement)


def test_budget_is_kept_and_said(tmp_path, images, monkeypatch):
    whole = write_report(tmp_path / "a.html", make_ranking(), images, make_judgement())
    assert "360 pixels, JPEG quality 82" in whole.read_text(encoding="utf-8")
    budget = whole.stat().st_size - 10_000
    monkeypatch.setattr(report, "PAGE_BUDGET", budget)
    small = write_report(tmp_path / "b.html", make_ranking(), images, make_judgement())
    assert small.stat().st_size <= budget and "360 pixels" not in small.read_text(encoding="utf-8")


def test_command(tmp_path, images):
    provenance = Provenance("", {}, {"seed": 7})
    save_ranking(tmp_path / "ranks.npz", make_ranking(), provenance, make_matches())
    options = ("eval/report.py", "--ranks", "ranks.npz", "--images_path", images[0])
    assert "report.html" in run(*options, cwd=tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "30 inliers of" in page and "seed 7" in page
    assert "already made" in run(*options, cwd=tmp_path)
    save_ranking(tmp_path / "ranks.npz", make_ranking(), provenance)
    assert "(matches); give --overwrite" in run(*options, cwd=tmp_path, status=2)
    assert "--num_results" in run(*options, "--num_results", 0, cwd=tmp_path, status=2)
    assert "--gt_path" in run(*options, "--protocol", "classic", cwd=tmp_path, status=2)
    assert "unknown option --index_features" in run(*options, "--index_features", "x.h5", cwd=tmp_path, status=2)


def test_index_smaller_than_a_row_of_results(tmp_path, images):
    ranking = Ranking(["photo_b"], ["photo_a"], np.zeros((1, 1), int), np.full((1, 1), 0.25))
    page = write_report(tmp_path / "r.html", ranking, images).read_text(encoding="utf-8")
    assert page.count("<details") == 1 and "0.2500" in page
