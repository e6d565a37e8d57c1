"""How many features a photo gets when no number is given."""

import numpy as np
import pytest

from src.config import ExtractionConfig, ModelConfig
from src.features.delf_encoder import DelfEncoder
from src.model.architectures import architecture_of


def features(width, height, **extraction):
    """Number of features of a photo by a network whose every cell may become one."""
    settings = ExtractionConfig(image_scales=(1.0, 2.0), **extraction)

    def network(level):
        rows, columns = level.shape[2] // 8 + 1, level.shape[3] // 8 + 1
        return np.ones((rows, columns, 4), np.float32), np.ones((rows, columns), np.float32)

    encoder = DelfEncoder(settings, architecture_of(ModelConfig()), network=network)
    return len(encoder.encode(np.zeros((height, width, 3), np.uint8)).local)


@pytest.mark.parametrize(
    "size, expected",
    [((480, 360), 104), ((200, 150), 100), ((800, 600), 288), ((1600, 1200), 1000)],  # 600 a megapixel, 100 to 1000
)
def test_the_number_grows_with_the_photo(size, expected):
    assert features(*size) == expected


def test_what_counts_is_what_the_network_sees():
    assert features(1600, 1200, max_image_size=800) == 288
    assert features(1600, 1200, max_feature_num=77) == 77
