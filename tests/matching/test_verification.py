"""RANSAC on planted affine maps, on too few or degenerate points, and twice with the same seed."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from skimage.measure import ransac
from skimage.transform import AffineTransform

from src.matching.verification import fit_affine, verify
from src.records import LocalFeatures, Matches

METHODS = ("opencv", "magsac", "skimage")
AFFINE = np.array([[0.9, 0.2, 40.0], [-0.15, 1.1, -25.0]])


def planted(num_inliers, num_outliers, noise=1.0, seed=0):
    """Points of A and B; the first ``num_inliers`` follow AFFINE up to noise, the others lie 100 px off it at least."""
    generator = np.random.default_rng(seed)
    a = generator.uniform(0, 1000, (num_inliers + num_outliers, 2))
    b = a @ AFFINE[:, :2].T + AFFINE[:, 2] + generator.normal(0, noise, a.shape)
    angles = generator.uniform(0, 2 * np.pi, num_outliers)
    b[num_inliers:] += np.stack([np.cos(angles), np.sin(angles)], 1) * generator.uniform(100, 800, (num_outliers, 1))
    return a, b


def photo_at(keypoints, resize_factor=1.0) -> LocalFeatures:
    count = len(keypoints)
    return LocalFeatures(keypoints, np.ones(count), np.ones(count), np.ones((count, 1)), (4000, 4000), resize_factor)


@pytest.mark.parametrize("method", METHODS)
def test_finds_the_planted_map(method):
    a, b = planted(60, 60)
    affine, inliers = fit_affine(a, b, method, residual=20, trials=1000, seed=0)
    assert inliers.tolist() == [True] * 60 + [False] * 60
    corners = np.array([[0, 0, 1], [1000, 0, 1], [0, 1000, 1], [1000, 1000, 1]])
    np.testing.assert_allclose(corners @ affine.T, corners @ AFFINE.T, atol=3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_correspondences_give_no_map(method, count):
    affine, inliers = fit_affine(*planted(count, 0), method)
    assert affine is None and inliers.shape == (count,) and not inliers.any()


@pytest.mark.parametrize("method", METHODS)
def test_three_correspondences_define_the_map(method):
    affine, inliers = fit_affine(*planted(3, 0, noise=0), method)
    assert inliers.all()
    np.testing.assert_allclose(affine, AFFINE, atol=1e-2)


def call_skimage(a, b, residual, trials, seed):
    """Inliers as scikit-image itself returns them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, inliers = ransac((a, b), AffineTransform, min_samples=3, residual_threshold=residual, max_trials=trials,
                            rng=seed)  # fmt: skip
    return np.zeros(len(a), bool) if inliers is None else inliers


@pytest.mark.parametrize("num_inliers, num_outliers", [(0, 4), (0, 16), (3, 40), (8, 16), (16, 60), (60, 60)])
@pytest.mark.parametrize("seed", range(4))
def test_skimage_gives_the_reference_s_own_count(num_inliers, num_outliers, seed):
    """Few points by chance: maps that collapse, and inliers of the best sample that the fitted map would not keep."""
    a, b = planted(num_inliers, num_outliers, noise=9, seed=seed)
    affine, inliers = fit_affine(a, b, "skimage", residual=20, trials=100, seed=seed)
    assert inliers.tolist() == call_skimage(a, b, 20, 100, seed).tolist()
    assert affine is None or np.isfinite(affine).all()


@pytest.mark.parametrize("line", [np.arange(12.0), np.zeros(12)])
def test_skimage_counts_what_lies_on_a_line_or_a_point_as_the_reference_does(line):
    a = np.stack([line * 30, line * 60], axis=1)
    _, inliers = fit_affine(a, a + 7, "skimage", trials=100)
    assert inliers.tolist() == call_skimage(a, a + 7, 20, 100, 0).tolist() and inliers.all() == line.any()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["opencv", "magsac"])
@pytest.mark.parametrize("count", [3, 4, 5, 30])
@pytest.mark.parametrize("shape", ["line in A", "line in both", "point in A", "point in B", "point in both"])
def test_degenerate_points_give_no_map(method, count, shape):
    a, b = planted(count, 0, noise=0)
    line = np.stack([np.arange(count) * 30.0, np.arange(count) * 60.0], axis=1)
    point = np.full((count, 2), 50.0)
    if shape in ("line in A", "line in both"):
        a = line
    if shape == "line in both":
        b = line + 7
    if shape in ("point in A", "point in both"):
        a = point
    if shape in ("point in B", "point in both"):
        b = point
    affine, inliers = fit_affine(a, b, method, trials=100)
    assert affine is None and not inliers.any()


@pytest.mark.parametrize("method", ["opencv", "magsac"])
def test_inliers_are_those_within_the_residual_of_the_map(method):
    a, b = planted(80, 40, noise=9)
    affine, inliers = fit_affine(a, b, method, residual=12)
    errors = np.array([np.hypot(*(affine @ [x, y, 1] - target)) for (x, y), target in zip(a, b)])
    assert inliers.tolist() == (errors < 12).tolist() and 20 < inliers.sum() < 80


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_result(method):
    a, b = planted(12, 120, noise=8, seed=4)
    runs = [fit_affine(a, b, method, residual=20, trials=60, seed=seed) for seed in (5, 5)]
    assert runs[0][1].tolist() == runs[1][1].tolist()
    np.testing.assert_array_equal(runs[0][0], runs[1][0])


@pytest.mark.parametrize("method", METHODS)
def test_threads_do_not_disturb_each_other(method):
    pairs = [planted(count, 3 * count, noise=8, seed=count) for count in (2, 4, 9, 25)] * 8
    alone = [fit_affine(*pair, method, trials=40, seed=1) for pair in pairs[:4]] * 8
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: fit_affine(*pair, method, trials=40, seed=1), pairs))
    for (affine, inliers), (expected, expected_inliers) in zip(together, alone):
        np.testing.assert_array_equal(inliers, expected_inliers)
        assert (affine is None) == (expected is None) and (affine is None or affine.tobytes() == expected.tobytes())


def test_the_seed_counts_for_opencv():
    a, b = planted(12, 120, noise=8, seed=4)
    assert len({fit_affine(a, b, "opencv", trials=20, seed=seed)[1].tobytes() for seed in range(5)}) > 1


def test_verify_fills_inliers_and_affine_through_the_indices():
    a, b = planted(20, 10)
    order_a, order_b = np.random.default_rng(1).permutation(30), np.random.default_rng(2).permutation(30)
    keypoints_a, keypoints_b = np.empty_like(a), np.empty_like(b)
    keypoints_a[order_a], keypoints_b[order_b] = a, b
    matches = Matches(np.stack([order_a, order_b], axis=1), np.zeros(30))
    verified = verify(matches, keypoints_a, photo_at(keypoints_b))
    assert verified.num_inliers == 20 and verified.inliers[:20].all()
    np.testing.assert_allclose(verified.affine[:, :2], AFFINE[:, :2], atol=0.02)
    assert matches.inliers is None


@pytest.mark.parametrize("method", METHODS)
def test_a_larger_photo_b_seen_at_the_same_size_has_the_same_inliers(method):
    """Its map leads to its own pixels. In those, by name, the residual is a quarter as wide."""
    a, b = planted(40, 40, noise=8)
    rows = np.stack([np.arange(80)] * 2, axis=1)
    small, large, by_name = (
        verify(Matches(rows, np.zeros(80)), a, photo, method, unit=unit)
        for photo, unit in (
            (photo_at(b), "network"), (photo_at(4 * np.float32(b), 0.25), "network"),
            (photo_at(4 * np.float32(b), 0.25), "original"),
        )
    )  # fmt: skip
    assert large.inliers.tolist() == small.inliers.tolist() and small.num_inliers > 30 > by_name.num_inliers
    np.testing.assert_array_equal(large.affine, 4 * small.affine)


def test_verify_without_matches():
    verified = verify(Matches(np.zeros((0, 2)), np.zeros(0)), np.zeros((0, 2)), photo_at(np.zeros((5, 2))))
    assert verified.num_inliers == 0 and verified.affine is None and verified.inliers.shape == (0,)
