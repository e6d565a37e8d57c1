"""Awkward photos on disk, lists of photos, boxes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src import images
from src.errors import UserError
from src.images import clip_box, list_images, load_image, load_photo
from tests.deep_png import write_16_bit_png

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
    photo = load_photo(_save(tmp_path / "a.png", Image.fromarray(QUADRANTS), exif=exif))
    first, second = UPRIGHT_CORNERS[orientation]
    assert photo.pixels[first].tolist() == [255, 0, 0]
    assert photo.pixels[second].tolist() == [0, 255, 0]
    assert photo.orientation == orientation and not photo.truncated


@pytest.mark.parametrize(("orientation", "size", "recorded"), [(3, (20, 10), 3), (6, (10, 20), 6), (99, (20, 10), 1)])
def test_size_is_that_of_the_upright_photo(tmp_path, orientation, size, recorded):
    exif = Image.Exif()
    exif[274] = orientation
    photo = load_photo(_save(tmp_path / "a.jpg", Image.new("RGB", (20, 10)), exif=exif))
    assert photo.size == size == photo.pixels.shape[1::-1] and photo.orientation == recorded


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
    write_16_bit_png(tmp_path / "deep.png", np.array([[[0, 32896, 65535]]], np.uint16))
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


def test_truncation_is_told_however_many_threads_read(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8))
    data = _save(tmp_path / "whole.jpg", noise).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    paths = [tmp_path / name for name in ("cut.jpg", "whole.jpg")] * 40
    with ThreadPoolExecutor(8) as pool:
        flags = [photo.truncated for photo in pool.map(load_photo, paths)]
    assert flags == [True, False] * 40
    with pytest.raises(OSError, match="truncated"), Image.open(tmp_path / "cut.jpg") as image:
        image.load()  # other users of Pillow keep its own strictness


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_huge_photo_is_reduced_to_no_less_than_twice_the_sufficient_side(tmp_path, monkeypatch, suffix):
    small = np.random.default_rng(3).integers(0, 256, (6, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((480, 240), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[274] = 6
    path = _save(tmp_path / f"a.{suffix}", picture, exif=exif)
    monkeypatch.setattr(images, "HUGE_PIXELS", 480 * 240)
    assert load_photo(path, 50).pixels.shape == (480, 240, 3)  # not above the limit
    monkeypatch.setattr(images, "HUGE_PIXELS", 480 * 240 - 1)
    assert load_photo(path).pixels.shape == (480, 240, 3)
    assert load_photo(path, 300).pixels.shape == (480, 240, 3)
    photo = load_photo(path, 50)  # by 4: 480 / 4 >= 2 * 50
    assert photo.pixels.shape == (120, 60, 3) and photo.size == (240, 480) and photo.orientation == 6
    expected = np.array(picture.rotate(-90, expand=True).resize((60, 120), Image.Resampling.BOX))
    assert np.abs(photo.pixels.astype(int) - expected).mean() < 4


def test_huge_photo_takes_the_memory_of_the_side_wanted(tmp_path):
    """60 megapixels are 180 MB as RGB; a photo to be shrunk to 256 pixels is decoded at an eighth of its sides."""
    path = _save(tmp_path / "huge.jpg", Image.effect_noise((9000, 6700), 60).convert("RGB"))
    code = f"""
from src.images import load_photo
def peak():
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
photo = load_photo({str(path)!r}, 256)
print(photo.pixels.shape, photo.size, peak() - before)
"""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("(419, 563, 3) (9000, 6700) ")
    assert int(done.stdout.split()[-1]) < 30, done.stdout  # MB


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
    assert list_images(tmp_path) == ["a.gif", "a.png", "b.JPG", "sub/c.jpeg", "sub/deep/d.WebP"]
    assert list_images(os.path.join(tmp_path, "sub")) == ["c.jpeg", "deep/d.WebP"]


def test_list_images_of_nothing(tmp_path):
    with pytest.raises(UserError, match="no photo"):
        list_images(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        list_images(tmp_path / "none")


def test_boxes_round_half_to_even_and_are_clipped():
    assert clip_box((0.5, 1.5, 2.5, 3.5), 10, 10) == (0, 2, 2, 4)
    assert clip_box((-3.2, -1, 12.7, 9), 10, 8) == (0, 0, 10, 8)
    for empty in ((5, 0, 9, 4), (2, 2, 2, 4), (-4, -4, 0, 0)):
        with pytest.raises(UserError, match="holds no pixel of the 5 x 4 photo"):
            clip_box(empty, 5, 4)
