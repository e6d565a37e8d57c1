"""Awkward photos on disk, lists of photos, boxes."""

import io
import logging
import os
import socket
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src import images
from src.errors import UserError
from src.images import clip_box, leaves_photo, list_images, load_image, load_photo, upright_size
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


def test_upright_size_is_read_from_the_header(tmp_path):
    for orientation, size in ((1, (20, 10)), (3, (20, 10)), (6, (10, 20)), (8, (10, 20)), (99, (20, 10))):
        exif = Image.Exif()
        exif[274] = orientation
        assert upright_size(_save(tmp_path / "a.jpg", Image.new("RGB", (20, 10)), exif=exif)) == size
    (tmp_path / "odd.jpg").write_bytes(b"words")
    with pytest.raises(UserError, match=r"odd\.jpg: cannot be read as a photo"):
        upright_size(tmp_path / "odd.jpg")


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


def test_floats_are_scaled_as_arrays_are(tmp_path):
    path = _save(tmp_path / "floats.tif", Image.fromarray(np.array([[0, 0.5, 1]], np.float32)))
    assert load_image(path)[0, :, 0].tolist() == [0, 128, 255]
    path = _save(tmp_path / "heights.tif", Image.fromarray(np.array([[0, 9000]], np.float32)))
    with pytest.raises(UserError, match="numbers from 0 to 1 or from 0 to 255"):
        load_image(path)


def _with_chunks(path, *chunks):
    """A grey PNG of 4 x 3 pixels with (kind, content) before its pixels."""
    stream = io.BytesIO()
    Image.new("L", (4, 3), 77).save(stream, "PNG")
    data, header = stream.getvalue(), 8 + 25
    coded = [
        len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        for kind, content in chunks
    ]
    path.write_bytes(data[:header] + b"".join(coded) + data[header:])
    return path


TWO_MB = zlib.compress(bytes(2 << 20))  # more than Pillow takes in one text
TEXTS = {
    "large text": [(b"tEXt", b"Comment\0" + bytes(70 << 20))],
    "large compressed text": [(b"zTXt", b"Comment\0\0" + TWO_MB)],
    "large international text": [(b"iTXt", b"Comment\0\1\0\0\0" + TWO_MB)],
    "large profile": [(b"iCCP", b"icc\0\0" + TWO_MB)],
    "many texts": [(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 20)))] * 70,
}


@pytest.mark.parametrize("chunks", TEXTS.values(), ids=TEXTS)
def test_the_texts_of_a_png_do_not_cost_the_photo(tmp_path, chunks, caplog):
    photo = load_photo(_with_chunks(tmp_path / "a.png", *chunks))
    assert photo.pixels.shape == (3, 4, 3) and (photo.pixels == 77).all()
    assert not photo.truncated and not caplog.text
    cut = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(cut[: cut.index(b"IDAT") + 6])
    assert load_photo(tmp_path / "a.png").truncated


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


@pytest.mark.parametrize("kind", ["EPS", "ICO", "TGA", "PCX", "SGI", "DDS", "JPEG2000", "PDF"])
def test_other_formats_are_refused_whatever_their_names(tmp_path, monkeypatch, kind):
    """Pillow opens these too, EPS by a program."""
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/was_run\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    Image.new("RGB", (16, 16)).save(tmp_path / "odd.jpg", kind)
    for read in (load_photo, upright_size):
        with pytest.raises(UserError, match=r"odd\.jpg: cannot be read as a photo \(not an image of JPEG, PNG"):
            read(tmp_path / "odd.jpg")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("suffix", ["jpg", "jfif", "mpo", "png", "webp", "tif", "bmp", "gif", "ppm", "pgm"])
def test_every_format_of_the_list_is_read(tmp_path, suffix):
    grey = Image.new("L", (16, 12), 90)
    pixels = load_image(_save(tmp_path / f"a.{suffix}", grey))
    assert pixels.shape == (12, 16, 3) and np.abs(pixels.astype(int) - 90).max() <= 2


def _special_files(folder):
    """One of each kind whose reading could take for ever."""
    os.mkfifo(folder / "pipe.jpg")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket.jpg"))
    return sorted(folder.iterdir())


def test_pipes_and_devices_are_refused_unopened(tmp_path):
    for path in _special_files(tmp_path):
        with pytest.raises(UserError, match=r"\.jpg: a pipe, a device or a socket, no photo"):
            load_photo(path)


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


def _touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_one_line_tells_what_was_ignored(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "photos").mkdir()
    _special_files(tmp_path / "photos")
    (tmp_path / "photos" / "gone.jpg").symlink_to("nowhere")
    _touch(tmp_path / "photos", "a.jpg", "1.dng", "sub/2.DNG", "3.dng", "4.txt", ".hidden.jpg", "README")
    assert list_images(tmp_path / "photos") == list_images(tmp_path / "photos") == ["a.jpg"]
    kinds = "4 pipe, device or broken link, 3 .dng, 1 .txt, 1 without a suffix"
    lines = [line for line in caplog.messages if "ignored" in line]
    assert [line.split(": ", 1)[1].split(", ", 1)[0] for line in lines] == ["9 files ignored: 4 pipe"]
    assert sorted(lines[0].split("ignored: ")[1].split(", 1 ")) == sorted(kinds.split(", 1 "))
    with pytest.raises(UserError, match="no photo"):
        list_images(tmp_path / "photos" / "sub")
    assert "sub: 1 file ignored: 1 .dng" in caplog.text


def test_names_cannot_write_to_the_log(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    _touch(tmp_path, "a.jpg", "b.\x1b[31m\n")
    list_images(tmp_path)
    assert "1 file ignored: 1 .\\x1b[31m\\n" in caplog.text


def test_links_to_folders_are_followed_but_never_twice(tmp_path):
    _touch(tmp_path, "else/where/b.png", "photos/sub/a.png", "photos/sub/deep/c.png")
    photos = tmp_path / "photos"
    (photos / "linked").symlink_to("../else")
    (photos / "sub/itself").symlink_to("itself")
    (photos / "sub/up").symlink_to("..")  # a loop
    (photos / "again").symlink_to("sub")  # sorted before it, and yet a second name of it
    (tmp_path / "else/back").symlink_to(tmp_path)  # around the folder itself
    (tmp_path / "else/d.png").symlink_to("where/b.png")
    assert list_images(photos) == ["linked/d.png", "linked/where/b.png", "sub/a.png", "sub/deep/c.png"]


def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch, caplog):
    _touch(tmp_path, "a.jpg", "locked/b.jpg")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list_images(tmp_path) == ["a.jpg"]
    assert f"{tmp_path}/locked: left out with all that is in it (Permission denied)" in caplog.text


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
    for box in ((0, 0, np.nan, 3), (0, 0, np.inf, 3)):
        with pytest.raises(UserError, match="no finite number"):
            clip_box(box, 5, 4)


@pytest.mark.parametrize(
    ("box", "leaves"),
    [((0, 0, 10, 8), False), ((-0.4, 0, 10.4, 8), False), ((-1, 0, 5, 5), True), ((0, -1, 5, 5), True),
     ((0, 0, 11, 5), True), ((0, 0, 5, 8.6), True)],
)  # fmt: skip
def test_boxes_that_leave_a_photo_of_10_x_8(box, leaves):
    assert leaves_photo(box, (10, 8)) is leaves


def heic_bytes():
    """The beginning of a HEIC file."""
    return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def test_a_heic_photo_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(heic_bytes())
    for source, name in ((tmp_path / "a.heic", "a.heic"), (heic_bytes(), "the bytes given")):
        with pytest.raises(UserError, match=f"{name}: a HEIC photo, for which pillow_heif is not installed: run pip"):
            load_photo(source)
    assert list_images(tmp_path) == ["a.heic"]


def test_a_heic_photo_is_read_upright(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="no pillow_heif: requirements-extras.txt")
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :48] = (200, 40, 40)
    image = heif.from_pillow(Image.fromarray(pixels))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by a quarter
    image.save(tmp_path / "a.HEIC", quality=90, exif=exif.tobytes())
    photo = load_photo(tmp_path / "a.HEIC")
    assert photo.size == upright_size(tmp_path / "a.HEIC") == photo.pixels.shape[1::-1]
    assert sorted(photo.size) == [64, 96] and 20 < photo.pixels.mean() < 40
    (tmp_path / "b.heic").write_bytes(heic_bytes())
    with pytest.raises(UserError, match=r"b\.heic: cannot be read as a photo"):
        load_photo(tmp_path / "b.heic")
