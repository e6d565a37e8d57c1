"""Extraction with a small made-up network: boxes, tiny and huge photos; its numbers are test_reference_extraction's."""

import numpy as np
import pytest
from PIL import Image

from src.errors import UserError
from src.features import pyramid
from src.features.pca import Pca
from src.images import LoadedPhoto
from src.records import Provenance
from tests.features.fake_network import CHANNELS, RAW_DIMENSION, encoder_of, fake_network

SCALES = (0.25, 0.5, 0.7071, 1.0, 2.0)


def _encoder(network=fake_network, pca=None, **changes):
    return encoder_of(network, pca, **{"image_scales": SCALES, "max_feature_num": 40, "pca_dim": 4, **changes})


def _prepare(encoder, image, size=None):
    return encoder.prepare(LoadedPhoto(image, size or image.shape[1::-1]))


def _photo(height=150, width=201, seed=0):
    small = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def _pca():
    generator = np.random.default_rng(5)
    rows = np.linalg.qr(generator.normal(size=(CHANNELS, CHANNELS)))[0]
    return Pca(generator.normal(size=CHANNELS) / 9, rows, np.arange(CHANNELS, 0, -1), Provenance())


def test_region_is_cut_before_resizing_and_keypoints_stay_in_the_photo():
    image = _photo()
    whole = _encoder(max_image_size=90).encode(image, (30, 20, 170, 120)).local
    limit = {"max_image_size": 1, "resize_factor": 90 * 140 / 201}
    alone = _encoder(**limit).encode(np.ascontiguousarray(image[20:120, 30:170])).local
    np.testing.assert_allclose(whole.keypoints, alone.keypoints + [30, 20], rtol=1e-6)
    assert np.array_equal(whole.descriptors, alone.descriptors)
    assert whole.image_size == (201, 150) and whole.resize_factor == 90 / 201
    clipped = _encoder().encode(image, (-50, -50, 100, 100)).local
    assert clipped.keypoints.min() == 0  # the offset is that of the clipped box
    assert len(_encoder().encode(image, None).local) == 40


@pytest.mark.parametrize(
    ("changes", "seen", "factor"),
    [
        ({}, (400, 300), 1.0),
        ({"max_image_size": 512}, (200, 150), 0.5),
        ({"max_image_size": 512, "resize_factor": 0.5}, (100, 75), 0.25),
        ({"min_image_size": 2048}, (800, 600), 2.0),
        ({"min_image_size": 1024, "resize_factor": 2}, (800, 600), 2.0),
        ({"max_image_size": 512, "use_square_images": True}, (200, 200), 0.5),
        ({"max_image_size": 1024, "min_image_size": 1024}, (400, 300), 1.0),
    ],
)
def test_a_query_is_resized_as_its_whole_photo_would_be(changes, seen, factor):
    """A box of 400 x 300 in a photo of 1024 x 768."""
    image, encoder = np.zeros((768, 1024, 3), np.uint8), _encoder(image_scales=(1.0,), **changes)
    whole, query = (encoder.prepare(LoadedPhoto(image, (1024, 768)), box) for box in (None, (100, 200, 500, 500)))
    assert query.levels[0][1].shape == (1, 3, seen[1], seen[0])
    assert query.frame.resize_factor == whole.frame.resize_factor == factor
    corner = np.array(seen) / query.frame.factors + query.frame.offset  # where its last pixels end in the photo
    np.testing.assert_allclose(corner, [500, 500])


def test_the_factor_of_a_query_is_its_photos_however_sides_round():
    photo, encoder = LoadedPhoto(np.zeros((700, 1023, 3), np.uint8), (1023, 700)), _encoder(max_image_size=512)
    for box in ((0, 0, 401, 333), (10, 10, 77, 300), (0, 0, 1023, 1)):
        assert encoder.prepare(photo, box).frame.resize_factor == encoder.prepare(photo).frame.resize_factor


def test_a_query_too_large_for_the_network_is_told_the_limit_of_whole_photos(monkeypatch):
    """A box of half the sides: at a limit of 800, 400 x 300 of it are one pixel row too many."""
    monkeypatch.setattr(pyramid, "MAX_LEVEL_PIXELS", 400 * 299)
    image, box = np.zeros((768, 1024, 3), np.uint8), (0, 0, 512, 384)
    with pytest.raises(UserError, match="has 400 x 300 pixels, .* give `max_image_size` 790 or less"):
        _encoder(image_scales=(1.0,), max_image_size=800).encode(image, box)
    assert len(_encoder(image_scales=(1.0,), max_image_size=790).encode(image, box).local)


def test_photos_too_small_or_all_below_the_threshold_have_no_features():
    for image, changes in ((_photo(10, 9), {}), (_photo(), {"score_threshold": 1e9})):
        raw = _encoder(**changes).encode(image).local
        assert len(raw) == 0 and raw.descriptors.shape == (0, RAW_DIMENSION)
        assert raw.image_size == image.shape[1::-1] and raw.resize_factor == 1
        assert _encoder(pca=_pca(), **changes).encode(image).local.descriptors.shape == (0, 4)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({}, 1.0), ({"max_image_size": 100}, 100 / 201), ({"min_image_size": 300}, 300 / 201),
        ({"max_image_size": 100, "resize_factor": 0.5}, 50 / 201), ({"use_square_images": True}, 1.0),
        ({"use_square_images": True, "max_image_size": 67}, 67 / 201),
    ],
)  # fmt: skip
def test_resize_factor_is_that_of_the_longer_side(changes, factor):
    """Of a photo of 201 x 150 pixels."""
    assert _encoder(**changes).encode(_photo()).local.resize_factor == pytest.approx(factor, rel=1e-9)


def test_reduced_decoding_gives_the_keypoints_of_the_whole_photo():
    """A photo of 804 x 600 pixels decoded at a quarter, to be shrunk to 130 anyway."""
    encoder = _encoder(max_image_size=130)
    assert encoder.sufficient_side == 130 and _encoder().sufficient_side == 0
    reduced, whole = _prepare(encoder, _photo(), (804, 600)), _prepare(encoder, _photo(600, 804))
    assert reduced.frame == whole.frame and reduced.frame.image_size == (804, 600)
    assert [level.shape for _, level in reduced.levels] == [level.shape for _, level in whole.levels]
    features = encoder.select(encoder.infer(reduced)).local
    np.testing.assert_allclose(features.keypoints.max(axis=0), [768, 576], atol=40)
    frame = _prepare(encoder, _photo(130, 98), (7840, 10400)).frame
    assert frame.factors == (98 / 7840, 130 / 10400) and frame.resize_factor == 130 / 10400


def test_photo_too_large_for_the_network_says_what_to_do(monkeypatch):
    monkeypatch.setattr(pyramid, "MAX_LEVEL_PIXELS", 400 * 300)
    assert _encoder(image_scales=(1.99,)).encode(_photo()).local.image_size == (201, 150)
    with pytest.raises(UserError, match="scale 2 has 402 x 300 pixels, .* give `max_image_size` 198 or less"):
        _encoder().encode(_photo())
    assert len(_encoder(max_image_size=198).encode(_photo()).local) == 40


def test_a_photo_is_not_enlarged_beyond_what_the_network_takes():
    """0.99 * 4096 * (201 / 150) ** 0.5 / 2; the photo itself would have 2.2 TB."""
    with pytest.raises(UserError, match="scale 2 has 2000000 x 1492538 pixels, .* give `min_image_size` 23.. or less"):
        _encoder(min_image_size=1000000).encode(_photo())
    assert len(_encoder(image_scales=(0.1, 1.0), min_image_size=300).encode(_photo()).local) == 40


def test_every_level_too_small_for_the_network():
    assert len(_encoder(image_scales=(0.25,)).encode(_photo(12, 12)).local) == 0


def test_damaged_network_is_reported():
    def broken(level):
        feature_map, attention = fake_network(level)
        return feature_map, attention * np.nan

    with pytest.raises(UserError, match="not finite"):
        _encoder(broken).encode(_photo())


def test_normalisation_receptive_field_and_dimensions_are_the_architectures():
    seen = []

    def network(level):
        seen.append(level[0, :, 0, 0])
        return np.ones((2, 3, 7), np.float32), np.ones((2, 3), np.float32)

    encoder = encoder_of(network, image_scales=(1.0,), architecture="resnet18", weights_style="torchvision")
    features = encoder.encode(np.full((32, 48, 3), 100, np.uint8)).local
    np.testing.assert_allclose(
        seen[0], (100 - np.array([123.675, 116.28, 103.53])) / [58.395, 57.12, 57.375], rtol=1e-6
    )
    assert sorted(features.keypoints.tolist()) == [[0, 0], [0, 16], [16, 0], [16, 16], [32, 0], [32, 16]]
    assert encoder.encode(np.zeros((5, 5, 3), np.uint8)).local.descriptors.shape == (0, 256)
