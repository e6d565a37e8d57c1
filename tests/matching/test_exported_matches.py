"""Exports of matches, global descriptors and rankings, read back by readers written after the other programs'."""

import csv
import sqlite3

import h5py
import numpy as np
import pytest
from retrieval.handmade_features import random_photo, write_features, write_global

from src.commands.export import main as export
from src.errors import UserError
from src.evaluation.gldv2 import read_predictions
from src.matching.export_pairs import each_once
from src.records import Provenance, Ranking
from src.retrieval.ranking_file import save_ranking

AFFINE = np.array([[0.9, 0.1, 20.0], [-0.1, 0.8, 30.0]])  # from sub/a.jpg to b.jpg
SHARED = 40


@pytest.fixture
def features(tmp_path):
    """sub/a.jpg and b.jpg show 40 points of one place, in reverse order; c.jpg shows another; d.jpg is blank."""
    generator = np.random.default_rng(0)
    points, descriptors = random_photo(generator, SHARED)
    more, others = random_photo(generator, 10)
    seen = points @ AFFINE[:, :2].T + AFFINE[:, 2]
    photos = {
        "sub/a.jpg": (np.concatenate([points, more]), np.concatenate([descriptors, others])),
        "b.jpg": (seen[::-1], descriptors[::-1]),
        "c.jpg": random_photo(generator, 30),
        "d.jpg": (np.zeros((0, 2)), np.zeros((0, 16))),
    }
    write_features(tmp_path / "f.h5", photos)
    (tmp_path / "pairs.txt").write_text("sub/a.jpg b.jpg\nb.jpg a.jpg\nc.jpg b\nd.jpg c.jpg\n\n")
    return tmp_path / "f.h5"


def run(features, format, *more, output="out"):
    folder = features.parent
    export([f"--format={format}", f"--features={features}", f"--output={folder}/{output}", *more])
    return folder / output


def test_hloc(features):
    made = run(features, "hloc", f"--pairs={features.parent}/pairs.txt")
    assert (made / "pairs.txt").read_text() == "sub/a.jpg b.jpg\n"
    with h5py.File(made / "matches.h5") as file, h5py.File(features) as source:
        (first,) = file
        assert first == "sub-a.jpg" and list(file[first]) == ["b.jpg"]  # hloc.utils.parsers.names_to_pair
        partners, scores = file[first]["b.jpg"]["matches0"][:], file[first]["b.jpg"]["matching_scores0"][:]
        assert len(partners) == len(source["sub/a.jpg/keypoints"]) == 50
    np.testing.assert_array_equal(partners[:SHARED], np.arange(SHARED)[::-1])
    assert (partners[SHARED:] == -1).all() and (scores[:SHARED] > 0.99).all() and (scores[SHARED:] == 0).all()


def test_colmap(features):
    made = run(features, "colmap", f"--pairs={features.parent}/pairs.txt")
    with sqlite3.connect(made / "database.db") as file:
        images = dict(file.execute("SELECT name, image_id FROM images"))
        assert sorted(images) == ["b.jpg", "c.jpg", "d.jpg", "sub/a.jpg"]
        keypoints = {
            name: np.frombuffer(data, np.float32).reshape(rows, cols)
            for name, rows, cols, data in file.execute(
                "SELECT name, rows, cols, data FROM keypoints JOIN images USING (image_id)"
            )
        }
        ((pair, rows, data, matrix),) = file.execute("SELECT pair_id, rows, data, H FROM two_view_geometries")
        assert file.execute("SELECT pair_id, rows, data FROM matches").fetchall() == [(pair, rows, data)]
    first, second = divmod(pair, 2**31 - 1)
    by_number = {number: name for name, number in images.items()}
    assert first < second and rows == SHARED
    indices = np.frombuffer(data, np.uint32).reshape(-1, 2)
    with h5py.File(features) as source:
        np.testing.assert_array_equal(keypoints["b.jpg"], source["b.jpg/keypoints"][:] + np.float32(0.5))
    one, two = keypoints[by_number[first]][indices[:, 0]], keypoints[by_number[second]][indices[:, 1]]
    homography = np.frombuffer(matrix, np.float64).reshape(3, 3)
    np.testing.assert_allclose(np.c_[one, np.ones(rows)] @ homography[:2].T, two, atol=0.1)
    lines = (made / "matches.txt").read_text().splitlines()
    assert lines[0] == "sub/a.jpg b.jpg" and "0 39" in lines and len(lines) == SHARED + 2 and lines[-1] == ""


def test_colmap_reads_its_database(features):
    pycolmap = pytest.importorskip("pycolmap", reason="no pycolmap")
    made = run(features, "colmap", f"--pairs={features.parent}/pairs.txt")
    database = pycolmap.Database.open(str(made / "database.db"))
    assert (database.num_images(), database.num_cameras(), database.num_keypoints()) == (4, 4, 50 + 40 + 30)
    assert (database.num_matches(), database.num_inlier_matches(), database.num_verified_image_pairs()) == (40, 40, 1)
    numbers = [database.read_image_with_name(name).image_id for name in ("sub/a.jpg", "b.jpg")]
    found = np.asarray(database.read_matches(*numbers))
    np.testing.assert_array_equal(found[np.argsort(found[:, 0])], np.c_[np.arange(SHARED), np.arange(SHARED)[::-1]])
    database.close()


def test_kapture(features):
    made = run(features, "kapture", f"--pairs={features.parent}/pairs.txt", "--feature_type=ours")
    (path,) = (made / "reconstruction" / "matches").rglob("*.matches")
    assert path.relative_to(made).as_posix() == "reconstruction/matches/ours/b.jpg.overlapping/sub/a.jpg.matches"
    rows = np.fromfile(path, np.float64).reshape(-1, 3)  # the name that sorts first comes first
    np.testing.assert_array_equal(rows[np.argsort(rows[:, 0]), :2], np.c_[np.arange(SHARED), np.arange(SHARED)[::-1]])
    plain = run(features, "kapture", output="plain")
    assert not (plain / "reconstruction" / "matches").exists() and (plain / "sensors" / "sensors.txt").exists()


def test_pairs_of_a_ranking(features):
    ranking = Ranking(["sub/a"], ["sub/a", "b", "c"], [[0, 1, 2]], [[3.0, 2.0, 1.0]])
    save_ranking(features.parent / "r.npz", ranking, Provenance())
    made = run(features, "hloc", f"--ranks={features.parent}/r.npz", "--num_matched=2")
    assert (made / "pairs.txt").read_text() == "sub/a.jpg b.jpg\n"


def test_finished_work_is_kept_and_other_work_refused(features):
    pairs = f"--pairs={features.parent}/pairs.txt"
    made = run(features, "colmap", pairs)
    before = (made / "database.db").stat().st_mtime_ns
    run(features, "colmap", pairs)
    assert (made / "database.db").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="other settings"):
        run(features, "colmap", pairs, "--least_inliers=41")
    assert (run(features, "colmap", pairs, "--least_inliers=41", "--overwrite") / "matches.txt").read_text() == ""
    (made / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="holds mine.txt"):
        run(features, "colmap", pairs, "--overwrite")


def test_npy(tmp_path):
    generator = np.random.default_rng(1)
    vectors = {f"{name}.jpg": generator.normal(size=6) for name in ("x/b", "a", "c")}
    vectors = {name: vector / np.linalg.norm(vector) for name, vector in vectors.items()}
    write_global(tmp_path / "g.h5", vectors)
    made = run(tmp_path / "g.h5", "npy")
    names = (made / "names.txt").read_text().splitlines()
    assert sorted(names) == sorted(vectors)
    np.testing.assert_allclose(np.load(made / "vectors.npy"), [vectors[name] for name in names], rtol=1e-6)


def test_gldv2(tmp_path):
    index = [f"index/{n}/img{n}" for n in range(120)]
    ranks = np.tile(np.arange(120)[::-1], (2, 1))
    save_ranking(tmp_path / "r.npz", Ranking(["test/q1", "test/q2"], index, ranks, -ranks[:, ::-1]), Provenance())
    arguments = ["--format=gldv2", f"--ranks={tmp_path}/r.npz", f"--output={tmp_path}/sub.csv"]
    export(arguments)
    with open(tmp_path / "sub.csv", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["id", "images"] and [row[0] for row in rows[1:]] == ["q1", "q2"]
    assert rows[1][1].split() == [f"img{n}" for n in range(119, 19, -1)]
    assert list(read_predictions(tmp_path / "sub.csv", "retrieval")["q2"])[:2] == ["img119", "img118"]
    with pytest.raises(UserError, match=r"sub\.csv: stands there"):
        export(arguments)
    export([*arguments, "--overwrite"])


@pytest.mark.parametrize(
    ("format", "more", "what"),
    [
        ("hloc", [], "wants pairs of photos"), ("colmap", ["--pairs=p", "--ranks=r"], "both choose the pairs"),
        ("colmap", ["--pairs=p", "--feature_type=x"], "--feature_type has no effect"),
        ("npy", ["--match_distance=1"], "--match_distance has no effect"), ("gldv2", [], "--features has no effect"),
        ("kapture", ["--least_inliers=3"], "--least_inliers has no effect without"),
        ("hloc", ["--pairs=p", "--num_matched=3"], "--num_matched goes with --ranks"),
        ("npy", [], "no global descript"),
        ("hloc", ["--pairs={}/nope.txt"], "no such file"), ("hloc", ["--pairs={}/one.txt"], "is not two names"),
        ("hloc", ["--pairs={}/strange.txt"], "line 1: 'x.jpg' is no photo of the features"),
        ("hloc", ["--pairs={}/same.txt"], "holds no pair of two photos"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence(features, format, more, what):
    (features.parent / "one.txt").write_text("b.jpg\n")
    (features.parent / "strange.txt").write_text("x.jpg b.jpg\n")
    (features.parent / "same.txt").write_text("b.jpg b\n")
    with pytest.raises(UserError, match=what):
        run(features, format, *(option.format(features.parent) for option in more))
    assert not (features.parent / "out").exists()


def test_each_feature_takes_part_once():
    indices = np.array([[0, 0], [0, 1], [1, 0], [2, 2], [3, 3]])
    assert each_once(indices, np.array([0.3, 0.2, 0.25, np.inf, 0.1])).tolist() == [1, 2, 4]
