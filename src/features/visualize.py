"""Pictures of the features of a folder of photos."""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Mapping

from tqdm import tqdm

from ..artifacts import PathLike
from ..config import ExtractionConfig, ModelConfig, RunConfig
from ..engines import load_network
from ..errors import UserError
from ..images import load_photo
from ..model.architectures import architecture_of
from .drawing import draw_features, shown_size
from .encoder import make_encoder
from .extraction import photos_of_folder
from .feature_file import FeatureFile

logger = logging.getLogger(__name__)


def visualize(
    images_path: PathLike,
    output: PathLike,
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    features: PathLike = "",
    num_images: int = 0,
    num_shown: int = 200,
) -> int:
    """Draw photos of a folder to ``<output>/<name of the photo>.png``.

    Args:
        images_path: the photos.
        output: folder.
        run, model, extraction: sections of the recipe; with a checkpoint_path the attention is drawn too.
        features: feature file whose keypoints are drawn; '' = extracted with the checkpoint.
        num_images: photos drawn at random; 0 = all.
        num_shown: keypoints drawn at most.

    Returns:
        Number of pictures.

    Raises:
        UserError: unusable checkpoint or feature file, or no picture at all.
    """
    photos = photos_of_folder(images_path, num_images, run.seed)
    count = 0
    with ExitStack() as stack:
        source = stack.enter_context(FeatureFile(features, "features")) if str(features) else None
        stride = _stride(model, source.provenance.encoder if source is not None else {})
        with_network = bool(model.checkpoint_path)
        encoder = make_encoder(run, model, extraction, load_network).load() if with_network else None
        for photo in tqdm(photos, desc="draw", unit="photo", disable=None):
            if source is not None and photo.name not in source:
                continue
            try:
                loaded = load_photo(photo.path)
            except UserError as error:
                logger.warning("left out: %s", error)
                continue
            found, attention = (None if source is None else source.read(photo.name)), None
            if encoder is not None:
                inferred = encoder.infer(encoder.prepare(loaded))
                found = encoder.select(inferred).local if source is None else found
                attention = encoder.attention_map(inferred, shown_size(loaded.pixels))
            path = Path(output) / f"{photo.name}.png"
            draw_features(loaded.pixels, found, attention, photo.name, path, num_shown, stride)
            count += 1
    if not count:
        raise UserError(f"{images_path}: none of its {len(photos)} photos is readable and, if given, in `features`")
    return count


def _stride(model: ModelConfig, encoder: Mapping[str, Any]) -> int:
    """Pixels between cells of the network that ``encoder`` of a provenance names, of ``model`` where it names none."""
    known = {name: encoder[name] for name in ("architecture", "weights_style") if name in encoder}
    return architecture_of(model.replace(**known)).receptive_field.stride
