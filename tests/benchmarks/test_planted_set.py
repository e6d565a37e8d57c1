"""The drawn retrieval set is what it says, the same every time; the benchmark of it runs from end to end."""

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from src.features.feature_file import FeatureFile
from src.records import Ranking
from tools.benchmarks.planted import SetSize, inliers_of, recall_at, write_few_queries, write_planted_set

SIZE = SetSize(photos=12, queries=3, features=100, dimension=24, planted=2, seed=5)


def test_planted_photos_show_their_query_under_an_affine_map(tmp_path):
    made = write_planted_set(tmp_path, SIZE)
    assert sorted(made.planted) == ["landmark_000", "landmark_001", "landmark_002"]
    showing = {photo: query for query, photos in made.planted.items() for photo in photos}
    assert len(showing) == 6
    with FeatureFile(made.photos) as photos, FeatureFile(made.queries) as queries:
        assert len(photos) == 12
        for name, photo in photos:
            assert len(photo) == 100
            np.testing.assert_allclose(np.linalg.norm(photo.descriptors, axis=1), 1, atol=1e-5)
            for query_name, query in queries:
                distances = np.linalg.norm(photo.descriptors[:, None] - query.descriptors[None], axis=2)
                rows, query_rows = np.nonzero((distances > 0.29) & (distances < 0.71))
                if showing.get(name[:-4]) != query_name:
                    assert len(rows) < 3
                    continue
                assert 3 <= len(rows) <= 23
                ones = np.column_stack([query.keypoints[query_rows], np.ones(len(rows))])
                solution = np.linalg.lstsq(ones, photo.keypoints[rows], rcond=None)[0]
                assert np.median(np.abs(ones @ solution - photo.keypoints[rows])) < 6


def test_the_same_size_and_seed_give_the_same_set(tmp_path):
    first, again = (write_planted_set(tmp_path / name, SIZE) for name in ("first", "again"))
    other = write_planted_set(tmp_path / "other", dataclasses.replace(SIZE, seed=6))
    assert first.planted == again.planted != other.planted
    for name in ("photos", "queries"):
        with FeatureFile(getattr(first, name)) as one, FeatureFile(getattr(again, name)) as two:
            assert one.names == two.names
            for photo in one.names:
                np.testing.assert_array_equal(one.read(photo).descriptors, two.read(photo).descriptors)
                np.testing.assert_array_equal(one.read(photo).keypoints, two.read(photo).keypoints)


def test_a_finished_set_is_kept_and_one_of_another_size_replaced(tmp_path):
    made = write_planted_set(tmp_path, SIZE)
    written = made.photos.stat().st_mtime_ns
    write_planted_set(tmp_path, SIZE)
    assert made.photos.stat().st_mtime_ns == written
    write_planted_set(tmp_path, dataclasses.replace(SIZE, photos=7))
    with FeatureFile(made.photos) as photos, FeatureFile(write_few_queries(made, 2)) as few:
        assert len(photos) == 7 and few.names == ["landmark_000", "landmark_001"]
    assert json.loads((tmp_path / "planted.json").read_text())["size"]["photos"] == 7


def test_recall_and_inliers_by_hand():
    ranks = [[3, 1, 0, 2], [0, 1, 2, 3]]
    scores = [[9.5, 7.2, 0.1, -0.5], [-1, -1, -1, -1]]
    ranking = Ranking(["x", "y"], ["a", "b", "c", "d"], ranks, scores)
    planted = {"x": ["d", "a", "c"], "y": ["b"]}
    assert recall_at(ranking, planted, 2) == {"x": 0.5, "y": 1.0}
    assert recall_at(ranking, planted, 1) == {"x": 1.0, "y": 0.0}
    assert recall_at(ranking, planted, 4) == {"x": 1.0, "y": 1.0}
    assert inliers_of(ranking, planted) == {"x": 3.0, "y": 0.0}


def test_the_benchmark_runs(tmp_path, capfd):
    pytest.importorskip("annoy")
    tool = Path(__file__).resolve().parents[2] / "tools" / "benchmarks" / "retrieval.py"
    options = ["--num_photos=40", "--num_queries=3", "--num_features=200", "--planted=2", "--index_type=IVF16,Flat"]
    main = runpy.run_path(str(tool))["main"]
    main.__globals__["MODEL_ZOO_PHOTOS"] = 4  # RANSAC takes a quarter of a second on each
    main([f"--work_dir={tmp_path}", *options, "--flat_queries=2"])
    out = capfd.readouterr().out
    assert "index: IVF16,Flat, made in" in out and "search and verification: 3 queries in" in out
    assert "3 queries: 100.0 %, Flat 100 % at most  [met" in out and "times as fast a query" in out
