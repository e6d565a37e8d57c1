"""Extraction against the plain NumPy and Pillow implementation, on photos of real sizes."""

import numpy as np
import pytest
from PIL import Image

from src.config import Config
from src.features.pca import Pca
from tests.features import numpy_extraction
from tests.features.fake_network import encoder_of, sections
from tests.model import numpy_delf

CHANNELS = 48
SHIFTS = [(0, 0), (0, 11), (9, 3), (15, 15), (4, 20), (21, 8)]

# Sides of the photo (width, height), and what is changed of the recipe
PHOTOS = [
    ((1024, 768), {}),
    ((768, 1024), {"use_whitening": True}),
    ((640, 480), {"iou_threshold": 0.7}),
    ((1023, 681), {"score_threshold": 0.9}),
    ((800, 600), {"max_image_size": 612}),
    ((640, 425), {"min_image_size": 900, "max_feature_num": 300}),
    ((1024, 577), {"use_square_images": True, "max_image_size": 700}),
    ((733, 1001), {"max_image_size": 1000, "resize_factor": 0.6, "iou_threshold": 0.4}),
    ((1024, 300), {"image_scales": (0.3, 1.0, 1.7), "max_feature_num": 5000}),
    ((500, 667), {"pca_dim": 7, "score_threshold": 0.0, "iou_threshold": 0.95}),
]


def photo(width, height, seed):
    """Low-frequency noise."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 24, width // 24, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def sampling_network(level):
    """A cell each 32 pixels sees six of its pixels, mixed at random."""
    weights = np.random.default_rng(5).normal(size=(3 * len(SHIFTS), CHANNELS + 1))
    _, _, height, width = level.shape
    rows, columns = np.arange(0, height, 32), np.arange(0, width, 32)
    seen = [
        level[0][:, np.minimum(rows + y, height - 1)[:, None], np.minimum(columns + x, width - 1)] for y, x in SHIFTS
    ]
    mixed = np.tensordot(np.concatenate(seen).astype(np.float64), weights, axes=(0, 0))
    maps = np.tanh(mixed[:, :, :CHANNELS]), np.log1p(np.exp(mixed[:, :, CHANNELS]))
    return tuple(numbers.astype(np.float32) for numbers in maps)


def made_up_pca(dimension):
    generator = np.random.default_rng(3)
    components = np.linalg.qr(generator.normal(size=(dimension, dimension)))[0][:16]
    return Pca(generator.normal(size=dimension) * 0.02, components, generator.uniform(0.5, 2, 16))


def assert_agree(features, expected):
    """Same keypoints with the same numbers; scores that differ in the last digits may change places."""
    keypoints, scales, scores, descriptors = expected
    assert len(features) == len(keypoints) > 0 and (np.diff(features.scores) <= 0).all()
    mine = np.lexsort([*features.keypoints.T, features.scales])
    other = np.lexsort([*keypoints.astype(np.float32).T, scales.astype(np.float32)])
    np.testing.assert_allclose(features.keypoints[mine], keypoints[other], rtol=1e-6)
    np.testing.assert_allclose(features.scales[mine], scales[other], rtol=1e-6)
    np.testing.assert_allclose(features.scores[mine], scores[other], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(features.descriptors[mine], descriptors[other], atol=1e-4)


@pytest.mark.parametrize(("sides", "changes"), PHOTOS)
def test_ten_photos_of_real_sizes(sides, changes):
    image, pca = photo(*sides, seed=sum(sides)), made_up_pca(CHANNELS)
    encoder = encoder_of(sampling_network, pca, **{"pca_dim": 12, **changes})
    assert_agree(
        encoder.encode(image).local, numpy_extraction.extract(image, sampling_network, encoder.extraction, pca)
    )


@pytest.mark.slow
def test_the_real_network(tmp_path):
    import mindspore as ms

    from src.engines import load_network
    from src.model.networks import DelfNet

    config = Config(device_target="CPU", engine="mindspore", image_scales=(0.7071, 1.0), kernel_init="he", pca_dim=12)
    network = DelfNet(config.model)
    ms.save_checkpoint(network, str(tmp_path / "delf.ckpt"))
    weights = {name: parameter.asnumpy().astype(float) for name, parameter in network.parameters_and_names()}

    def numpy_network(level):
        feature_map = numpy_delf.block3(level[0].astype(float), weights)
        return feature_map.transpose(1, 2, 0), numpy_delf.attention(feature_map, weights)[0]

    run, model, extraction = sections(config.replace(checkpoint_path=str(tmp_path / "delf.ckpt")))
    pca, image = made_up_pca(1024), photo(200, 150, seed=1)
    encoder = encoder_of(load_network(run, model), pca, **extraction.values())
    assert_agree(encoder.encode(image).local, numpy_extraction.extract(image, numpy_network, extraction, pca))
