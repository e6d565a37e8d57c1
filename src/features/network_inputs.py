"""What a network sees of a folder of photos: inputs for measuring it, of the sizes that extraction gives it."""

import logging
from typing import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from ..artifacts import digest
from ..config import ExtractionConfig
from ..errors import UserError
from ..images import load_photo
from ..model.architectures import Architecture
from ..records import Photo
from .extraction import photos_digest
from .framing import frame_photo, levels_of, sufficient_side

logger = logging.getLogger(__name__)


class NetworkInputs:
    """One level of the pyramid of each photo, [1, 3, h, w] float32, the scales in turn; read anew at each pass.

    A photo that cannot be used is left out with a line in the log.

    Args:
        photos: at least one.
        extraction: gives the limits of the photos' sizes.
        scales: of the levels.
        architecture: of the network, which says how pixels are normalised.

    Attributes:
        identity: stands for all of these.
    """

    def __init__(
        self, photos: Sequence[Photo], extraction: ExtractionConfig, scales: Sequence[float], architecture: Architecture
    ) -> None:
        self._photos, self._extraction, self._scales, self._architecture = photos, extraction, scales, architecture
        limits = [extraction.max_image_size, extraction.min_image_size, extraction.resize_factor]
        self.identity = digest({"photos": photos_digest(photos), "scales": list(scales), "limits": limits})

    def __len__(self) -> int:
        return len(self._photos)

    def __iter__(self) -> Iterator[np.ndarray]:
        for number, photo in enumerate(tqdm(self._photos, "photos", unit="photo", disable=None, leave=False)):
            scale = self._scales[number % len(self._scales)]
            try:
                loaded = load_photo(photo.path, sufficient_side(self._extraction))
                image, _ = frame_photo(loaded, None, self._extraction, [scale])
                yield from (level for _, level in levels_of(image, self._architecture, [scale]))
            except UserError as error:
                logger.warning("%s is left out: %s", photo.name, error)
