"""Voting and ranking against slow independent code on a planted set, and the order of ties."""

import faiss
import numpy as np
import pytest

from src.config import Config
from src.records import LocalFeatures
from src.retrieval.baseline import random_ranking
from src.retrieval.index import PhotoIndex
from src.retrieval.search import rank_photos, search
from src.retrieval.voting import cast_votes


def features_of(keypoints, descriptors) -> LocalFeatures:
    count = len(keypoints)
    return LocalFeatures(keypoints, np.ones(count), np.ones(count), descriptors, (1000, 1000))


def index_of(photos) -> PhotoIndex:
    """Exact index of [(keypoints, descriptors)]; names 00.jpg, 01.jpg ..."""
    descriptors = np.concatenate([rows for _, rows in photos]).astype(np.float32)
    index = faiss.IndexFlatL2(descriptors.shape[1])
    index.add(descriptors)
    ids = np.repeat(np.arange(len(photos), dtype=np.int32), [len(rows) for _, rows in photos])
    keypoints = np.concatenate([points for points, _ in photos]).astype(np.float32)
    return PhotoIndex(index, [f"{number:02d}.jpg" for number in range(len(photos))], ids, keypoints, {})


def unit_rows(generator, count, dimension=16):
    rows = generator.normal(size=(count, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def planted():
    """Twelve photos; photo n shows 5 n query features, even photos by an affine map, odd ones scattered at random."""
    generator = np.random.default_rng(7)
    keypoints, descriptors = generator.uniform(0, 1000, (60, 2)), unit_rows(generator, 60)
    photos = []
    for number in range(12):
        shared = 5 * number
        own = 80 - shared
        points = keypoints[:shared] @ [[0.8, 0.1], [-0.1, 0.9]] + [30, 60]
        if number % 2:
            points = generator.uniform(0, 1000, (shared, 2))
        noisy = descriptors[:shared] + generator.normal(0, 0.08, (shared, 16))
        noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
        photos.append(
            (
                np.concatenate([points, generator.uniform(0, 1000, (own, 2))]),
                np.concatenate([noisy, unit_rows(generator, own)]),
            )
        )
    return photos, features_of(keypoints, descriptors)


def brute_force_votes(photos, query, num_neighbors, search_distance):
    """{photo: {query row: (photo row)}} by a full sort of all distances in float64."""
    rows = [(photo, row) for photo, (_, descriptors) in enumerate(photos) for row in range(len(descriptors))]
    everything = np.concatenate([descriptors for _, descriptors in photos])
    votes = {photo: {} for photo in range(len(photos))}
    for query_row, descriptor in enumerate(query.descriptors.astype(np.float64)):
        distances = np.sqrt(((everything - descriptor) ** 2).sum(axis=1))
        for number in np.argsort(distances)[:num_neighbors]:
            photo, row = rows[number]
            if distances[number] < search_distance:
                votes[photo].setdefault(query_row, row)  # neighbours come nearest first
    return votes


@pytest.mark.parametrize("num_neighbors, search_distance", [(60, 0.9), (5, 0.9), (60, 0.4), (10_000, 1.2)])
def test_votes_agree_with_brute_force(planted, num_neighbors, search_distance):
    photos, query = planted
    index = index_of(photos)
    expected = brute_force_votes(photos, query, num_neighbors, search_distance)
    votes = cast_votes(index, query, num_neighbors, search_distance)
    assert votes.counts.tolist() == [len(expected[photo]) for photo in range(12)]
    first = 0
    for photo, (_, descriptors) in enumerate(photos):
        query_rows, index_rows = votes.correspondences(photo)
        assert dict(zip(query_rows.tolist(), (index_rows - first).tolist())) == expected[photo]
        first += len(descriptors)


def test_verified_photos_come_first_by_inliers(planted):
    photos, query = planted
    ranking = search(index_of(photos), [("q", query)], Config())
    # Planted affine photos 10, 8, 6, 4 win by inliers over the scattered 11, 9 ... that have as many votes.
    assert ranking.ranks[0, :4].tolist() == [10, 8, 6, 4]
    inliers = np.floor(ranking.scores[0, :4])
    assert (inliers >= [45, 35, 25, 15]).all() and (inliers <= 60).all()
    assert ranking.index_names[10] == "10" and ranking.query_names == ["q"]


def test_photos_beyond_num_rerank_follow_by_votes(planted):
    photos, query = planted
    index = index_of(photos)
    ranks, scores = rank_photos(index, query, Config(num_rerank=2))
    counts = cast_votes(index, query, 60, 0.9).counts
    by_votes = sorted(range(12), key=lambda photo: (-counts[photo], photo))
    assert set(ranks[:2]) == set(by_votes[:2]) and ranks[2:].tolist() == by_votes[2:]
    assert (scores[:2] >= 0).all() and (scores[2:] < 0).all() and (np.diff(scores) <= 0).all()


def test_zero_num_rerank_verifies_every_photo_with_four_votes(planted):
    photos, query = planted
    index = index_of(photos)
    counts = cast_votes(index, query, 60, 0.9).counts
    ranks, scores = rank_photos(index, query, Config(num_rerank=0))
    assert {photo for photo, score in zip(ranks, scores) if score >= 0} == set(np.flatnonzero(counts >= 4))
    assert ranks.dtype == np.int32 and scores.dtype == np.float32


def test_a_verified_photo_without_inliers_stays_before_the_unverified():
    """Four correspondences on one spot of the photo: no map. The other photo has three votes: not verified."""
    rows = np.eye(8)
    spot = (np.full((4, 2), 5.0), rows[:4])
    three = (np.array([[0.0, 0], [90, 0], [0, 90]]), rows[:3])
    query = features_of(np.random.default_rng(0).uniform(0, 900, (4, 2)), rows[:4])
    ranks, scores = rank_photos(index_of([three, spot]), query, Config())
    assert ranks.tolist() == [1, 0]
    np.testing.assert_allclose(scores, [4 / 5, 3 / 5 - 1])


def test_the_residual_is_measured_in_the_query():
    """A query ten times smaller than the photo: errors of 60 px in the photo are 6 px in the query, within 20."""
    generator = np.random.default_rng(3)
    points, rows = generator.uniform(0, 5000, (40, 2)), np.eye(40)
    query = features_of(points / 10 + generator.choice([-6, 6], (40, 2)), rows)
    _, scores = rank_photos(index_of([(points, rows)]), query, Config())
    assert int(scores[0]) == 40


def test_equal_photos_are_ranked_by_name(planted):
    photos, query = planted
    ranks, scores = rank_photos(index_of([photos[8]] * 3 + [photos[10]]), query, Config())
    assert ranks.tolist() == [3, 0, 1, 2] and len(set(scores[1:])) == 1


def test_a_query_without_features_is_ranked_by_name(planted):
    photos, _ = planted
    nothing = features_of(np.zeros((0, 2)), np.zeros((0, 16)))
    ranking = search(index_of(photos), [("blank", nothing)], Config())
    assert ranking.ranks.tolist() == [list(range(12))] and (ranking.scores == -1).all()


def test_no_queries_and_an_index_without_descriptors(planted):
    photos, query = planted
    assert search(index_of(photos), [], Config()).ranks.shape == (0, 12)
    empty = index_of([(np.zeros((0, 2)), np.zeros((0, 16)))] * 3)
    assert rank_photos(empty, query, Config())[0].tolist() == [0, 1, 2]


def test_results_do_not_depend_on_threads_or_run(planted, monkeypatch):
    photos, query = planted
    index, before = index_of(photos), faiss.omp_get_max_threads()
    runs = []
    try:
        for threads in (1, 2, 2):
            faiss.omp_set_num_threads(threads)
            monkeypatch.setattr("os.cpu_count", lambda threads=threads: threads)
            runs.append(rank_photos(index, query, Config(ransac_trials=30)))
    finally:
        faiss.omp_set_num_threads(before)
    for ranks, scores in runs[1:]:
        np.testing.assert_array_equal(ranks, runs[0][0])
        np.testing.assert_array_equal(scores, runs[0][1])


def test_random_ranking_depends_on_the_seed_alone():
    names = [f"photo{number}" for number in range(20)]
    first, same, other = (random_ranking(["a", "b"], names, seed) for seed in (1, 1, 2))
    assert (first.ranks == same.ranks).all() and not (first.ranks == other.ranks).all()
    assert first.ranks[0].tolist() != first.ranks[1].tolist()
    assert random_ranking([], names).ranks.shape == (0, 20)
