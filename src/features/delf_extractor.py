"""DELF for Python programs: a checkpoint, then features of any photo."""

import logging
from typing import Any, Callable, Iterable, Optional, Tuple, Union

import numpy as np

from ..artifacts import PathLike
from ..commands.command_line import parse_command_line
from ..config import Config
from ..device import prepare_process
from ..engines.choose import load_network as load_delf
from ..engines.identity import weights_sha256
from ..errors import UserError
from ..images import load_photo
from ..records import LocalFeatures
from .attention_map import attention_map
from .extractor import ExtractionSettings, Network, Prepared, prepare, run_network, select
from .pca import Pca
from .pca_choice import fitting_pca
from .photos import Photo
from .pipeline import Extracted, Pipeline
from .resolve import resolve

logger = logging.getLogger(__name__)

ImageOrPath = Union[np.ndarray, PathLike]


class DelfExtractor:
    """Takes local features of photos, as eval/extract_features.py does.

    Attributes:
        settings: pyramid, selection and PCA dimensions.
        checkpoint_sha256: identity of the network, hex.
    """

    def __init__(
        self, network: Network, settings: ExtractionSettings, pca: Optional[Pca], checkpoint_sha256: str
    ) -> None:
        self._network, self.settings, self._pca = network, settings, pca
        self.checkpoint_sha256 = checkpoint_sha256

    @classmethod
    def from_checkpoint(cls, path: PathLike, pca_path: PathLike = "", **settings: Any) -> "DelfExtractor":
        """Load a network.

        Args:
            path: checkpoint of stage attn, or an export of one.
            pca_path: PCA file or folder; '' = the one that an export carries, else raw descriptors of 1024 numbers.
            settings: keys of the recipe with their values, such as ``max_feature_num=500``; ``config="a.yaml"`` reads
                a recipe first.

        Raises:
            UserError: a file or setting that cannot be used.
        """
        prepare_process()
        settings = {**settings, "checkpoint_path": path, "pca_path": pca_path}
        return cls.from_config(parse_command_line("", (), argv=[_option(*item) for item in settings.items()])[0])

    @classmethod
    def from_config(
        cls, config: Config, load_network: Callable[[Config, int], Network] = load_delf, device_id: int = 0
    ) -> "DelfExtractor":
        """Load the network and PCA of a recipe; without a score_threshold, the one saved beside the checkpoint."""
        checkpoint_sha256 = weights_sha256(config.checkpoint_path)
        config = resolve(config, checkpoint_sha256)
        pca = fitting_pca(config, checkpoint_sha256)
        settings = ExtractionSettings.from_config(config)
        return cls(load_network(config, device_id), settings, pca, checkpoint_sha256)

    def extract(self, image: ImageOrPath) -> LocalFeatures:
        """Features of a photo, best first; keypoints (x, y) in its pixels.

        Args:
            image: file of a photo, or [H, W, 3] uint8 RGB.

        Raises:
            UserError: not a photo.
        """
        prepared = self._prepare(image)
        return select(run_network(prepared, self._network), prepared.frame, self.settings, self._pca)

    def extract_photos(
        self, photos: Iterable[Photo], deliver: Callable[[Photo, LocalFeatures], None], threads: int = 2
    ) -> None:
        """Call ``deliver`` with each photo's features, in order, while others are read and seen by the network.

        Photos that cannot be read are logged and left out.
        """
        following = iter(photos)

        def pass_on(photo: Photo, found: Union[Extracted, str]) -> None:
            if isinstance(found, str):
                logger.warning("left out: %s", found)
            else:
                deliver(photo, found.features)

        Pipeline(self._network, self.settings, self._pca, threads).run(lambda wait: next(following), pass_on)

    def extract_with_attention(
        self, image: ImageOrPath, map_size: Optional[Tuple[int, int]] = None
    ) -> Tuple[LocalFeatures, np.ndarray]:
        """Features of a photo, and its attention [H, W] float32: at each pixel the highest score of any pyramid level.

        Args:
            image: as for ``extract``.
            map_size: (width, height) of the attention; None = that of the photo.
        """
        prepared = self._prepare(image)
        levels = run_network(prepared, self._network)
        features = select(levels, prepared.frame, self.settings, self._pca)
        return features, attention_map(levels, prepared.frame, map_size or prepared.frame.image_size)

    def _prepare(self, image: ImageOrPath) -> Prepared:
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                fact = f"an image is [H, W, 3] uint8 RGB, not {list(image.shape)} {image.dtype}"
                raise UserError(f"{fact}; convert it, or give the path of its file")
            return prepare(image, self.settings)
        photo = load_photo(image, self.settings.sufficient_side)
        return prepare(photo.pixels, self.settings, None, photo.size)


def _option(name: str, value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return f"--{name}={text}"
