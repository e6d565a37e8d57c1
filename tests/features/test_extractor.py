"""Extraction with a small made-up network, against a slow implementation written from the reference's steps."""

import math

import numpy as np
import pytest
from PIL import Image

from src.config import Config
from src.errors import UserError
from src.features import extractor
from src.features.extractor import ExtractionSettings, extract, extract_region
from src.features.pca import Pca
from tests.features.fake_network import CHANNELS, fake_network

SCALES = (0.25, 0.5, 0.7071, 1.0, 2.0)


def _settings(**changes):
    values = {"image_scales": SCALES, "max_feature_num": 40, "pca_dim": 4, **changes}
    return ExtractionSettings.from_config(Config(**values))


def _photo(height=150, width=201, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def _slow_level(image, height, width):
    """Bilinear with half-pixel centres as two matrices of weights."""

    def weights(new, old):
        matrix = np.zeros((new, old))
        for index in range(new):
            position = min(max((index + 0.5) * old / new - 0.5, 0), old - 1)
            low = int(math.floor(position))
            matrix[index, low] += 1 - (position - low)
            matrix[index, min(low + 1, old - 1)] += position - low
        return matrix

    rows, columns = weights(height, image.shape[0]), weights(width, image.shape[1])
    return np.stack([rows @ image[:, :, channel] @ columns.T for channel in range(3)])


def _slow_extract(image, settings, pca=None, max_image_size=None):
    """One cell at a time: (score, x, y, scale, descriptor), best first."""
    height, width = image.shape[:2]
    if max_image_size:
        factor = max_image_size / max(height, width)
        size = (round(width * factor), round(height * factor))
        image = np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    factors = image.shape[1] / width, image.shape[0] / height
    found = []
    for scale in settings.image_scales:
        sides = [int(np.rint(np.float32(side) * np.float32(scale))) for side in image.shape[:2]]
        level = _slow_level((image.astype(float) - 128) / 128, *sides)
        feature_map, attention = fake_network(level[None].astype(np.float32))
        for row in range(feature_map.shape[0]):
            for column in range(feature_map.shape[1]):
                score = float(attention[row, column])
                if settings.score_threshold is not None and score < settings.score_threshold:
                    continue
                vector = feature_map[row, column].astype(float)
                vector = vector / np.linalg.norm(vector)
                if pca is not None:
                    vector = pca.components[:4].astype(float) @ (vector - pca.mean)
                    if settings.use_whitening:
                        vector = vector / np.sqrt(pca.variances[:4])
                    vector = vector / np.linalg.norm(vector)
                y, x, reach = 32 * row / scale, 32 * column / scale, 145 / scale
                found.append((score, x, y, reach, 1 / scale, vector))
    found.sort(key=lambda feature: -feature[0])  # stable: ties keep their order
    kept = []
    for feature in found:
        if all(_iou(feature, other) <= settings.iou_threshold for other in kept):
            kept.append(feature)
    kept = kept[: settings.max_feature_num]
    return [(score, x / factors[0], y / factors[1], scale, vector) for score, x, y, _, scale, vector in kept]


def _iou(first, second):
    def overlap(a, b, reach_a, reach_b):
        return max(0.0, min(a + reach_a, b + reach_b) - max(a - reach_a, b - reach_b))

    _, x1, y1, r1, *_ = first
    _, x2, y2, r2, *_ = second
    common = overlap(x1, x2, r1, r2) * overlap(y1, y2, r1, r2)
    return common / (4 * r1 * r1 + 4 * r2 * r2 - common)


def _assert_equal(features, expected):
    assert len(features) == len(expected) > 0
    scores, x, y, scales, vectors = (np.array(column) for column in zip(*expected))
    np.testing.assert_allclose(features.scores, scores, rtol=1e-4)
    np.testing.assert_allclose(features.keypoints, np.stack([x, y], axis=1), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(features.scales, scales, rtol=1e-6)
    np.testing.assert_allclose(features.descriptors, vectors, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(features.descriptors, axis=1), 1, atol=1e-5)


def _pca():
    generator = np.random.default_rng(5)
    rows = np.linalg.qr(generator.normal(size=(CHANNELS, CHANNELS)))[0]
    return Pca(generator.normal(size=CHANNELS) / 9, rows, np.arange(CHANNELS, 0, -1))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_feature_num": 1000},
        {"score_threshold": 0.8},
        {"iou_threshold": 0.6},
        {"iou_threshold": 0.3, "score_threshold": 0.6, "max_feature_num": 7},
    ],
)
def test_extract_against_loops(changes):
    image, settings = _photo(), _settings(**changes)
    features = extract(image, fake_network, settings)
    assert features.image_size == (201, 150)
    _assert_equal(features, _slow_extract(image, settings))


@pytest.mark.parametrize("use_whitening", [False, True])
def test_extract_with_pca_against_loops(use_whitening):
    image, settings, pca = _photo(), _settings(use_whitening=use_whitening), _pca()
    features = extract(image, fake_network, settings, pca)
    assert features.descriptors.shape[1] == 4
    _assert_equal(features, _slow_extract(image, settings, pca))


def test_keypoints_are_in_the_original_photo_whatever_the_resizing():
    image, settings = _photo(), _settings(max_image_size=130)
    features = extract(image, fake_network, settings)
    assert features.image_size == (201, 150)
    _assert_equal(features, _slow_extract(image, settings, max_image_size=130))


def test_region_is_cut_before_resizing_and_keypoints_stay_in_the_photo():
    image, settings = _photo(), _settings(max_image_size=90)
    whole = extract_region(image, (30, 20, 170, 120), fake_network, settings)
    alone = extract(np.ascontiguousarray(image[20:120, 30:170]), fake_network, settings)
    np.testing.assert_allclose(whole.keypoints, alone.keypoints + [30, 20], rtol=1e-6)
    assert np.array_equal(whole.descriptors, alone.descriptors)
    assert whole.image_size == (201, 150)
    clipped = extract_region(image, (-50, -50, 100, 100), fake_network, settings)
    assert clipped.keypoints.min() == 0  # the offset is that of the clipped box
    assert len(extract_region(image, None, fake_network, settings)) == 40


def test_photos_too_small_or_all_below_the_threshold_have_no_features(monkeypatch):
    monkeypatch.setattr(extractor, "RAW_DIMENSION", CHANNELS)
    for image, changes in ((_photo(10, 9), {}), (_photo(), {"score_threshold": 1e9})):
        raw = extract(image, fake_network, _settings(**changes))
        assert len(raw) == 0 and raw.descriptors.shape == (0, CHANNELS)
        assert raw.image_size == image.shape[1::-1]
        assert extract(image, fake_network, _settings(**changes), _pca()).descriptors.shape == (0, 4)


def test_every_level_too_small_for_the_network():
    assert len(extract(_photo(12, 12), fake_network, _settings(image_scales=(0.25,)))) == 0


def test_damaged_network_is_reported():
    def broken(level):
        feature_map, attention = fake_network(level)
        return feature_map, attention * np.nan

    with pytest.raises(UserError, match="not finite"):
        extract(_photo(), broken, _settings())
