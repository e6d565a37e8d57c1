"""The extractor for Python programs, and the attention over a photo."""

import numpy as np
import pytest
from PIL import Image

from src.artifacts import sha256_of
from src.config import Config
from src.errors import UserError
from src.features.attention_map import attention_map
from src.features.delf_extractor import DelfExtractor
from src.features.extract_to_file import extract_to_file
from src.features.extractor import ExtractionSettings, prepare, run_network
from src.features.feature_file import FeatureFile
from src.features.pca import Pca, save_pca
from src.features.photos import Photo, photos_of_folder
from src.features.score_threshold import save_threshold
from src.images import load_image
from tests.features.fake_network import fake_network, load_fake_network
from tests.features.made_up import make_photos


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "delf.ckpt").write_bytes(b"weights")
    return tmp_path / "delf.ckpt"


@pytest.fixture
def pca_path(tmp_path, checkpoint):
    rows = np.linalg.qr(np.random.default_rng(0).normal(size=(1024, 4)))[0].T
    pca = Pca(np.full(1024, 0.01), rows, np.ones(4), {"checkpoint_sha256": sha256_of(checkpoint)})
    save_pca(tmp_path / "pca.npz", pca)
    return str(tmp_path / "pca.npz")


@pytest.fixture
def photos(tmp_path):
    return photos_of_folder(make_photos(tmp_path / "photos", ["a.png", "sub/b.jpg", "c.png"], (150, 100)))


def _equal(features, other):
    return all(
        np.array_equal(getattr(features, name), getattr(other, name))
        for name in ("keypoints", "scales", "scores", "descriptors", "image_size")
    )


def test_same_features_as_the_command(checkpoint, pca_path, photos, tmp_path):
    config = Config(
        checkpoint_path=str(checkpoint), pca_path=pca_path, pca_dim=3, image_scales=(0.5, 1.0), max_feature_num=9,
        max_image_size=120,
    )  # fmt: skip
    extract_to_file(photos, "", tmp_path / "features.h5", config, load_network=load_fake_network)
    extractor = DelfExtractor.from_config(config, load_fake_network)
    many = {}
    extractor.extract_photos(photos, many.__setitem__)
    assert list(many) == photos
    with FeatureFile(tmp_path / "features.h5") as made:
        for photo in photos:
            expected = made.read(photo.name)
            assert len(expected) and expected.descriptors.shape[1] == 3
            assert _equal(extractor.extract(photo.path), expected)
            assert _equal(extractor.extract(load_image(photo.path)), expected)
            assert _equal(many[photo], expected)


def test_settings_are_those_of_the_recipe(checkpoint, pca_path, monkeypatch, tmp_path):
    monkeypatch.setattr(DelfExtractor.from_config.__func__, "__defaults__", (load_fake_network, 0))
    extractor = DelfExtractor.from_checkpoint(
        checkpoint, pca_path, image_scales=[0.5, 1], max_feature_num=7, pca_dim=2, use_whitening=True,
        score_threshold=None,
    )  # fmt: skip
    assert extractor.settings.image_scales == (0.5, 1.0) and extractor.settings.use_whitening
    assert extractor.settings.score_threshold is None and extractor.checkpoint_sha256 == sha256_of(checkpoint)
    found = extractor.extract(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    assert len(found) == 7 and found.descriptors.shape == (7, 2) and found.image_size == (120, 90)
    (tmp_path / "recipe.yaml").write_text("max_feature_num: 3\n")
    assert DelfExtractor.from_checkpoint(checkpoint, config=tmp_path / "recipe.yaml").settings.max_feature_num == 3
    with pytest.raises(UserError, match="unknown option --image_scale; did you mean --image_scales"):
        DelfExtractor.from_checkpoint(checkpoint, image_scale=(1.0,))
    with pytest.raises(UserError, match="max_feature_num is 0; it must be above 0"):
        DelfExtractor.from_checkpoint(checkpoint, max_feature_num=0)
    with pytest.raises(UserError, match="no such file"):
        DelfExtractor.from_checkpoint(tmp_path / "none.ckpt")


def test_threshold_saved_beside_the_checkpoint(checkpoint, photos):
    config = Config(checkpoint_path=str(checkpoint), image_scales=(1.0,))
    everything = DelfExtractor.from_config(config, load_fake_network).extract(photos[0].path)
    middle = float(np.median(everything.scores))
    record = {"checkpoint_sha256": sha256_of(checkpoint), "score_threshold": middle}
    save_threshold(checkpoint, record, overwrite=False)
    some = DelfExtractor.from_config(config, load_fake_network).extract(photos[0].path)
    assert 0 < len(some) == (everything.scores >= middle).sum() < len(everything)
    all_scores = Config(checkpoint_path=str(checkpoint), image_scales=(1.0,), score_threshold=0.0)
    assert len(DelfExtractor.from_config(all_scores, load_fake_network).extract(photos[0].path)) == len(everything)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((9, 9), "uint8"), ((9, 9, 3), "float32"), ((9, 9, 4), "uint8"), ((0, 9, 3), "uint8")]
)
def test_what_is_no_image(checkpoint, shape, dtype):
    extractor = DelfExtractor.from_config(Config(checkpoint_path=str(checkpoint)), load_fake_network)
    with pytest.raises(UserError, match=r"an image is \[H, W, 3\] uint8 RGB, not"):
        extractor.extract(np.zeros(shape, dtype))


def test_unreadable_photos_are_named_and_others_done(checkpoint, photos, tmp_path, caplog):
    (tmp_path / "photos" / "c.png").write_bytes(b"no photo")
    extractor = DelfExtractor.from_config(Config(checkpoint_path=str(checkpoint)), load_fake_network)
    listed = [*photos, Photo("gone", str(tmp_path / "gone.png"))]
    found = {}
    extractor.extract_photos(listed, lambda photo, features: found.update({photo.name: len(features)}))
    assert list(found) == ["a.png", "sub/b.jpg"] and min(found.values()) > 0
    assert "c.png: cannot be read" in caplog.text and "gone.png: cannot be read" in caplog.text
    extractor.extract_photos([], None)


def _slow_map(levels, width, height):
    """One pixel at a time: the four cells around it, or the nearest ones at the borders."""
    found = np.zeros((height, width))
    for scale, attention in levels:
        rows, columns = attention.shape
        for y in range(height):
            for x in range(width):
                row, column = min(y * scale / 32, rows - 1), min(x * scale / 32, columns - 1)
                top, left = min(int(row), max(rows - 2, 0)), min(int(column), max(columns - 2, 0))
                value = 0.0
                for i in range(top, min(top + 2, rows)):
                    for j in range(left, min(left + 2, columns)):
                        value += attention[i, j] * (1 - abs(row - i)) * (1 - abs(column - j))
                found[y, x] = max(found[y, x], value)
    return found


def test_attention_map_against_loops():
    settings = ExtractionSettings.from_config(Config(image_scales=(0.5, 1.0, 1.4142)))
    image = np.random.default_rng(3).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    prepared = prepare(image, settings)
    levels = run_network(prepared, fake_network)
    slow = _slow_map([(level.scale, level.attention) for level in levels], 90, 70)
    np.testing.assert_allclose(attention_map(levels, prepared.frame, (90, 70)), slow, atol=1e-5)


def test_attention_is_highest_at_the_best_keypoint(checkpoint, photos):
    extractor = DelfExtractor.from_config(Config(checkpoint_path=str(checkpoint)), load_fake_network)
    image = np.array(Image.open(photos[0].path))
    features, attention = extractor.extract_with_attention(image)
    assert _equal(features, extractor.extract(image))
    assert attention.shape == image.shape[:2] and attention.dtype == np.float32
    for (x, y), score in list(zip(features.keypoints, features.scores))[:5]:
        assert attention[min(round(y), 99), min(round(x), 149)] >= score * 0.97  # centres lie between pixels
    x, y = features.keypoints[0]
    assert attention.max() <= features.scores[0] + 1e-5
    assert attention.max() - attention[round(y), round(x)] < 0.03 * attention.max()


def test_smaller_attention_map_covers_the_same_photo(checkpoint):
    settings = ExtractionSettings.from_config(Config(image_scales=(1.0,), max_image_size=64))
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, 64:] = 255
    prepared = prepare(image, settings)  # 64 x 32: one row of two cells
    levels = run_network(prepared, fake_network)
    assert [level.attention.shape for level in levels] == [(1, 2)]
    row = attention_map(levels, prepared.frame, (4, 2))[0]  # centres of the four pixels: 15.5, 47.5, 79.5, 111.5
    dark, bright = levels[0].attention[0]
    expected = [dark + min(x / 64, 1) * (bright - dark) for x in (15.5, 47.5, 79.5, 111.5)]
    np.testing.assert_allclose(row, expected, rtol=1e-5)
    tiny = prepare(np.zeros((9, 50, 3), np.uint8), settings)
    assert attention_map(run_network(tiny, fake_network), tiny.frame, (5, 2)).tolist() == np.zeros((2, 5)).tolist()
