"""Voting and ranking against slow independent code on a planted set, and the order of ties."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest

from src.config import Config
from src.evaluation.metrics import Labels, compute_metrics
from src.records import LocalFeatures, Matches
from src.retrieval.baseline import random_ranking
from src.retrieval.index import DescriptorIndex
from src.retrieval.index_folder import tie_order
from src.retrieval.ransac import Ransac
from src.retrieval.rerank import search_settings
from src.retrieval.search import rank_queries
from src.retrieval.shard import IndexShard, Reranked
from src.retrieval.shards import Shards
from src.retrieval.vote_search import Search, open_search
from src.retrieval.votes import Nearest, VoteSearcher, cast_votes, default_nprobe, search_pool


def features_of(keypoints, descriptors) -> LocalFeatures:
    count = len(keypoints)
    return LocalFeatures(keypoints, np.ones(count), np.ones(count), descriptors, (1000, 1000))


def index_of(photos) -> DescriptorIndex:
    """Exact index of [(keypoints, descriptors)]; names 00.jpg, 01.jpg ..."""
    descriptors = np.concatenate([rows for _, rows in photos]).astype(np.float32)
    index = faiss.IndexFlatL2(descriptors.shape[1])
    index.add(descriptors)
    ids = np.repeat(np.arange(len(photos), dtype=np.int32), [len(rows) for _, rows in photos])
    keypoints = np.concatenate([points for points, _ in photos]).astype(np.float32)
    return DescriptorIndex(index, [f"{number:02d}.jpg" for number in range(len(photos))], ids, keypoints)


def counts_of(votes, num_images):
    """[N], votes of every photo."""
    counts = np.zeros(num_images, np.int64)
    counts[votes.photos] = np.diff(votes.starts)
    return counts


def votes_of(index, query):
    return counts_of(cast_votes(index, query, 60, 0.9), len(index))


def rank_photos(index, query, **keys):
    """Ranks int32 and scores float32 of one query."""
    ranking = rank_all(index, [("q", query)], **keys)
    return ranking.ranks[0], ranking.scores[0]


def rank_all(index, queries, **keys):
    config = Config(**keys)
    with open_search(index, config.retrieval, config.matching, config.run.seed) as search:
        return rank_queries(search, queries)[0]


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
    with search_pool(2) as pool:
        votes = cast_votes(index, query, num_neighbors, search_distance, pool)
    assert counts_of(votes, 12).tolist() == [len(expected[photo]) for photo in range(12)]
    first = 0
    for photo, (_, descriptors) in enumerate(photos):
        query_rows, index_rows, distances = votes.correspondences(photo)
        assert dict(zip(query_rows.tolist(), (index_rows - first).tolist())) == expected[photo]
        differences = descriptors[index_rows - first] - query.descriptors[query_rows]
        np.testing.assert_allclose(distances, np.linalg.norm(differences, axis=1), atol=1e-3)
        first += len(descriptors)


def test_verified_photos_come_first_by_inliers(planted):
    photos, query = planted
    ranking = rank_all(index_of(photos), [("q", query)])
    # Planted affine photos 10, 8, 6, 4 win by inliers over the scattered 11, 9 ... that have as many votes.
    assert ranking.ranks[0, :4].tolist() == [10, 8, 6, 4]
    inliers = np.floor(ranking.scores[0, :4])
    assert (inliers >= [45, 35, 25, 15]).all() and (inliers <= 60).all()
    assert ranking.index_names[10] == "10" and ranking.query_names == ["q"]


def test_photos_beyond_num_rerank_follow_by_votes(planted):
    photos, query = planted
    index = index_of(photos)
    ranks, scores = rank_photos(index, query, num_rerank=2)
    counts = votes_of(index, query)
    by_votes = sorted(range(12), key=lambda photo: (-counts[photo], photo))
    assert set(ranks[:2]) == set(by_votes[:2]) and ranks[2:].tolist() == by_votes[2:]
    assert (scores[:2] >= 0).all() and (scores[2:] < 0).all() and (np.diff(scores) <= 0).all()


def test_zero_num_rerank_verifies_every_photo_with_four_votes(planted):
    photos, query = planted
    index = index_of(photos)
    counts = votes_of(index, query)
    ranks, scores = rank_photos(index, query, num_rerank=0)
    assert {photo for photo, score in zip(ranks, scores) if score >= 0} == set(np.flatnonzero(counts >= 4))
    assert ranks.dtype == np.int32 and scores.dtype == np.float32


def test_a_verified_photo_without_inliers_stays_before_the_unverified():
    """Four correspondences on one spot of the photo: no map. The other photo has three votes: not verified."""
    rows = np.eye(8)
    spot = (np.full((4, 2), 5.0), rows[:4])
    three = (np.array([[0.0, 0], [90, 0], [0, 90]]), rows[:3])
    query = features_of(np.random.default_rng(0).uniform(0, 900, (4, 2)), rows[:4])
    ranks, scores = rank_photos(index_of([three, spot]), query)
    assert ranks.tolist() == [1, 0]
    np.testing.assert_allclose(scores, [4 / 5, 3 / 5 - 1])


def test_the_residual_is_measured_in_the_query():
    """A query ten times smaller than the photo: errors of 60 px in the photo are 6 px in the query, within 20."""
    generator = np.random.default_rng(3)
    points, rows = generator.uniform(0, 5000, (40, 2)), np.eye(40)
    query = features_of(points / 10 + generator.choice([-6, 6], (40, 2)), rows)
    _, scores = rank_photos(index_of([(points, rows)]), query)
    assert int(scores[0]) == 40


@pytest.mark.parametrize("method", ["opencv", "magsac", "skimage"])
def test_the_residual_is_measured_in_what_the_network_saw(planted, method):
    """A query given four times as large, and shrunk to the same size for the network, ranks and counts the same."""
    photos, query = planted
    generator = np.random.default_rng(4)
    photos = [(points + generator.normal(0, 7, points.shape), rows) for points, rows in photos]
    index, keys = index_of(photos), {"ransac_method": method, "ransac_trials": 200}
    large = dataclasses.replace(query, keypoints=4 * query.keypoints, image_size=(4000, 4000), resize_factor=0.25)
    (ranks, scores), (same_ranks, same_scores) = (rank_photos(index, each, **keys) for each in (query, large))
    assert same_ranks.tolist() == ranks.tolist() and same_scores.tolist() == scores.tolist() and scores[0] > 30
    by_name = rank_photos(index, large, residual_unit="original", **keys)[1]
    assert by_name[0] < scores[0] - 5  # 20 px of the query are 5 of what the network saw
    at_native = rank_photos(index, query, residual_unit="original", **keys)[1]
    assert at_native.tolist() == scores.tolist()


def test_equal_photos_are_ranked_in_an_order_of_the_seed(planted):
    """The same for every query and however the photos are numbered; another one for another seed."""
    photos, query = planted
    names = [f"photo {number}.jpg" for number in range(20)]
    found = {}
    for seed in (0, 1):
        for numbers in (np.arange(20), np.random.default_rng(0).permutation(20)):
            index = index_of([photos[8]] * 20 + [photos[10]])
            index.image_names = [*(names[number] for number in numbers), "best.jpg"]
            ranks, scores = rank_photos(index, query, seed=seed)
            assert ranks[0] == 20 and len(set(scores[1:])) == 1
            again = rank_photos(index, query, seed=seed, search_distance=1e-6)[0]  # without any vote
            assert [rank for rank in again if rank < 20] == ranks[1:].tolist()
            found.setdefault(seed, []).append([index.names[rank] for rank in ranks[1:]])
    assert found[0][0] == found[0][1] != found[1][0] == found[1][1]
    assert found[0][0] != sorted(found[0][0])


def test_a_search_that_finds_nothing_scores_as_chance_does(planted):
    """40 landmarks of 5 photos each, whose names begin with the landmark; by name, mAP would be far off chance."""
    photos, query = planted
    index = index_of([photos[0]] * 200)
    index.image_names = [f"landmark_{number // 5:03d}/{number % 5}.jpg" for number in range(200)]
    labels = [Labels(np.arange(5 * landmark, 5 * landmark + 5), np.zeros(0, int), 5) for landmark in range(40)]

    def mean_of(rows):
        return compute_metrics(rows, labels, (1,)).means().mean_average_precision

    nothing = features_of(query.keypoints, -query.descriptors)
    found = []
    for seed in range(8):
        ranks, scores = rank_photos(index, nothing, seed=seed, search_distance=1e-3)
        assert (scores == -1).all()
        found.append(mean_of([ranks] * 40))
    chance = [mean_of([np.random.default_rng(seed).permutation(200)] * 40) for seed in range(300)]
    assert abs(np.mean(found) - np.mean(chance)) < 2 * np.std(chance) / np.sqrt(len(found))
    assert np.abs(np.array(found) - np.mean(chance)).max() < 4 * np.std(chance)
    assert mean_of([np.arange(200)] * 40) > np.mean(chance) + 4 * np.std(chance)


def test_queries_without_a_vote_are_counted(planted, caplog):
    caplog.set_level("INFO")
    photos, query = planted
    nothing = features_of(np.zeros((0, 2)), np.zeros((0, 16)))
    far = features_of(query.keypoints, -query.descriptors)
    ranking = rank_all(index_of(photos[11:]), [("q", query), ("blank", nothing), ("far", far)], search_distance=0.3)
    assert (ranking.scores[1:] == -1).all() and ranking.scores[0, 0] > 0
    assert "2 of 3 queries find nothing" in caplog.text
    caplog.clear()
    rank_all(index_of(photos), [("q", query)])
    assert "find nothing" not in caplog.text


def test_no_queries_and_an_index_without_descriptors(planted):
    photos, query = planted
    assert rank_all(index_of(photos), []).ranks.shape == (0, 12)
    empty = index_of([(np.zeros((0, 2)), np.zeros((0, 16)))] * 3)
    assert sorted(rank_photos(empty, query)[0]) == [0, 1, 2]


@pytest.mark.parametrize("index_type", ["Flat", "PCAR12,IVF8,SQ8", "IVF4,PQ4x4fs", "HNSW8"])
@pytest.mark.parametrize("correspondences", ["index", "exact"])
def test_results_do_not_depend_on_threads_or_run(planted, index_type, correspondences):
    photos, query = planted
    index = index_of(photos * 30)
    descriptors = index.faiss_index.reconstruct_n(0, index.faiss_index.ntotal)
    if index_type != "Flat":
        index = dataclasses.replace(index, faiss_index=trained(index_type, descriptors), sources=Sources(photos * 30))
    runs = [
        rank_photos(index, query, ransac_trials=30, search_threads=n, correspondences=correspondences)
        for n in (1, 2, 2, 5)
    ]
    for ranks, scores in runs[1:]:
        np.testing.assert_array_equal(ranks, runs[0][0])
        np.testing.assert_array_equal(scores, runs[0][1])


def trained(index_type, descriptors):
    index = faiss.index_factory(descriptors.shape[1], index_type)
    index.train(descriptors[:2000])
    index.add(descriptors)
    return index


class Sources:
    """Features of the photos of ``index_of``, as an index reads them from its feature file."""

    def __init__(self, photos):
        self.photos = photos

    def read(self, name):
        return features_of(*self.photos[int(name[: -len(".jpg")])])

    def read_descriptors(self, name):
        return self.read(name).descriptors


def test_nprobe_counts_and_zero_restores_the_default(planted):
    photos, query = planted
    index = index_of(photos)
    descriptors = index.faiss_index.reconstruct_n(0, index.faiss_index.ntotal)
    lists = dataclasses.replace(index, faiss_index=trained("IVF32,Flat", descriptors))
    scores = {nprobe: rank_photos(lists, query, nprobe=nprobe)[1] for nprobe in (1, 32, 1000, 0)}
    np.testing.assert_array_equal(scores[32], rank_photos(index, query)[1])  # every list: as exact as Flat
    np.testing.assert_array_equal(scores[32], scores[1000])
    assert scores[1][0] < scores[32][0]
    assert lists.faiss_index.nprobe == default_nprobe(32) < 32


@pytest.mark.parametrize("correspondences", ["index", "exact"])
def test_the_matches_are_those_of_the_ranking(planted, correspondences):
    photos, query = planted
    config = Config(correspondences=correspondences)
    with open_search(index_of(photos), config.retrieval, config.matching) as search:
        found = search.rank(query)
        pairs = [search.pair(query, found, photo) for photo in found.photos]
    assert sorted(found.photos) == list(range(12))
    for score, photo, pair in zip(found.scores, found.photos, pairs):
        matches = found.matches(photo)
        assert int(np.floor(score)) == (-1 if matches.inliers is None else matches.num_inliers)
        descriptors = photos[photo][1][matches.indices[:, 0]] - query.descriptors[matches.indices[:, 1]]
        np.testing.assert_allclose(matches.distances, np.linalg.norm(descriptors, axis=1), atol=1e-3)
        assert pair.verified == (score >= 0) and pair.correspondences == len(matches)
        assert len(pair.points) == matches.num_inliers
        rows = matches.indices[matches.inliers] if pair.verified else matches.indices[:0]
        np.testing.assert_array_equal(pair.points[:, :2], query.keypoints[rows[:, 1]])
        np.testing.assert_array_equal(pair.points[:, 2:], np.float32(photos[photo][0])[rows[:, 0]])
    best = found.matches(found.photos[0])
    np.testing.assert_allclose(np.linalg.inv(best.affine[:, :2]).T, [[0.8, 0.1], [-0.1, 0.9]], atol=0.05)


def test_photos_that_were_not_verified_have_their_votes(planted):
    photos, query = planted
    index, config = index_of(photos), Config(num_rerank=1)
    with open_search(index, config.retrieval, config.matching) as search:
        found = search.rank(query)
        first, second = (search.pair(query, found, photo) for photo in found.photos[:2])
    assert first.verified and not second.verified and not len(second.points)
    assert second.correspondences == votes_of(index, query)[found.photos[1]] >= 4


@pytest.mark.parametrize("num_rerank, num_neighbors", [(0, 10_000), (3, 4), (100, 7)])
def test_shards_together_rank_as_one_index(planted, num_rerank, num_neighbors):
    """So few neighbours count that some shard's crowd out another's; equal photos lie in both shards."""
    photos, query = planted
    photos = [*photos, photos[8], photos[7]]
    config = Config(num_rerank=num_rerank, num_neighbors=num_neighbors)
    with open_search(index_of(photos), config.retrieval, config.matching) as search:
        whole = search.rank(query)
        expected = [search.pair(query, whole, photo) for photo in whole.photos]
    parts = [index_of(photos[:5]), index_of(photos[5:6]), index_of(photos[6:])]
    for first, part in zip((0, 5, 6), parts):
        part.image_names = [f"{first + number:02d}.jpg" for number in range(len(part))]
    with search_pool(2) as pool, ThreadPoolExecutor(3) as executor:
        shards = [
            IndexShard(part, VoteSearcher(part, config.retrieval, pool), Ransac(part, config.matching, 0, pool))
            for part in parts
        ]
        search = Search(Shards(shards, executor), config.retrieval)
        found = search.rank(query)
        pairs = [search.pair(query, found, photo) for photo in found.photos]
    assert found.photos.tolist() == whole.photos.tolist() and found.scores.tolist() == whole.scores.tolist()
    assert sorted(found.verified) == sorted(whole.verified)
    for pair, other in zip(pairs, expected):
        assert pair.points.tolist() == other.points.tolist()
        assert (pair.correspondences, pair.verified) == (other.correspondences, other.verified)


class StubShard:
    """Photos with scores given; those that are verified get the inliers given."""

    def __init__(self, names, scores, inliers):
        self.names, self._scores, self._inliers = names, np.array(scores, float), inliers
        self.looked_at = []

    def nearest(self, query):
        return Nearest(np.zeros(9, np.int32), np.zeros(0, np.float32))

    def vote(self, query, k, shares):
        order = np.argsort(-self._scores, kind="stable")[:k]
        return order, self._scores[order]

    def putative(self, query, photo, shares):
        return matches_of(self._inliers[photo], False)

    def rerank(self, query, photos, scores, shares):
        self.looked_at = photos.tolist()
        scores = scores + [1 + self._inliers[photo] for photo in self.looked_at]
        return Reranked(scores, [matches_of(self._inliers[photo], True) for photo in self.looked_at])

    def points(self, photo):
        return np.full((9, 2), float(self.names[photo][1:]), np.float32)


def matches_of(count, verified):
    rows = np.arange(count)
    return Matches(np.stack([rows, rows], axis=1), np.zeros(count), np.ones(count, bool) if verified else None)


def test_any_shards_are_searched_merged_and_verified_where_they_are():
    """By hand: votes 7, 6, 5 go to the re-ranker, so s = votes / 8; the photo of 6 votes has most inliers."""
    left, right = StubShard(["p2", "p0"], [5, 7], [4, 2]), StubShard(["p3", "p1", "p4"], [2, 6, 2], [0, 8, 0])
    query = features_of(np.arange(18).reshape(9, 2), np.eye(9))
    with ThreadPoolExecutor(2) as executor:
        search = Search(Shards([left, right], executor), Config(num_rerank=3).retrieval)
        found = search.rank(query)
        best, last = (search.pair(query, found, found.photos[place]) for place in (0, -1))
    assert search.names == ["p2", "p0", "p3", "p1", "p4"]
    assert (left.looked_at, right.looked_at) == ([1, 0], [1])  # in each shard's own numbers
    ties = {photo: place for photo, place in enumerate(tie_order(search.names, 0))}
    assert found.photos.tolist() == [3, 0, 1, *sorted([2, 4], key=ties.get)]  # p3 and p4 have equal votes
    assert found.scores.tolist() == [8 + 6 / 8, 4 + 5 / 8, 2 + 7 / 8, 2 / 8 - 1, 2 / 8 - 1]
    assert sorted(found.verified) == [0, 1, 3] and best.verified and not last.verified
    assert best.points.tolist() == [[2 * row, 2 * row + 1, 1, 1] for row in range(8)]


def test_tests_of_exact_correspondences_count_for_these_alone():
    for keys in ({"mutual_check": True}, {"match_ratio": 0.8}):
        plain, index, exact, strict = (
            Config(**more) for more in ({}, keys, {"correspondences": "exact"}, {"correspondences": "exact", **keys})
        )
        settings = [search_settings(each.retrieval, each.matching, 0) for each in (plain, index, exact, strict)]
        assert settings[0] == settings[1] and settings[2] != settings[3]
        assert "search_threads" not in settings[0]


def test_random_ranking_depends_on_the_seed_alone():
    names = [f"photo{number}" for number in range(20)]
    first, same, other = (random_ranking(["a", "b"], names, seed) for seed in (1, 1, 2))
    assert (first.ranks == same.ranks).all() and not (first.ranks == other.ranks).all()
    assert first.ranks[0].tolist() != first.ranks[1].tolist()
    assert random_ranking([], names).ranks.shape == (0, 20)
