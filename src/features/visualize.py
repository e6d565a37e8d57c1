"""Pictures of the features of a folder of photos."""

import logging
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from ..artifacts import PathLike
from ..config import Config
from ..errors import UserError
from ..images import load_image
from .delf_extractor import DelfExtractor
from .drawing import draw_features, shown_size
from .feature_file import FeatureFile
from .photos import photos_of_folder

logger = logging.getLogger(__name__)


def visualize(
    images_path: PathLike, output: PathLike, config: Config, features: PathLike = "", num_images: int = 0,
    num_shown: int = 200,
) -> int:  # fmt: skip
    """Draw photos of a folder to ``<output>/<name of the photo>.png``.

    Args:
        images_path: the photos.
        output: folder.
        config: recipe; with a checkpoint_path the attention is drawn too.
        features: feature file whose keypoints are drawn; '' = extracted with the checkpoint.
        num_images: photos drawn at random; 0 = all.
        num_shown: keypoints drawn at most.

    Returns:
        Number of pictures.

    Raises:
        UserError: unusable checkpoint or feature file, or no picture at all.
    """
    photos = photos_of_folder(images_path, num_images, config.seed)
    count = 0
    with ExitStack() as stack:
        source = stack.enter_context(FeatureFile(features, "features")) if str(features) else None
        extractor = DelfExtractor.from_config(config) if config.checkpoint_path else None
        for photo in tqdm(photos, desc="draw", unit="photo", disable=None):
            if source is not None and photo.name not in source:
                continue
            try:
                image = load_image(photo.path)
            except UserError as error:
                logger.warning("left out: %s", error)
                continue
            found, attention = extractor.extract_with_attention(image, shown_size(image)) if extractor else (None, None)
            if source is not None:
                found = source.read(photo.name)
            draw_features(image, found, attention, photo.name, Path(output) / f"{photo.name}.png", num_shown)
            count += 1
    if not count:
        raise UserError(f"{images_path}: none of its {len(photos)} photos is readable and, if given, in `features`")
    return count
