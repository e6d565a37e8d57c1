"""Pictures of how much each region of photos counts, for a network that learned it (Kim & Yoon, BMVC 2018)."""

import logging
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike
from ..config import ExtractionConfig, GlobalConfig, ModelConfig, RunConfig
from ..engines import load_network
from ..errors import UserError
from ..images import load_photo
from .drawing import draw_regions
from .encoder import LoadNetwork
from .extraction import photos_of_folder
from .global_encoder import make_encoder

logger = logging.getLogger(__name__)


def visualize_regions(
    images_path: PathLike,
    output: PathLike,
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    num_images: int = 0,
    num_shown: int = 5,
    network: LoadNetwork = load_network,
) -> int:
    """Draw photos of a folder to ``<output>/<name of the photo>.png``, with the weights of their regions.

    Args:
        images_path: the photos.
        output: folder.
        run, model, extraction: sections of the recipe; ``checkpoint_path`` holds the attention of regions.
        num_images: photos drawn at random; 0 = all.
        num_shown: regions outlined at most.
        network: makes a network.

    Returns:
        Number of pictures.

    Raises:
        UserError: unusable checkpoint, one without an attention of regions, or no picture at all.
    """
    photos, count = photos_of_folder(images_path, num_images, run.seed), 0
    encoder = make_encoder(run, model, extraction, network, GlobalConfig())
    if encoder.pooling.attention is None:
        raise UserError(
            f"{model.checkpoint_path}: holds no attention of regions; give a checkpoint of stage regional_attention"
        )
    encoder = encoder.load()
    for photo in tqdm(photos, desc="draw", unit="photo", disable=None):
        try:
            loaded = load_photo(photo.path)
            found = encoder.infer(encoder.prepare(loaded)).maps[0]
        except UserError as error:
            logger.warning("left out: %s", error)
            continue
        boxes, weights = encoder.pooling.region_weights(found.feature_map, found.level_size)
        height, width = found.feature_map.shape[:2]
        places = boxes * np.tile(np.array(loaded.size) / (width, height), 2)
        draw_regions(
            loaded.pixels, loaded.size, places, weights, photo.name, Path(output) / f"{photo.name}.png", num_shown
        )
        count += 1
    if not count:
        raise UserError(f"{images_path}: none of its {len(photos)} photos can be used")
    return count
