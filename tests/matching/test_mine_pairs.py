"""Pairs of a label that geometry confirms: which, how many, in which order, and what a stopped run keeps."""

import csv
import json
import os
import signal
from itertools import combinations

import h5py
import numpy as np
import pytest

from src.commands.mine_pairs import main
from src.config import MatchingConfig
from src.data.photo_labels import label_photos
from src.errors import Interrupted, UserError
from src.features.feature_file import FeatureFile, write_group, write_provenance
from src.matching import mine_pairs as mining
from src.matching.match import match_features
from src.matching.mine_pairs import MiningRules, draw_pairs, mine_pairs
from src.records import GlobalDescriptor, LocalFeatures
from tests.features.made_up import PROVENANCE, make_features

# Photos of one letter show one place, those of another letter of the class another place
CLASSES = {"one": ["a1", "a2", "a3", "b1", "b2"], "two": ["c1", "c2", "d1"], "three": ["e1", "f1"], "four": ["g1"]}
PAIRS = {("one/a1", "one/a2"), ("one/a1", "one/a3"), ("one/a2", "one/a3"), ("one/b1", "one/b2"), ("two/c1", "two/c2")}
RULES = MiningRules(20, 0, 0)
MATCHING = MatchingConfig(ransac_trials=100)


@pytest.fixture(autouse=True)
def few_others(monkeypatch):
    monkeypatch.setattr(mining, "_OTHERS", 20)


def view_of(place, number):
    """Thirty points of a place seen under an affine map, and ten of nothing."""
    draw = np.random.default_rng((ord(place), number))
    scene = np.random.default_rng(ord(place))
    points = scene.random((30, 2)) * 400
    descriptors = np.concatenate([scene.normal(size=(30, 8)), draw.normal(size=(10, 8))])
    affine = np.eye(2) + 0.2 * draw.normal(size=(2, 2))
    keypoints = np.concatenate([points @ affine.T + draw.random(2) * 50, draw.random((10, 2)) * 400])
    descriptors = descriptors + 0.01 * draw.normal(size=descriptors.shape)
    unit = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    return LocalFeatures(keypoints, np.ones(40), np.linspace(9, 1, 40), unit, (500, 500))


@pytest.fixture
def features(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        write_provenance(file, PROVENANCE)
        for label, photos in CLASSES.items():
            for photo in photos:
                write_group(file, f"{label}/{photo}", view_of(photo[0], int(photo[1])))
        write_group(file, "loose", make_features(1))
        write_group(file, "three/global", None, global_descriptor=GlobalDescriptor(np.ones(4) / 2, (64, 48)))
    return tmp_path / "f.h5"


def labels_of(features, path=""):
    with FeatureFile(features) as source:
        return label_photos(source.names, path)


def mine(features, output, rules=RULES, **options):
    return mine_pairs(features, labels_of(features), output, MATCHING, rules, **options)


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_pairs_are_those_of_one_place(features, tmp_path, caplog):
    with caplog.at_level("INFO"):
        counts = mine(features, tmp_path / "p.csv")
    header, *rows = rows_of(tmp_path / "p.csv")
    assert header == ["photo_a", "photo_b", "inliers"] and rows == sorted(rows)
    assert {(a, b) for a, b, _ in rows} == PAIRS and len(rows) == len(PAIRS)
    assert counts == (5, 2, 1, 1, 10 + 3 + 1, 0, 20) and str(counts) == (
        "5 pairs of 2 classes; 1 classes have none, 1 a single photo; 0 of 20 pairs of different classes pass too"
    )
    assert "1 of 13 photos have no label and are left out" in caplog.text  # loose
    assert "1 of 12 photos have no local features" in caplog.text  # three/global
    with FeatureFile(features) as source:
        for a, b, inliers in rows:
            assert match_features(source.read(a), source.read(b), ransac_trials=100).num_inliers == int(inliers) >= 20
    assert not (tmp_path / "p.csv.parts").exists()


def test_a_finished_table_is_kept_and_another_refused(features, tmp_path, caplog):
    first = mine(features, tmp_path / "p.csv")
    written = (tmp_path / "p.csv").stat().st_mtime_ns
    with caplog.at_level("INFO"):
        assert mine(features, tmp_path / "p.csv") == first
    assert "already made" in caplog.text and (tmp_path / "p.csv").stat().st_mtime_ns == written
    with pytest.raises(UserError, match=r"made under other settings \(min_inliers\); give `overwrite`"):
        mine(features, tmp_path / "p.csv", MiningRules(25, 0, 0))
    (tmp_path / "p.csv").write_text("photo_a,photo_b\n")
    with pytest.raises(UserError, match="p.csv: is not as mine_pairs wrote it; give `overwrite`"):
        mine(features, tmp_path / "p.csv")
    (tmp_path / "p.csv.json").unlink()
    with pytest.raises(UserError, match="no p.csv.json beside it says how it was made"):
        mine(features, tmp_path / "p.csv")
    assert mine(features, tmp_path / "p.csv", MiningRules(25, 0, 0), overwrite=True).pairs == 5


def test_a_number_of_inliers_that_any_two_photos_have_is_told(features, tmp_path, caplog):
    alike = {label: ["one/a1", "one/a2"] if label == "x" else ["one/a3"] for label in "xy"}
    counts = mine_pairs(features, alike, tmp_path / "p.csv", MATCHING, RULES)
    assert (counts.pairs, counts.others) == (1, counts.others_tried) and 0 < counts.others_tried <= 20
    assert f"{counts.others} of {counts.others_tried} pairs of photos of different classes have 20" in caplog.text
    assert "raise `min_inliers`, or give `mutual_check`" in caplog.text
    only = mine_pairs(features, {"x": alike["x"]}, tmp_path / "q.csv", MATCHING, RULES)
    assert str(only) == "1 pairs of 1 classes; 0 classes have none"


def test_limits_draw_by_the_seed_whatever_the_number_of_threads(features, tmp_path):
    rules = MiningRules(20, 1, 4)
    counts = mine(features, tmp_path / "one.csv", rules, seed=5)
    again = mine(features, tmp_path / "two.csv", rules, seed=5, threads=3)
    assert counts == again and (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert counts.tried <= 4 + 3 + 1 and counts.pairs <= 2
    chosen = set()
    for seed in range(5):
        mine(features, tmp_path / f"{seed}.csv", MiningRules(20, 1, 0), seed=seed)
        rows = rows_of(tmp_path / f"{seed}.csv")[1:]
        assert len(rows) == 2
        chosen.update((a, b) for a, b, _ in rows)
    assert chosen <= PAIRS and len(chosen) > 2


def test_a_stopped_run_goes_on_to_the_same_bytes(features, tmp_path, monkeypatch, caplog):
    mine(features, tmp_path / "whole.csv")
    count, calls = mining.count_inliers, []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == 12 and not (tmp_path / "killed").exists():  # in the last class
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGTERM)
        return count(*arguments)

    monkeypatch.setattr(mining, "count_inliers", stopping)
    with pytest.raises(Interrupted, match=r"stopped; 2 of 3 classes are kept in .*p.csv.parts: run the same") as error:
        mine(features, tmp_path / "p.csv")
    assert error.value.status == 128 + signal.SIGTERM and not (tmp_path / "p.csv").exists()
    calls.clear()
    with open(tmp_path / "p.csv.parts/classes.jsonl", "ab") as stream:
        stream.write(b'{"label": "two", "tr')  # as a kill leaves it
    with caplog.at_level("INFO"):
        mine(features, tmp_path / "p.csv")
    assert len(calls) == 3 + 20 and "2 of 3 classes were finished by an earlier run" in caplog.text
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert (tmp_path / "p.csv.json").read_text() == (tmp_path / "whole.csv.json").read_text()


def test_what_a_killed_run_left_of_other_settings_or_damaged_is_not_taken_over(features, tmp_path, monkeypatch):
    mine(features, tmp_path / "whole.csv")
    monkeypatch.setattr(mining, "_write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError):
        mine(features, tmp_path / "p.csv")
    with pytest.raises(OSError):
        mine(features, tmp_path / "q.csv", MiningRules(25, 0, 0))
    monkeypatch.undo()
    os.rename(tmp_path / "q.csv.parts", tmp_path / "whole2.csv.parts")
    mine(features, tmp_path / "whole2.csv")
    lines = (tmp_path / "p.csv.parts/classes.jsonl").read_bytes().splitlines(keepends=True)
    damaged = [lines[0], lines[1].replace(b"20", b"21").replace(b"30", b"31"), lines[2]]
    (tmp_path / "p.csv.parts/classes.jsonl").write_bytes(b"".join(damaged))
    mine(features, tmp_path / "p.csv")
    for name in ("p.csv", "whole2.csv"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_run_killed_between_record_and_table_makes_the_table(features, tmp_path):
    mine(features, tmp_path / "p.csv")
    whole = (tmp_path / "p.csv").read_bytes()
    (tmp_path / "p.csv").unlink()
    mine(features, tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_bytes() == whole


@pytest.mark.parametrize("count", [2, 3, 7, 40])
def test_drawn_pairs(count):
    every = sorted(combinations(range(count), 2))
    rng = np.random.default_rng(0)
    assert sorted(map(tuple, draw_pairs(count, 0, rng).tolist())) == every
    some = list(map(tuple, draw_pairs(count, 5, rng).tolist()))
    assert len(some) == len(set(some)) == min(5, len(every)) and set(some) <= set(every)
    large = draw_pairs(100_000, 50, rng)
    assert large.shape == (50, 2) and (0 <= large[:, 0]).all() and (large[:, 0] < large[:, 1]).all()
    assert large.max() < 100_000


def test_labels_of_a_table_and_of_a_folder(features, tmp_path):
    (tmp_path / "l.csv").write_text("path,label\nphotos/one/a1.jpg,x\none/b1,y\none/a2,x\nnowhere.jpg,x\n")
    assert labels_of(features, tmp_path / "l.csv") == {"x": ["one/a1", "one/a2"], "y": ["one/b1"]}
    for photo in ("left/one/a1.jpg", "right/two/c1.png"):
        (tmp_path / "sorted" / photo).parent.mkdir(parents=True)
        (tmp_path / "sorted" / photo).write_bytes(b"photo")
    found = labels_of(features, tmp_path / "sorted")
    assert found == {"left": ["one/a1"], "right": ["two/c1"]}
    with pytest.raises(UserError, match="of 13 photos such as four/g1, .*l.csv labels none"):
        (tmp_path / "l.csv").write_text("path,label\nnowhere.jpg,x\n")
        labels_of(features, tmp_path / "l.csv")
    with pytest.raises(UserError, match=r"none lies in a folder; give `labels`, a table of path,label"):
        label_photos(["a.jpg", "b.jpg"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--min_inliers", "3"], "`min_inliers` is 3, and any 3 correspondences agree"),
        (["--min_inliers", "1000"], "none of 14 pairs of photos of one label has 1000 inliers; lower `min_inliers`"),
        (["--output", "p.txt"], r"p.txt: the name of a table of pairs must end in .csv"),
        (["--labels", "no.csv"], "no.csv: no such file"),
        (["--labels", "nowhere"], "nowhere: no such table, folder or data set"),
        (["--labels", "p.csv"], "p.csv: is the table of --labels; give another --output"),
        (["--features", "no.h5"], "no.h5: no such file"),
        (["--max_pairs_a_class", "-1"], "`max_pairs_a_class` is -1; it must be at least 0"),
        (["--batch_size", "3"], "--batch_size has no effect"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(features, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main(["--features", str(features), "--output", "p.csv", *arguments])
    assert sorted(os.listdir()) == ["f.h5"]


def test_the_command_prints_the_counts(features, tmp_path, capsys):
    main(["--features", str(features), "--output", str(tmp_path / "p.csv"), "--search_threads", "2"])
    assert capsys.readouterr().out == (
        f"{tmp_path / 'p.csv'}: 5 pairs of 2 classes; 1 classes have none, 1 a single photo; "
        "0 of 20 pairs of different classes pass too\n"
    )
    assert json.loads((tmp_path / "p.csv.json").read_text())["counts"]["tried"] == 14
