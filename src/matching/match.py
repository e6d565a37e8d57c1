"""Match two photos: their descriptors are compared, the correspondences verified, and the result drawn."""

from pathlib import Path
from typing import Any, Optional, Tuple

import cv2
import numpy as np

from ..artifacts import PathLike, atomic_write_bytes
from ..errors import UserError
from ..records import LocalFeatures, Matches
from .correspondences import match_descriptors
from .drawing import draw_matches
from .matcher import LEAST_PROBABILITY, Matcher, drawn_pairs
from .verification import verify


def match_features(
    a: LocalFeatures,
    b: LocalFeatures,
    match_distance: float = 0.8,
    match_ratio: Optional[float] = None,
    mutual_check: bool = False,
    ransac_method: str = "opencv",
    ransac_residual: float = 20.0,
    residual_unit: str = "network",
    ransac_trials: int = 1000,
    seed: int = 0,
) -> Matches:
    """Correspondences of two photos, verified; none at all when a photo has no features.

    Args:
        a, b: features of photos A and B.
        match_distance, match_ratio, mutual_check: see ``match_rows``; they are the recipe's keys, as those that follow.
        ransac_method, ransac_residual, residual_unit, ransac_trials, seed: see ``verify``.
    """
    matches = match_descriptors(a, b, match_distance, match_ratio, mutual_check)
    return verify(matches, a.keypoints, b, ransac_method, ransac_residual, ransac_trials, seed, residual_unit)


def match_photos(
    images: Tuple[np.ndarray, np.ndarray],
    features: Tuple[LocalFeatures, LocalFeatures],
    output_image: PathLike,
    title: str = "",
    show_outliers: bool = False,
    **how: Any,
) -> Matches:
    """Match and verify two photos, and write the picture of it.

    Args:
        images: photos A and B, [H, W, 3] uint8 RGB.
        features: theirs.
        output_image: picture (.png or .jpg) of both photos with a line for each inlier; always written anew.
        title: text in the picture, before the counts.
        show_outliers: draw the correspondences that RANSAC rejects too.
        how: see ``match_features``.

    Returns:
        The verified matches.

    Raises:
        UserError: the picture has no known format.
    """
    matches = match_features(*features, **how)
    _write_picture(output_image, draw_matches(*images, *features, matches, title, show_outliers))
    return matches


def match_photos_learned(
    images: Tuple[np.ndarray, np.ndarray],
    features: Tuple[LocalFeatures, LocalFeatures],
    matcher: Matcher,
    output_image: PathLike,
    title: str = "",
) -> Tuple[float, Matches]:
    """Compare two photos by a learned matcher, and write the picture of the descriptors that are partners.

    Args:
        images, features, output_image, title: as of ``match_photos``.
        matcher: trained on such features.

    Returns:
        The soft votes, and the pairs above ``matcher.LEAST_PROBABILITY``.

    Raises:
        UserError: the picture has no known format.
    """
    probabilities = matcher.probabilities(*(matcher.project(photo.descriptors) for photo in features))
    votes, (matches, strengths) = matcher.soft_votes(probabilities), drawn_pairs(probabilities)
    shares = (strengths - LEAST_PROBABILITY) / (1 - LEAST_PROBABILITY)
    counts = f"{votes:.1f} soft votes, {len(matches)} pairs"
    picture = draw_matches(*images, *features, matches, title, strengths=shares, counts=counts)
    _write_picture(output_image, picture)
    return votes, matches


def _write_picture(path: PathLike, picture: np.ndarray) -> None:
    """Encode an RGB picture by the suffix of ``path`` and write it atomically."""
    if Path(path).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"{path}: a picture's name must end in .png or .jpg (`output_image`)")
    _, data = cv2.imencode(Path(path).suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    atomic_write_bytes(path, data.tobytes())
