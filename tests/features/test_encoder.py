"""The encoder for Python programs: what it takes, what it makes of it, and the attention over a photo."""

import io

import numpy as np
import pytest
from PIL import Image

from src.artifacts import sha256_of
from src.config import Config
from src.errors import UserError
from src.features.encoder import encode_photos, load_encoder, make_encoder
from src.features.extraction import extract_to_file, photos_of_folder
from src.features.feature_file import FeatureFile
from src.features.pca import Pca, save_pca
from src.features.score_threshold import save_threshold
from src.images import LoadedPhoto, load_image
from src.records import Photo, Provenance
from tests.features.fake_network import encoder_of, load_fake_network, sections
from tests.features.made_up import make_photos


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "delf.ckpt").write_bytes(b"weights")
    return tmp_path / "delf.ckpt"


@pytest.fixture
def pca_path(tmp_path, checkpoint):
    rows = np.linalg.qr(np.random.default_rng(0).normal(size=(1024, 4)))[0].T
    pca = Pca(np.full(1024, 0.01), rows, np.ones(4), Provenance(sha256_of(checkpoint)))
    save_pca(tmp_path / "pca.npz", pca)
    return str(tmp_path / "pca.npz")


@pytest.fixture
def photos(tmp_path):
    return photos_of_folder(make_photos(tmp_path / "photos", ["a.png", "sub/b.jpg", "c.png"], (150, 100)))


def _encoder(**keys):
    return load_encoder(*sections(Config(**keys)), load_network=load_fake_network)


def _equal(features, other):
    return all(
        np.array_equal(getattr(features, name), getattr(other, name))
        for name in ("keypoints", "scales", "scores", "descriptors", "image_size", "resize_factor")
    )


def test_same_features_as_the_command(checkpoint, pca_path, photos, tmp_path):
    config = Config(
        checkpoint_path=str(checkpoint), pca_path=pca_path, pca_dim=3, image_scales=(0.5, 1.0), max_feature_num=9,
        max_image_size=120,
    )  # fmt: skip
    extract_to_file(photos, tmp_path / "features.h5", *sections(config), load_network=load_fake_network)
    encoder = load_encoder(*sections(config), load_network=load_fake_network)
    many = {}
    encode_photos(encoder, photos, many.__setitem__)
    assert list(many) == photos
    with FeatureFile(tmp_path / "features.h5") as made:
        assert made.provenance.compatible_with(encoder.provenance)
        for photo in photos:
            expected = made.read(photo.name)
            assert len(expected) and expected.descriptors.shape[1] == 3 and expected.resize_factor == 120 / 150
            assert _equal(encoder.encode(photo.path).local, expected)
            assert _equal(encoder.encode(load_image(photo.path)).local, expected)
            assert _equal(many[photo].local, expected) and many[photo].global_descriptor is None


def test_the_recipe_decides_and_provenance_says_so(checkpoint, pca_path):
    keys = {"checkpoint_path": checkpoint, "pca_path": pca_path, "pca_dim": 2, "use_whitening": True}
    encoder = _encoder(**keys, image_scales=[0.5, 1], max_feature_num=7, engine="mindspore", device_target="CPU")
    found = encoder.encode(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).local
    assert len(found) == 7 and found.descriptors.shape == (7, 2) and found.image_size == (120, 90)
    provenance = encoder.provenance
    assert provenance.weights == sha256_of(checkpoint) and provenance.notes == {"engine": "mindspore"}
    assert provenance.encoder["name"] == "delf" and provenance.encoder["architecture"] == "resnet50"
    assert provenance.encoder["pca_dim"] == 2 and provenance.encoder["use_whitening"] is True
    assert provenance.settings["image_scales"] == [0.5, 1.0] and provenance.settings["score_threshold"] is None
    assert provenance.sources == {}


def test_what_makes_descriptors_differ_makes_encoders_incompatible(checkpoint, pca_path):
    plain = _encoder(checkpoint_path=checkpoint).provenance
    for same in ({"image_scales": (1.0,)}, {"max_feature_num": 5}, {"pca_dim": 4}):  # no PCA: pca_dim means nothing
        assert plain.compatible_with(_encoder(checkpoint_path=checkpoint, **same).provenance)
    for other in ({"pca_path": pca_path, "pca_dim": 4}, {"use_square_images": True}):
        assert not plain.compatible_with(_encoder(checkpoint_path=checkpoint, **other).provenance)
    assert not plain.same_run(_encoder(checkpoint_path=checkpoint, max_feature_num=5).provenance)


def test_an_unknown_encoder_names_those_there_are(checkpoint):
    with pytest.raises(UserError, match="`features` is 'delg'; it must be one of local, global, both"):
        make_encoder(*sections(Config(checkpoint_path=str(checkpoint))), kind="delg")


def test_threshold_saved_beside_the_checkpoint(checkpoint, photos):
    keys = {"checkpoint_path": str(checkpoint), "image_scales": (1.0,)}
    everything = _encoder(**keys).encode(photos[0].path).local
    middle = float(np.median(everything.scores))
    save_threshold(checkpoint, {"checkpoint_sha256": sha256_of(checkpoint), "score_threshold": middle}, overwrite=False)
    some = _encoder(**keys).encode(photos[0].path).local
    assert 0 < len(some) == (everything.scores >= middle).sum() < len(everything)
    assert len(_encoder(**keys, score_threshold=0.0).encode(photos[0].path).local) == len(everything)


def test_paths_bytes_pil_images_and_arrays_are_one_photo(tmp_path):
    encoder, pixels = encoder_of(image_scales=(1.0,)), np.random.default_rng(1).integers(0, 256, (70, 90, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right: 70 wide, 90 high
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(pixels, -1)
    expected = encoder.encode(upright).local
    assert expected.image_size == (70, 90)
    assert _equal(encoder.encode(tmp_path / "a.png").local, expected)
    assert _equal(encoder.encode(str(tmp_path / "a.png")).local, expected)
    assert _equal(encoder.encode(Image.open(tmp_path / "a.png")).local, expected)
    content = (tmp_path / "a.png").read_bytes()
    for source in (content, bytearray(content), memoryview(content), io.BytesIO(content)):
        assert _equal(encoder.encode(source).local, expected)
    for floats in (upright / 255, (upright / 255).astype(np.float32), upright.astype(np.float64)):
        assert _equal(encoder.encode(floats).local, expected)
    grey = np.repeat(upright[:, :, :1], 3, axis=2)
    assert _equal(encoder.encode(upright[:, :, 0]).local, encoder.encode(grey).local)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((9, 9), "int64"), ((9, 9, 3), "bool"), ((9, 9, 4), "uint8"), ((0, 9, 3), "uint8"), ((9,), "f4")],
)
def test_what_is_no_image(shape, dtype):
    with pytest.raises(UserError, match=r"an image is \[H, W, 3\] or \[H, W\], uint8 or float, not"):
        encoder_of().encode(np.zeros(shape, dtype))


@pytest.mark.parametrize("image", [None, 0, 3.5, [[0, 1]], {}, io.StringIO("a.png")])
def test_what_is_no_photo_at_all(image):
    """Pillow would take 0 for the number of an open file, and wait for it."""
    with pytest.raises(UserError, match="a photo cannot be read from a .*; give the path of its file, its bytes"):
        encoder_of().encode(image)


@pytest.mark.parametrize("number", [-0.01, 255.5, np.nan, np.inf])
def test_floats_outside_the_range(number):
    image = np.full((9, 9), 0.5)
    image[3, 3] = number
    with pytest.raises(UserError, match="numbers from 0 to 1 or from 0 to 255"):
        encoder_of().encode(image)


def test_a_photo_that_cannot_be_used_is_named(tmp_path):
    Image.new("RGB", (90, 60)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="a.png: box .* holds no pixel"):
        encoder_of().encode(tmp_path / "a.png", (100, 0, 120, 50))
    with pytest.raises(UserError, match="no.png: cannot be read"):
        encoder_of().encode(tmp_path / "no.png")
    with pytest.raises(UserError, match="^the bytes given: cannot be read as a photo"):
        encoder_of().encode(b"no photo")


def test_unreadable_photos_are_named_and_others_done(photos, tmp_path, caplog):
    (tmp_path / "photos" / "c.png").write_bytes(b"no photo")
    listed, found = [*photos, Photo("gone", str(tmp_path / "gone.png"))], {}
    encode_photos(encoder_of(), listed, lambda photo, encoded: found.update({photo.name: len(encoded.local)}))
    assert list(found) == ["a.png", "sub/b.jpg"] and min(found.values()) > 0
    assert "c.png: cannot be read" in caplog.text and "gone.png: cannot be read" in caplog.text
    encode_photos(encoder_of(), [], None)


def _inferred(encoder, image):
    return encoder.infer(encoder.prepare(LoadedPhoto(image, image.shape[1::-1])))


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
    encoder = encoder_of(image_scales=(0.5, 1.0, 1.4142))
    image = np.random.default_rng(3).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    inferred = _inferred(encoder, image)
    slow = _slow_map([(level.scale, level.attention) for level in inferred.levels], 90, 70)
    np.testing.assert_allclose(encoder.attention_map(inferred, (90, 70)), slow, atol=1e-5)


def test_attention_is_highest_at_the_best_keypoint(photos):
    encoder, image = encoder_of(), np.array(Image.open(photos[0].path))
    inferred = _inferred(encoder, image)
    features, attention = encoder.select(inferred).local, encoder.attention_map(inferred, image.shape[1::-1])
    assert _equal(features, encoder.encode(image).local)
    assert attention.shape == image.shape[:2] and attention.dtype == np.float32
    for (x, y), score in list(zip(features.keypoints, features.scores))[:5]:
        assert attention[min(round(y), 99), min(round(x), 149)] >= score * 0.97  # centres lie between pixels
    x, y = features.keypoints[0]
    assert attention.max() <= features.scores[0] + 1e-5
    assert attention.max() - attention[round(y), round(x)] < 0.03 * attention.max()


def test_smaller_attention_map_covers_the_same_photo():
    encoder = encoder_of(image_scales=(1.0,), max_image_size=64)
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, 64:] = 255
    inferred = _inferred(encoder, image)  # 64 x 32: one row of two cells
    assert [level.attention.shape for level in inferred.levels] == [(1, 2)]
    row = encoder.attention_map(inferred, (4, 2))[0]  # centres of the four pixels: 15.5, 47.5, 79.5, 111.5
    dark, bright = inferred.levels[0].attention[0]
    expected = [dark + min(x / 64, 1) * (bright - dark) for x in (15.5, 47.5, 79.5, 111.5)]
    np.testing.assert_allclose(row, expected, rtol=1e-5)
    tiny = _inferred(encoder, np.zeros((9, 50, 3), np.uint8))
    assert encoder.attention_map(tiny, (5, 2)).tolist() == np.zeros((2, 5)).tolist()
