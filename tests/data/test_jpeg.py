"""What becomes of a photo's bytes: kept, converted by kind, or refused with a reason."""

import io
import os

import cv2
import numpy as np
import pytest
from landmark_sets import encoded, jpeg, picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from src.data import jpeg as module
from src.data.jpeg import UnusablePhoto, check_jpeg, read_as_jpeg, read_header
from src.images import load_image


def with_thumbnail(data):
    """The JPEG with a whole JPEG, end marker included, inside its APP1 segment, as cameras store thumbnails."""
    inner = jpeg(picture(9, 16, 16))
    return data[:2] + b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner + data[2:]


PHOTO = picture(1, 40, 56)
PLAIN = {
    "baseline": encoded(PHOTO, "JPEG"),
    "progressive": encoded(PHOTO, "JPEG", progressive=True),
    "grey": encoded(PHOTO[:, :, 0], "JPEG"),
    "restart markers": encoded(PHOTO, "JPEG", restart_marker_rows=1),
    "full chroma": encoded(PHOTO, "JPEG", subsampling=0, quality=100),
    "thumbnail": with_thumbnail(encoded(PHOTO, "JPEG")),
    "fill bytes and comment": encoded(PHOTO, "JPEG", comment=b"\xff\xd9 is the end").replace(
        b"\xff\xdb", b"\xff\xff\xdb"
    ),
    "tall blocks": cv2.imencode(".jpg", PHOTO, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x141111])[1].tobytes(),
    "MPO of cameras": encoded(
        Image.fromarray(PHOTO), "MPO", save_all=True, append_images=[Image.fromarray(picture(2, 40, 56))]
    ),
    "bytes after the end": encoded(PHOTO, "JPEG") + b"\0" * 100 + encoded(PHOTO, "JPEG")[:200],
}


def use(tmp_path, data, least_side=10):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    try:
        return read_as_jpeg(str(path), least_side)
    finally:
        assert path.read_bytes() == data


def reason(tmp_path, data, least_side=10):
    with pytest.raises(UnusablePhoto) as error:
        use(tmp_path, data, least_side)
    return str(error.value)


@pytest.mark.parametrize("kind", PLAIN)
def test_rgb_and_grey_jpegs_keep_their_bytes(tmp_path, kind):
    assert use(tmp_path, PLAIN[kind]) == (PLAIN[kind], "")
    header = read_header(PLAIN[kind])
    assert (header.width, header.height) == (56, 40)
    assert (header.channels, header.precision) == (1 if kind == "grey" else 3, 8)
    assert (header.process == 0xC2) == (kind == "progressive")


@pytest.mark.parametrize("kind", [kind for kind in PLAIN if kind not in ("bytes after the end", "MPO of cameras")])
def test_a_jpeg_cut_anywhere_is_refused(tmp_path, kind):
    data = PLAIN[kind]
    for length in range(1, len(data)):
        header = read_header(data[:length])
        if header:
            with pytest.raises(UnusablePhoto, match="truncated"):
                check_jpeg(data[:length], header)
    for length in (3, 4, 100, 300, len(data) // 2, len(data) - 2, len(data) - 1):
        assert reason(tmp_path, data[:length]).partition(":")[0] == "truncated"


def decoders_accept(data):
    """Whether Pillow and OpenCV decode every pixel."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception:
        return False
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None


@pytest.mark.parametrize("kind", ["baseline", "progressive", "grey", "restart markers", "tall blocks", "thumbnail"])
def test_whatever_a_full_decoding_refuses_is_refused(kind):
    generator = np.random.default_rng(sum(kind.encode()))
    refused = 0
    for _ in range(300):
        data = bytearray(PLAIN[kind])
        for _ in range(generator.integers(1, 4)):
            place, length = generator.integers(2, len(data)), generator.integers(1, 12)
            data[place : place + length] = generator.bytes(generator.integers(0, 12))
        data = bytes(data)
        try:
            header = read_header(data)
            if header is None or header.process not in module.KEPT_PROCESSES or header.channels not in (1, 3):
                continue  # left to Pillow
            if not 0 < header.width * header.height < 1e6:
                continue  # refused for its sides, or slow to decode
            check_jpeg(data, header)
        except UnusablePhoto:
            refused += 1
        else:
            assert decoders_accept(data)
    assert refused > 10


def test_zeros_in_place_of_the_end_are_truncation(tmp_path):
    data = jpeg(picture(2, 400, 400))
    for length in (len(data) // 2, len(data) - 20):
        assert reason(tmp_path, data[:length] + b"\0" * (len(data) - length)) == "truncated"


def test_a_foreign_block_inside_the_picture_is_corruption(tmp_path):
    data = jpeg(picture(2, 400, 400))
    block = np.random.default_rng(0).bytes(1500)
    middle = len(data) // 2
    assert reason(tmp_path, data[:middle] + block + data[middle + len(block) :]).startswith("corrupt: marker ff")


def test_broken_tables_are_corruption(tmp_path):
    data = PLAIN["baseline"]
    place = data.index(b"\xff\xc4") + 5
    assert reason(tmp_path, data[:place] + b"\xfe" * 16 + data[place + 16 :]).startswith("corrupt")
    assert reason(tmp_path, data.replace(b"\xff\xda", b"\xff\xe5", 1)).startswith("truncated")


def test_other_kinds_are_converted_and_named(tmp_path):
    rgb = Image.fromarray(PHOTO)
    clear = np.dstack([PHOTO, np.zeros((40, 56), np.uint8)])
    palette = rgb.convert("P")
    kinds = {
        "CMYK JPEG": encoded(rgb.convert("CMYK"), "JPEG"),
        "PNG": encoded(rgb, "PNG"),
        "GIF": encoded(palette, "GIF"),
        "WEBP": encoded(rgb, "WEBP"),
        "BMP": encoded(rgb, "BMP"),
        "TIFF": encoded(rgb, "TIFF"),
        "16 bit PNG": cv2.imencode(".png", PHOTO[:, :, 0].astype(np.uint16) * 257)[1].tobytes(),
        "transparent PNG": encoded(clear, "PNG"),
        "transparent GIF": encoded(palette, "GIF", transparency=palette.getpixel((0, 0))),
        "transparent WEBP": encoded(clear, "WEBP"),
    }
    for kind, data in kinds.items():
        converted, named = use(tmp_path, data)
        assert named == kind
        with Image.open(io.BytesIO(converted)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (56, 40))
            if kind in ("CMYK JPEG", "PNG", "BMP", "TIFF"):
                assert np.abs(np.array(image).astype(int) - PHOTO).mean() < 4
    for kind in ("PNG", "WEBP", "TIFF", "CMYK JPEG"):
        cut = kinds[kind][: len(kinds[kind]) * 2 // 3]
        assert reason(tmp_path, cut).partition(":")[0] in ("truncated", "corrupt"), kind


def test_only_conversion_turns_a_photo_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    kept = encoded(PHOTO, "JPEG", exif=exif)
    assert use(tmp_path, kept) == (kept, "")
    converted, _ = use(tmp_path, encoded(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", exif=exif))
    with Image.open(io.BytesIO(converted)) as image:
        assert image.size == (40, 56) and not image.getexif()


def test_reasons_of_refusal(tmp_path, monkeypatch):
    assert reason(tmp_path, b"") == "empty file"
    assert reason(tmp_path, b"<html>404 Not Found</html>") == "not an image"
    assert reason(tmp_path, jpeg(picture(0, 1, 1))) == "too small: 1 x 1 pixels"
    assert reason(tmp_path, encoded(picture(0, 12, 9), "PNG")) == "too small: 9 x 12 pixels"
    assert use(tmp_path, jpeg(picture(0, 12, 9)), 9)[1] == ""
    monkeypatch.setattr(module, "MAX_PIXELS", 1000)
    assert reason(tmp_path, PLAIN["baseline"]) == "too large: 56 x 40 pixels"
    assert reason(tmp_path, encoded(PHOTO, "PNG")) == "too large: 56 x 40 pixels"
    with pytest.raises(UnusablePhoto, match="^missing$"):
        read_as_jpeg(str(tmp_path / "none.jpg"), 10)
    with pytest.raises(UnusablePhoto, match="cannot be read: Is a directory"):
        read_as_jpeg(str(tmp_path), 10)
    with pytest.raises(UnusablePhoto, match="cannot be read"):
        read_as_jpeg("null\0byte.jpg", 10)
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", "/dev/zero"):
        with pytest.raises(UnusablePhoto, match="^cannot be read: .*: a pipe, a device or a socket"):
            read_as_jpeg(str(path), 10)


@pytest.mark.parametrize("kind", ["EPS", "TGA", "PCX", "JPEG2000"])
def test_formats_that_no_reader_of_photos_opens(tmp_path, kind):
    assert reason(tmp_path, encoded(PHOTO, kind)) == "not an image"


def test_a_png_with_a_large_text_is_converted(tmp_path):
    info = PngInfo()
    info.add_text("Comment", "x" * (2 << 20), zip=True)
    converted, kind = use(tmp_path, encoded(PHOTO, "PNG", pnginfo=info))
    assert kind == "PNG" and load_image(converted).shape == (40, 56, 3)


def test_a_jpeg_past_the_size_of_a_record_is_encoded_again(tmp_path, monkeypatch):
    data = encoded(PHOTO, "JPEG", quality=100)
    monkeypatch.setattr(module, "LARGEST_RECORD", len(data) - 1)
    converted, kind = use(tmp_path, data)
    assert kind == "large JPEG" and len(converted) < len(data)
    monkeypatch.setattr(module, "LARGEST_RECORD", 100)
    assert reason(tmp_path, data).startswith("too large")
