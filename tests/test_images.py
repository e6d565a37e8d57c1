"""Awkward photos on disk, lists of photos, boxes."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from src import images
from src.errors import UserError
from src.images import clip_box, crop_box, list_images, load_image

QUADRANTS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)  # red green / blue white


def _save(path, image, **options):
    image.save(path, **options)
    return path


# EXIF orientation -> where (row, column) the stored top-left and top-right corners end up (EXIF 2.3, tag 274)
UPRIGHT_CORNERS = {
    1: ((0, 0), (0, 1)),
    2: ((0, 1), (0, 0)),
    3: ((1, 1), (1, 0)),
    4: ((1, 0), (1, 1)),
    5: ((0, 0), (1, 0)),
    6: ((0, 1), (1, 1)),
    7: ((1, 1), (0, 1)),
    8: ((1, 0), (0, 0)),
}


@pytest.mark.parametrize("orientation", UPRIGHT_CORNERS)
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    loaded = load_image(_save(tmp_path / "a.png", Image.fromarray(QUADRANTS), exif=exif))
    first, second = UPRIGHT_CORNERS[orientation]
    assert loaded[first].tolist() == [255, 0, 0]
    assert loaded[second].tolist() == [0, 255, 0]


def test_damaged_exif_does_not_cost_the_photo(tmp_path):
    path = _save(
        tmp_path / "a.jpg", Image.fromarray(np.full((8, 8, 3), 90, np.uint8)), exif=b"Exif\0\0II*\0\xff\xff\xff"
    )
    assert load_image(path).shape == (8, 8, 3)


def test_grey_palette_and_transparency(tmp_path):
    grey = load_image(_save(tmp_path / "grey.png", Image.fromarray(np.array([[0, 90]], np.uint8))))
    assert grey.tolist() == [[[0, 0, 0], [90, 90, 90]]]
    bits = load_image(_save(tmp_path / "bits.png", Image.fromarray(np.array([[True, False]]))))
    assert bits.tolist() == [[[255] * 3, [0] * 3]]
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    loaded = load_image(_save(tmp_path / "rgba.png", Image.fromarray(rgba)))
    assert loaded.tolist() == [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]  # 255 * (1 - 51 / 255)
    la = Image.fromarray(np.array([[[7, 255], [7, 0]]], np.uint8), "LA")
    assert load_image(_save(tmp_path / "la.png", la)).tolist() == [[[7] * 3, [255] * 3]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([1, 2, 3, 4, 5, 6])
    loaded = load_image(_save(tmp_path / "p.png", palette, transparency=1))
    assert loaded.tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    grey = np.array([[0, 257, 32896, 65535]], np.uint16)  # 257 * (0, 1, 128, 255)
    loaded = load_image(_save(tmp_path / "deep.png", Image.fromarray(grey)))
    assert loaded.dtype == np.uint8 and loaded[0, :, 0].tolist() == [0, 1, 128, 255]


def test_16_bit_colour(tmp_path):
    pixels = np.array([[[0, 32896, 65535]]], ">u2")  # Pillow cannot write it: header, one row, end
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + pixels.tobytes())),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*chunks, (b"IEND", b"")]
    )
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert load_image(tmp_path / "deep.png").tolist() == [[[0, 128, 255]]]


def test_cmyk_jpeg(tmp_path):
    path = _save(tmp_path / "cmyk.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=95)  # no cyan = red
    assert np.abs(load_image(path).astype(int) - [255, 0, 0]).max() <= 8


def test_truncated_photo_is_used_as_far_as_it_goes(tmp_path, caplog):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = load_image(_save(tmp_path / "whole.jpg", Image.fromarray(noise), quality=90))
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    cut = load_image(tmp_path / "cut.jpg")
    assert cut.shape == whole.shape and np.array_equal(cut[:8], whole[:8]) and not np.array_equal(cut, whole)
    assert "cut.jpg: truncated" in caplog.text


@pytest.mark.parametrize("content", [b"", b"not a photo at all", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_photo_is_named(tmp_path, content):
    (tmp_path / "odd.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.jpg: cannot be read as a photo \(.+\)"):
        load_image(tmp_path / "odd.jpg")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match=r"none\.jpg.*No such file"):
        load_image(tmp_path / "none.jpg")
    with pytest.raises(UserError, match="cannot be read"):
        load_image(tmp_path)


def test_size_limit_is_ours_not_pillows(tmp_path, monkeypatch):
    path = _save(tmp_path / "big.png", Image.new("RGB", (20, 10)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert load_image(path).shape == (10, 20, 3)
    monkeypatch.setattr(images, "MAX_PIXELS", 199)
    with pytest.raises(UserError, match="20 x 10 pixels"):
        load_image(path)


def test_list_images(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.jpeg", "sub/deep/d.WebP", "notes.txt", "._a.png", ".cache/e.jpg", "a.gif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == ["a.png", "b.JPG", "sub/c.jpeg", "sub/deep/d.WebP"]
    assert list_images(os.path.join(tmp_path, "sub")) == ["c.jpeg", "deep/d.WebP"]


def test_list_images_of_nothing(tmp_path):
    with pytest.raises(UserError, match="no photo"):
        list_images(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        list_images(tmp_path / "none")


def test_boxes_round_half_to_even_and_are_clipped():
    assert clip_box((0.5, 1.5, 2.5, 3.5), 10, 10) == (0, 2, 2, 4)
    assert clip_box((-3.2, -1, 12.7, 9), 10, 8) == (0, 0, 10, 8)
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(crop_box(image, (1, 2, 3, 9)), image[2:4, 1:3])
    for empty in ((5, 0, 9, 4), (2, 2, 2, 4), (-4, -4, 0, 0)):
        with pytest.raises(UserError, match="holds no pixel of the 5 x 4 photo"):
            crop_box(image, empty)
