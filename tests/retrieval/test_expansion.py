"""Expansion, diffusion and SuperGlobal: numbers worked out by hand, and slow twins of each on random vectors."""

import numpy as np
import pytest

from src.retrieval.diffusion import NeighbourGraph
from src.retrieval.expansion import expand
from src.retrieval.global_index import GlobalIndex
from src.retrieval.global_searcher import GlobalSearcher
from src.retrieval.index_types import make_product_index
from src.retrieval.superglobal import refine_scores

RTOL = 1e-5
QUERY = np.array([1.0, 0.0], np.float32)
DEGREES = np.radians([10, 40, 80, 170])
PHOTOS = np.stack([np.cos(DEGREES), np.sin(DEGREES)], axis=1).astype(np.float32)


def searcher_of(vectors, index_type="Flat", names=None):
    """A searcher of vectors [N, D]."""
    index = GlobalIndex(make_product_index(index_type, vectors.shape[1]))
    searcher = GlobalSearcher(index)
    if not index.faiss_index.is_trained:
        searcher.fit(vectors)
    index.add(names or [f"{number:03d}.jpg" for number in range(len(vectors))], vectors)
    return searcher


def clustered(generator, count, dimension=24, clusters=6, spread=0.5):
    """Unit vectors [count, dimension] around some centres."""
    centres = generator.normal(size=(clusters, dimension))
    rows = centres[generator.integers(0, clusters, count)] + spread * generator.normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    "alpha, expected", [(3, (0.980761, 0.195214)), (1, (0.967944, 0.251166)), (0, (0.958668, 0.284527))]
)
def test_query_expansion_by_two_photos(alpha, expected):
    nearest = PHOTOS[:2]
    np.testing.assert_allclose(expand(QUERY, nearest, nearest @ QUERY, alpha), expected, rtol=RTOL)


def test_database_augmentation_by_two_photos():
    """The last photo has no similar one, so it stays as it is."""
    expected = [(0.920866, 0.389880), (0.777977, 0.628293), (0.399076, 0.916918), PHOTOS[3]]
    augmented = searcher_of(PHOTOS).augmented(2, 3).index.vectors
    np.testing.assert_allclose(augmented, expected, rtol=RTOL)
    np.testing.assert_array_equal(augmented[3], PHOTOS[3])


def test_negative_similarities_count_nothing():
    """A fractional power of one would be no number; with alpha 0 it would count as much as the best."""
    against = np.array([[0.6, 0.8], [-0.6, 0.8]], np.float32)
    for alpha in (0, 0.5, 3):
        expected = QUERY + 0.6**alpha * against[0]
        expanded = expand(QUERY, against, against @ QUERY, alpha)
        np.testing.assert_allclose(expanded, expected / np.linalg.norm(expected), rtol=RTOL)


@pytest.mark.parametrize("alpha", [0, 1, 2.5])
def test_augmentation_as_a_slow_loop_does_it(alpha):
    vectors, k = clustered(np.random.default_rng(3), 60), 7
    expected = []
    for number, vector in enumerate(vectors):
        others = [other for other in range(len(vectors)) if other != number]
        nearest = sorted(others, key=lambda other: -float(vector @ vectors[other]))[:k]
        total = vector.astype(np.float64)
        for other in nearest:
            similarity = float(vector @ vectors[other])
            total = total + (similarity**alpha if similarity > 0 else 0) * vectors[other]
        expected.append(total / np.sqrt((total**2).sum()))
    np.testing.assert_allclose(searcher_of(vectors).augmented(k, alpha).index.vectors, expected, rtol=1e-4, atol=1e-6)


def test_more_neighbours_than_there_are_photos_are_all_of_them():
    vectors = clustered(np.random.default_rng(3), 8)
    photos, similarities = searcher_of(vectors).neighbours(50)
    assert photos.shape == (8, 7) and all(sorted([n, *row]) == list(range(8)) for n, row in enumerate(photos.tolist()))
    assert (np.diff(similarities) <= 0).all()
    some, every = (searcher_of(vectors).augmented(k, 1).index.vectors for k in (50, 7))
    np.testing.assert_array_equal(some, every)
    assert searcher_of(vectors[:1]).augmented(3, 1).index.vectors.tolist() == vectors[:1].tolist()


def test_diffusion_of_a_query_among_four_photos():
    """The query takes the third photo's place among the two nearest of the second, to which both are equally near."""
    searcher = searcher_of(PHOTOS)
    photos, similarities = searcher.find(QUERY)
    assert photos.tolist() == [0, 1, 2, 3]
    reached = NeighbourGraph(*searcher.neighbours(2), 2).diffuse(photos, similarities)
    np.testing.assert_allclose(reached, [36.335, 29.998, 0, 0], rtol=RTOL * 5)
    assert (reached[2:] == 0).all()


def slow_diffusion(query, vectors, photos, k, alpha=0.99, gamma=3):
    """The whole graph of the query and all photos, dense; the query enters the lists of ``photos`` alone."""
    all_vectors = np.concatenate([[query], vectors]).astype(np.float64)
    similarities = np.round(all_vectors @ all_vectors.T, 6)
    lists = []
    for node in range(len(all_vectors)):
        others = [other for other in range(len(all_vectors)) if other != node]
        if node and node - 1 not in photos:
            others.remove(0)
        if not node:
            others = [photo + 1 for photo in photos]
        lists.append(sorted(others, key=lambda other: (-similarities[node, other], other))[:k])
    edges = np.zeros_like(similarities)
    for node, nearest in enumerate(lists):
        for other in nearest:
            if node in lists[other]:
                edges[node, other] = max(similarities[node, other], 0) ** gamma
    scale = 1 / np.sqrt(edges.sum(axis=1) + 1e-12)
    system = np.eye(len(edges)) - alpha * scale[:, None] * edges * scale
    kept = [0, *(photo + 1 for photo in photos)]
    start = np.zeros(len(kept))
    start[0] = 1
    return np.linalg.solve(system[np.ix_(kept, kept)], start)[1:]


@pytest.mark.parametrize("k", [2, 5, 100])
@pytest.mark.parametrize("limit", [10, 40])
def test_diffusion_as_a_dense_slow_twin_does_it(k, limit, monkeypatch):
    monkeypatch.setattr("src.retrieval.diffusion._ITERATIONS", 1000)
    monkeypatch.setattr("src.retrieval.diffusion._TOLERANCE", 1e-12)
    generator = np.random.default_rng(k)
    vectors, queries = clustered(generator, 40, 8, 4, 0.8), clustered(generator, 5, 8, 4, 0.8)
    searcher = searcher_of(vectors)
    graph = NeighbourGraph(*searcher.neighbours(k), k)
    for query in [*queries, vectors[7]]:
        photos, similarities = (each[:limit] for each in searcher.find(query))
        expected = slow_diffusion(query, vectors, photos.tolist(), k)
        np.testing.assert_allclose(graph.diffuse(photos, similarities), expected, rtol=1e-4, atol=1e-5)


def test_superglobal_on_three_photos():
    scores = refine_scores(QUERY, PHOTOS[:3], k=1, beta=0.15, num_expanded=2)
    np.testing.assert_allclose(scores, [1.007306, 0.948609, 0.509543], rtol=RTOL)


@pytest.mark.parametrize("count, k", [(30, 9), (4, 9), (1, 9), (12, 3)])
def test_superglobal_as_a_slow_loop_does_it(count, k):
    generator = np.random.default_rng(count)
    vectors, query = clustered(generator, count), clustered(generator, 1)[0]
    refined = []
    for number, vector in enumerate(vectors.astype(np.float64)):
        others = sorted((o for o in range(count) if o != number), key=lambda other: -float(vector @ vectors[other]))
        total, weights = vector.copy(), 1.0
        for other in others[:k]:
            weight = 0.15 * max(float(vector @ vectors[other]), 0)
            total, weights = total + weight * vectors[other], weights + weight
        refined.append(total / weights)
    first = [float(row @ query) for row in refined]
    best = sorted(range(count), key=lambda number: -first[number])[:10]
    largest = [max(refined[number][d] for number in best) for d in range(len(query))]
    expected = [(s + float(row @ largest)) / 2 for s, row in zip(first, refined)]
    np.testing.assert_allclose(refine_scores(query, vectors, k), expected, rtol=1e-4)


@pytest.mark.parametrize("index_type", ["IVF4,Flat", "IVF4,SQ4", "HNSW16", "SQ8"])
def test_approximate_neighbours_are_nearly_those_of_exact_search(index_type):
    """The similarities are those of the vectors themselves, whatever the index keeps."""
    vectors = clustered(np.random.default_rng(1), 400)
    exact, _ = searcher_of(vectors).neighbours(5)
    photos, similarities = searcher_of(vectors, index_type).neighbours(5)
    assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(photos.tolist(), exact.tolist())]) > 0.9
    assert all(number not in row for number, row in enumerate(photos.tolist()))
    np.testing.assert_allclose(similarities, np.einsum("nd,nkd->nk", vectors, vectors[photos]), atol=2e-6)


def test_equal_photos_follow_the_seeded_order_in_every_list():
    """Fifty equal photos: which of them are nearest is decided by the order of ties, not by their numbers."""
    vectors = np.tile(clustered(np.random.default_rng(0), 1, 33), (50, 1))
    searcher = searcher_of(vectors)
    order = np.argsort(searcher.ties).tolist()
    assert searcher.find(vectors[0])[0].tolist() == order != list(range(50))
    for number, row in enumerate(searcher.neighbours(4)[0].tolist()):
        assert row == [other for other in order if other != number][:4]
