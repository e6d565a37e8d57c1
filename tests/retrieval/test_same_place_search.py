"""Is it the same place? A search of one's own photos with a calibration, and without one; with a cheap network."""

import functools
import json
import shutil

import pytest
from own_photos import build, found_in, picture

from src.commands.search_images import main as search_command
from src.config import Config
from src.errors import UserError
from src.matching.same_place import Calibration, conditions, save_calibration
from src.retrieval.photo_search import PhotoSearch
from src.retrieval.rerank import search_settings
from tests.features.fake_network import load_fake_network


def calibrate(made, path, yes_from=30, no_below=12, **values):
    """Save a calibration of a photo index: 1 % below 12 inliers, 40 % to 29, 99.6 % from 30 on."""
    config = Config(**values)
    holds = conditions(made.provenance, search_settings(config.retrieval, config.matching, 0))
    save_calibration(path, Calibration([0, 12, 30], [0.01, 0.4, 0.996], yes_from, no_below, holds, {}), overwrite=True)


@pytest.fixture
def searched(place, monkeypatch):
    """The photo index, calibrated; ``query.png`` is photo 4 with a part of it lost, ``other.png`` of no photo."""
    faked = functools.partial(PhotoSearch, load_network=load_fake_network)
    monkeypatch.setattr("src.retrieval.photo_search.PhotoSearch", faked)
    made = build(place)
    picture(4).save(place / "query.png")
    picture(77).save(place / "other.png")
    calibrate(made, place / "model" / "same_place.json")
    return made


def run(place, query, *more):
    search_command([f"--index={place}/made", f"--query={place}/{query}", f"--output={place}/page.html", *more])


def test_results_have_verdicts(searched, place):
    (found,) = found_in(searched, place / "query.png", top_k=7)
    assert found.answer == "yes" and found.results[0].verdict == ("yes", 0.996)
    assert found.results[0].as_row()["same_place"] == "yes" and found.results[0].as_row()["probability"] == 0.996
    for result in found.results[1:]:
        count = result.matches.num_inliers
        wanted = None if result.matches.inliers is None else "no" if count < 12 else "perhaps"
        assert (result.verdict and result.verdict.answer) == wanted


def test_the_query_itself_is_no_result(searched, place, capsys):
    (found,) = found_in(searched, place / "photos" / "4.png", top_k=2)
    assert found.left_out == "4.png" and found.answer == "no" and [result.rank for result in found.results] == [1, 2]
    assert all(result.name != "4.png" for result in found.results)
    run(place, "photos/4.png", "--top_k=2")
    assert capsys.readouterr().out.splitlines()[-1] == "  left out: 4.png, the query itself"
    assert "Left out: 4.png, the query itself." in (place / "page.html").read_text()


def test_table_page_and_json_say_it(searched, place, capsys):
    run(place, "query.png", "--top_k=2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("correspondences  same place") and lines[2].endswith("  yes, 99.6 %")
    html = (place / "page.html").read_text()
    assert '<em class="yes">yes, 99.6 %</em>' in html and '<span class="bar yes"><s style="width:100%">' in html
    assert "Nothing here is the same place" not in html
    run(place, "query.png", "--top_k=1", "--json")
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["same_place"] == answer["results"][0]["same_place"] == "yes"


def test_nothing_here_is_the_same_place(searched, place, capsys):
    calibrate(searched, place / "model" / "same_place.json", yes_from=None, no_below=1000)
    run(place, "other.png")
    assert capsys.readouterr().out.splitlines()[-1] == "  nothing here is the same place"
    html = (place / "page.html").read_text()
    assert "<b>Nothing here is the same place.</b>" in html and 'class="bar yes"' not in html


def test_without_a_calibration_that_holds_there_is_one_line_and_no_verdict(searched, place, capsys, caplog):
    caplog.set_level("INFO")
    run(place, "query.png", "--top_k=1", "--ransac_residual=30")
    assert "other settings (ransac_residual 20.0 there, 30.0 here)" in caplog.text
    (place / "model" / "same_place.json").unlink()
    run(place, "query.png", "--top_k=1")
    assert caplog.text.count("no same_place.json beside the checkpoint") == 1
    html = (place / "page.html").read_text()
    assert "no same_place.json beside the checkpoint" in html and "bar plain" in html and "yes," not in html
    assert "same place" not in capsys.readouterr().out
    (found,) = found_in(searched, place / "query.png", top_k=1)
    assert found.answer is None and found.results[0].as_row()["same_place"] is None
    calibrate(searched, place / "given.json", ransac_residual=30.0)
    with pytest.raises(UserError, match=r"given\.json: calibrated under other settings .*; give the one for these"):
        run(place, "query.png", f"--same_place={place}/given.json")
    run(place, "query.png", f"--same_place={place}/given.json", "--ransac_residual=30")


def test_the_photo_index_has_a_copy_of_its_own(searched, place):
    build(place)
    assert (place / "made" / "same_place.json").read_bytes() == (place / "model" / "same_place.json").read_bytes()
    (place / "model" / "same_place.json").unlink()
    assert found_in(searched, place / "query.png")[0].answer == "yes"
    shutil.copyfile(place / "made" / "same_place.json", place / "model" / "same_place.json")
    (place / "model" / "net.ckpt").write_bytes(b"another network")
    assert not (build(place, output="other").folder / "same_place.json").exists()
    (place / "model" / "same_place.json").write_text("{}")
    with pytest.raises(UserError, match=r"same_place\.json: damaged"):
        build(place, output="third")
