"""Geometric verification: the affine map between two photos that most correspondences agree with, found by RANSAC."""

import dataclasses
import warnings
from typing import Optional, Tuple

import cv2
import numpy as np

from ..records import LocalFeatures, Matches

MIN_SAMPLES = 3  # correspondences that define an affine map
_MAX_SCALE_CHANGE = 32.0  # a map that shrinks or enlarges more has collapsed onto a point or a line
_CONFIDENCE = 0.999  # of having drawn an all-inlier sample; RANSAC stops before its last trial when it is reached


def verify(
    matches: Matches,
    keypoints_a: np.ndarray,
    photo_b: LocalFeatures,
    method: str = "opencv",
    residual: float = 20.0,
    trials: int = 1000,
    seed: int = 0,
    unit: str = "network",
) -> Matches:
    """Fill ``inliers`` and ``affine`` of putative matches.

    Args:
        matches: correspondences of two photos.
        keypoints_a: [N_a, 2], (x, y) pixels of photo A.
        photo_b: features of photo B, in which the residual is measured.
        method, trials, seed: see ``fit_affine``.
        residual: an inlier lies within this distance of its mapped point, pixels of ``unit``.
        unit: ``network`` (B as the network saw it: the cells that keypoints stand for have one size there, however
            much larger the photo is) or ``original`` (B as it was given).

    Returns:
        The same matches; when no map was found ``inliers`` is all False and ``affine`` None, which is a valid result.
    """
    rows_a, rows_b = matches.indices.T
    factor = photo_b.resize_factor if unit == "network" else 1.0
    points_b = photo_b.keypoints[rows_b].astype(np.float64) * factor
    affine, inliers = fit_affine(keypoints_a[rows_a], points_b, method, residual, trials, seed)
    return dataclasses.replace(matches, inliers=inliers, affine=None if affine is None else affine / factor)


def fit_affine(
    points_a: np.ndarray,
    points_b: np.ndarray,
    method: str = "opencv",
    residual: float = 20.0,
    trials: int = 1000,
    seed: int = 0,
) -> Tuple[Optional[np.ndarray], np.ndarray]:
    """Fit the affine map A -> B to corresponding points with outliers; safe for any number and arrangement of points.

    ``skimage`` gives the reference's own answer: the inliers of its best sample. The others count anew under the map
    that was fitted to the inliers, and refuse maps that collapse.

    Args:
        points_a, points_b: [M, 2], (x, y) pixels of each photo.
        method: ``opencv`` (RANSAC), ``magsac`` (OpenCV's MAGSAC++) or ``skimage`` (the reference's library, slow).
        residual: an inlier lies within this distance of its mapped point, pixels of B.
        trials: RANSAC trials at most.
        seed: same points and seed, same result.

    Returns:
        The map [2, 3] and the inliers [M]; (None, all False) when no map fits three points that span a plane.
    """
    points_a, points_b = np.asarray(points_a, np.float64), np.asarray(points_b, np.float64)
    none = None, np.zeros(len(points_a), bool)
    if len(points_a) < MIN_SAMPLES:
        return none
    if method == "skimage":
        return _fit_by_skimage(points_a, points_b, residual, trials, seed)
    affine = _ESTIMATORS[method](points_a, points_b, residual, trials, seed)
    if affine is None or not _is_plausible(affine):
        return none
    inliers = np.linalg.norm(points_a @ affine[:, :2].T + affine[:, 2] - points_b, axis=1) < residual
    return (affine, inliers) if _span_a_plane(points_a[inliers]) else none


def _is_plausible(affine: np.ndarray) -> bool:
    """Whether the map is finite and neither collapses nor explodes any direction."""
    if not np.isfinite(affine).all():
        return False
    largest, smallest = np.linalg.svd(affine[:, :2], compute_uv=False)
    return largest < _MAX_SCALE_CHANGE and smallest > 1 / _MAX_SCALE_CHANGE


def _span_a_plane(points: np.ndarray) -> bool:
    """Whether points [M, 2] are three at least and not all on a line, which leaves an affine map undetermined."""
    if len(points) < MIN_SAMPLES:
        return False
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return spread[1] > 1e-6 * spread[0]


def _estimate_opencv(points_a, points_b, residual: float, trials: int, seed: int) -> Optional[np.ndarray]:
    # OpenCV's RANSAC draws from a fixed sequence that cv2.setRNGSeed does not reach: shuffling makes the seed count.
    order = np.random.default_rng(seed).permutation(len(points_a))
    affine, _ = cv2.estimateAffine2D(
        points_a[order],
        points_b[order],
        method=cv2.RANSAC,
        ransacReprojThreshold=residual,
        maxIters=trials,
        confidence=_CONFIDENCE,
    )
    return affine


def _estimate_magsac(points_a, points_b, residual: float, trials: int, seed: int) -> Optional[np.ndarray]:
    parameters = cv2.UsacParams()
    parameters.score = cv2.SCORE_METHOD_MAGSAC
    parameters.loMethod = cv2.LOCAL_OPTIM_SIGMA
    parameters.threshold = residual
    parameters.maxIterations = trials
    parameters.confidence = _CONFIDENCE
    parameters.randomGeneratorState = seed
    affine, _ = cv2.estimateAffine2D(points_a, points_b, parameters)
    return affine


def _fit_by_skimage(
    points_a: np.ndarray, points_b: np.ndarray, residual: float, trials: int, seed: int
) -> Tuple[Optional[np.ndarray], np.ndarray]:
    from skimage.measure import ransac  # heavy, and only this method needs it
    from skimage.transform import AffineTransform

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "no inliers found" is an answer here, not a warning
        model, inliers = ransac(
            (points_a, points_b),
            AffineTransform,
            min_samples=MIN_SAMPLES,
            residual_threshold=residual,
            max_trials=trials,
            rng=seed,
        )
    affine = getattr(model, "params", np.full((3, 3), np.nan))[:2]  # the inliers may lie so that no map is fitted
    return affine if np.isfinite(affine).all() else None, np.zeros(len(points_a), bool) if inliers is None else inliers


_ESTIMATORS = {"opencv": _estimate_opencv, "magsac": _estimate_magsac}
