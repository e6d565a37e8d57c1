"""Match two photos from files: their features are read, matched, verified and drawn."""

from pathlib import Path
from typing import Tuple

import cv2

from ..artifacts import PathLike, atomic_write_bytes, require_folder
from ..config import Config
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..images import load_image
from ..records import Matches
from .correspondences import match_descriptors
from .drawing import draw_matches
from .verification import verify


def match_photos(
    images_path: PathLike,
    names: Tuple[str, str],
    features: PathLike,
    output_image: PathLike,
    config: Config,
    show_outliers: bool = False,
) -> Matches:
    """Match and verify two photos, and write the picture of it.

    Args:
        images_path: folder of the photos.
        names: photos A and B relative to ``images_path``, as in the feature file.
        features: feature file that holds both.
        output_image: picture (.png or .jpg) of both photos with a line for each inlier; always written anew.
        config: recipe; its matching section and seed are used.
        show_outliers: draw the correspondences that RANSAC rejects too.

    Returns:
        The verified matches; none at all when a photo has no features.

    Raises:
        UserError: a photo is missing from the folder or the feature file, or the picture has no known format.
    """
    folder = require_folder(images_path, "images_path")
    images = [load_image(folder / name) for name in names]
    with FeatureFile(features, "features") as source:
        a, b = (source.read(name) for name in names)
    matches = match_descriptors(a, b, config.match_distance, config.match_ratio, config.mutual_check)
    matches = verify(
        matches,
        a.keypoints,
        b.keypoints,
        config.ransac_method,
        config.ransac_residual,
        config.ransac_trials,
        config.seed,
    )
    title = " - ".join(Path(name).name for name in names)
    picture = draw_matches(*images, a, b, matches, title, show_outliers)
    _write_picture(output_image, picture)
    return matches


def _write_picture(path: PathLike, picture) -> None:
    """Encode an RGB picture by the suffix of ``path`` and write it atomically."""
    if Path(path).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"{path}: a picture's name must end in .png or .jpg (`output_image`)")
    _, data = cv2.imencode(Path(path).suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    atomic_write_bytes(path, data.tobytes())
