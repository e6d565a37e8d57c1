"""Extraction with a small made-up network: boxes, tiny and huge photos; its numbers are test_reference_extraction's."""

import numpy as np
import pytest
from PIL import Image

from src.config import Config
from src.errors import UserError
from src.features import extractor, pyramid
from src.features.extractor import ExtractionSettings, extract, extract_region, prepare, run_network, select
from src.features.pca import Pca
from tests.features.fake_network import CHANNELS, fake_network

SCALES = (0.25, 0.5, 0.7071, 1.0, 2.0)


def _settings(**changes):
    values = {"image_scales": SCALES, "max_feature_num": 40, "pca_dim": 4, **changes}
    return ExtractionSettings.from_config(Config(**values))


def _photo(height=150, width=201, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def _pca():
    generator = np.random.default_rng(5)
    rows = np.linalg.qr(generator.normal(size=(CHANNELS, CHANNELS)))[0]
    return Pca(generator.normal(size=CHANNELS) / 9, rows, np.arange(CHANNELS, 0, -1))


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


def test_reduced_decoding_gives_the_keypoints_of_the_whole_photo():
    """A photo of 804 x 600 pixels decoded at a quarter, to be shrunk to 130 anyway."""
    settings = _settings(max_image_size=130)
    reduced = prepare(_photo(), settings, image_size=(804, 600))
    whole = prepare(_photo(600, 804), settings)
    assert reduced.frame == whole.frame and reduced.frame.image_size == (804, 600)
    assert [level.shape for _, level in reduced.levels] == [level.shape for _, level in whole.levels]
    features = select(run_network(reduced, fake_network), reduced.frame, settings)
    np.testing.assert_allclose(features.keypoints.max(axis=0), [768, 576], atol=40)
    assert prepare(_photo(130, 98), settings, image_size=(7840, 10400)).frame.factors == (98 / 7840, 130 / 10400)


def test_photo_too_large_for_the_network_says_what_to_do(monkeypatch):
    monkeypatch.setattr(pyramid, "MAX_LEVEL_PIXELS", 400 * 300)
    assert extract(_photo(), fake_network, _settings(image_scales=(1.99,))).image_size == (201, 150)
    with pytest.raises(UserError, match="scale 2 has 402 x 300 pixels, .* give --max_image_size 198 or less"):
        extract(_photo(), fake_network, _settings())
    assert len(extract(_photo(), fake_network, _settings(max_image_size=198))) == 40


def test_every_level_too_small_for_the_network():
    assert len(extract(_photo(12, 12), fake_network, _settings(image_scales=(0.25,)))) == 0


def test_damaged_network_is_reported():
    def broken(level):
        feature_map, attention = fake_network(level)
        return feature_map, attention * np.nan

    with pytest.raises(UserError, match="not finite"):
        extract(_photo(), broken, _settings())
