"""Matching against a slow independent search, hand-made ties, and empty sides."""

import numpy as np
import pytest

from src.matching import correspondences
from src.matching.correspondences import match_descriptors, match_rows
from src.records import LocalFeatures


def features_of(descriptors) -> LocalFeatures:
    descriptors = np.asarray(descriptors, np.float32)
    count = len(descriptors)
    return LocalFeatures(np.zeros((count, 2)), np.ones(count), np.ones(count), descriptors, (640, 480))


def unit_rows(generator, count, dimension=8):
    rows = generator.normal(size=(count, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def angle(*degrees):
    """Unit vectors in the plane; two of them d degrees apart have distance 2 sin(d / 2)."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def brute_force(a, b, max_distance, ratio, mutual):
    pairs = []
    for row_b, query in enumerate(b):
        distances = [float(np.sqrt(((row - query) ** 2).sum())) for row in a]
        order = sorted(range(len(a)), key=lambda row: distances[row])
        if distances[order[0]] >= max_distance:
            continue
        if ratio is not None and len(order) > 1 and distances[order[0]] >= ratio * distances[order[1]]:
            continue
        if mutual and np.argmin(((b - a[order[0]]) ** 2).sum(axis=1)) != row_b:
            continue
        pairs.append((order[0], row_b, distances[order[0]]))
    return pairs


@pytest.mark.parametrize("ratio", [None, 0.9])
@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("chunk", [7, 2048])
def test_agrees_with_brute_force(monkeypatch, ratio, mutual, chunk):
    monkeypatch.setattr(correspondences, "_CHUNK_NUMBERS", 40 * chunk)
    generator = np.random.default_rng(3)
    a, b = unit_rows(generator, 40), unit_rows(generator, 55)
    matches = match_descriptors(features_of(a), features_of(b), 0.8, ratio, mutual)
    expected = brute_force(a, b, 0.8, ratio, mutual)
    assert 0 < len(expected) < 55
    assert matches.indices.tolist() == [[row_a, row_b] for row_a, row_b, _ in expected]
    np.testing.assert_allclose(matches.distances, [distance for *_, distance in expected], atol=1e-6)


def test_rows_that_float32_cannot_tell_apart():
    """Each row of A stands there five times, a little moved; and one of B is long, so that products are inexact."""
    generator = np.random.default_rng(4)
    a = unit_rows(generator, 30)[np.arange(150) % 30] + generator.normal(0, 3e-7, (150, 8))
    b = a[:20] + generator.normal(0, 0.01, (20, 8))
    b[0] *= 4
    for rows_a, rows_b in ((a, b), (a.astype(np.float32), b.astype(np.float32))):
        found = match_rows(rows_a, rows_b, 4.0).indices
        squared = ((rows_a[None].astype(np.float64) - rows_b[:, None].astype(np.float64)) ** 2).sum(axis=2)
        assert (squared[found[:, 1], found[:, 0]] <= squared.min(axis=1) + 1e-9).all() and len(found) == 20


def test_identical_rows_fail_the_ratio_test():
    assert len(match_rows(np.eye(2)[[0, 0, 1]], np.eye(2), 0.8, ratio=0.9)) == 1


def test_many_rows_of_b_may_share_a_row_of_a():
    matches = match_descriptors(features_of(angle(0, 90)), features_of(angle(1, 2, 3)), 0.8)
    assert matches.indices.tolist() == [[0, 0], [0, 1], [0, 2]]


def test_mutual_keeps_the_nearest_of_them():
    matches = match_descriptors(features_of(angle(0, 90)), features_of(angle(3, 1, 2)), 0.8, mutual=True)
    assert matches.indices.tolist() == [[0, 1]]


def test_direction_is_nearest_of_a_for_each_of_b():
    a, b = features_of(angle(0, 10)), features_of(angle(4))
    assert match_descriptors(a, b, 0.8).indices.tolist() == [[0, 0]]
    assert match_descriptors(b, a, 0.8).indices.tolist() == [[0, 0], [0, 1]]


def test_distance_bound_is_strict():
    a, b = features_of([[0.0, 0.0]]), features_of([[0.5, 0.0]])
    assert len(match_descriptors(a, b, 0.5)) == 0
    assert len(match_descriptors(a, b, 0.5001)) == 1


def test_equal_distances_go_to_the_lower_row():
    assert match_descriptors(features_of(angle(5, 5, 5)), features_of(angle(5)), 0.8).indices.tolist() == [[0, 0]]


@pytest.mark.parametrize("mutual", [False, True])
def test_equal_rows_anywhere_go_to_the_lowest(mutual):
    """Blank sky gives equal descriptors; in float32, BLAS sums them differently in different places of a matrix."""
    generator = np.random.default_rng(0)
    for count_a in range(3, 24):
        for count_b in range(1, 24):
            rows = unit_rows(generator, count_a, 40)
            rows[[count_a // 2, -1]] = rows[0]
            matches = match_descriptors(features_of(rows), features_of(rows[:1].repeat(count_b, 0)), 0.8, None, mutual)
            assert matches.indices.tolist() == [[0, row] for row in range(1 if mutual else count_b)]


def test_ratio_with_a_single_row_of_a_keeps_it():
    assert len(match_descriptors(features_of(angle(0)), features_of(angle(5)), 0.8, ratio=0.8)) == 1


@pytest.mark.parametrize("count_a, count_b", [(0, 0), (0, 5), (5, 0)])
def test_empty_sides_give_no_matches(count_a, count_b):
    generator = np.random.default_rng(0)
    a, b = unit_rows(generator, count_a), unit_rows(generator, count_b)
    matches = match_descriptors(features_of(a), features_of(b), 0.8)
    assert matches.indices.shape == (0, 2) and matches.distances.shape == (0,)


def test_dimension_mismatch_is_an_error():
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="8 and 4 dimensions"):
        match_descriptors(features_of(unit_rows(generator, 3)), features_of(unit_rows(generator, 3, 4)), 0.8)
