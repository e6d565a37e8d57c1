"""Every awkward file gives features, or is left out by name and reason."""

import io
import os

import h5py
import numpy as np
import pytest
from PIL import Image

from src.config import Config
from src.errors import printable
from src.features.extraction import extract_to_file, photos_of_folder
from src.features.feature_file import FeatureFile
from tests.deep_png import write_16_bit_png
from tests.features.fake_network import load_fake_network, sections

NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
PHOTO = Image.fromarray(NOISE)


def _encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encoded(PHOTO, "JPEG", exif=exif)


# Name -> bytes, and the image_size of the features, or None where there are none
FILES = {
    "plain.jpg": (_encoded(PHOTO, "JPEG"), (120, 90)),
    "progressive.JPG": (_encoded(PHOTO, "JPEG", progressive=True), (120, 90)),
    "turned.jpeg": (_turned(), (90, 120)),
    "grey.jpg": (_encoded(PHOTO.convert("L"), "JPEG"), (120, 90)),
    "cmyk.jpg": (_encoded(PHOTO.convert("CMYK"), "JPEG"), (120, 90)),
    "alpha.png": (_encoded(PHOTO.convert("RGBA"), "PNG"), (120, 90)),
    "grey alpha.png": (_encoded(PHOTO.convert("LA"), "PNG"), (120, 90)),
    "palette.png": (_encoded(PHOTO.convert("P"), "PNG"), (120, 90)),
    "clear palette.png": (_encoded(PHOTO.convert("P"), "PNG", transparency=3), (120, 90)),
    "two colours.png": (_encoded(PHOTO.convert("1"), "PNG"), (120, 90)),
    "deep grey.png": (_encoded(Image.fromarray(NOISE[:, :, 0].astype(np.uint16) * 257), "PNG"), (120, 90)),
    "photo.webp": (_encoded(PHOTO, "WEBP"), (120, 90)),
    "really a png.jpg": (_encoded(PHOTO, "PNG"), (120, 90)),
    "really a gif.png": (_encoded(PHOTO.convert("P"), "GIF"), (120, 90)),
    "Ünïcödé 東京 🗼.jpg": (_encoded(PHOTO, "JPEG"), (120, 90)),
    "blank.png": (_encoded(Image.new("RGB", (120, 90), (7, 7, 7)), "PNG"), (120, 90)),
    "cut.jpg": (_encoded(PHOTO, "JPEG")[:3000], (120, 90)),
    "one pixel.png": (_encoded(Image.new("RGB", (1, 1)), "PNG"), (1, 1)),
    "a line.png": (_encoded(Image.new("RGB", (2000, 1)), "PNG"), (2000, 1)),
    "empty.jpg": (b"", None),
    "words.jpg": (b"these are words\n" * 9, None),
    "only a header.png": (_encoded(PHOTO, "PNG")[:20], None),
    "page.jpg": (b"<!DOCTYPE html><html>not found</html>", None),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """All of them in one folder, with 16-bit colours and 60 megapixels, and the features in features.h5."""
    root = tmp_path_factory.mktemp("awkward")
    folder = root / "photos"
    folder.mkdir()
    for name, (data, _) in FILES.items():
        (folder / name).write_bytes(data)
    write_16_bit_png(folder / "deep.png", NOISE.astype(np.uint16) * 257)
    Image.fromarray(NOISE).resize((9000, 6700)).save(folder / "huge.jpg")
    (root / "delf.ckpt").write_bytes(b"weights")
    config = Config(
        checkpoint_path=str(root / "delf.ckpt"),
        image_scales=(1.0,),
        max_image_size=128,
        max_feature_num=9,
        num_workers=2,
    )
    photos = photos_of_folder(folder)
    (folder / "words.jpg").unlink()  # gone between listing and reading
    extract_to_file(photos, root / "features.h5", *sections(config), load_network=load_fake_network)
    return root


def test_features_or_a_named_reason(place):
    sizes = {name: size for name, (_, size) in FILES.items() if size}
    sizes.update({"deep.png": (120, 90), "huge.jpg": (9000, 6700)})
    with FeatureFile(place / "features.h5") as made:
        assert {name: features.image_size for name, features in made} == sizes
        for name, features in made:
            assert len(features) == (0 if 1 in features.image_size else 9), name
            assert (features.keypoints < features.image_size).all(), name
        plain = made.read("plain.jpg").keypoints
        assert np.array_equal(made.read("Ünïcödé 東京 🗼.jpg").keypoints, plain)
        assert made.read("huge.jpg").keypoints.max() > 5000  # in pixels of the whole photo
    listed = dict(line.split("\t") for line in (place / "features.h5.failed.txt").read_text("utf-8").splitlines())
    assert sorted(listed) == sorted(name for name, (_, size) in FILES.items() if not size)
    for name, reason in listed.items():
        assert reason.startswith(f"{place / 'photos' / name}: cannot be read as a photo ("), reason
    assert "No such file" in listed["words.jpg"] and "not an image" in listed["page.jpg"]


def test_what_reading_told_is_recorded(place):
    with h5py.File(place / "features.h5") as file:
        told = {name: (group.attrs["orientation"], group.attrs["truncated"]) for name, group in file.items()}
    assert told.pop("turned.jpeg") == (6, 0) and told.pop("cut.jpg") == (1, 1)
    assert set(told.values()) == {(1, 0)}


def test_without_a_size_limit_the_huge_photo_says_what_to_do(place):
    config = Config(checkpoint_path=str(place / "delf.ckpt"), max_feature_num=9)
    photos = [photo for photo in photos_of_folder(place / "photos") if photo.name in ("huge.jpg", "plain.jpg")]
    extract_to_file(photos, place / "whole.h5", *sections(config), load_network=load_fake_network)
    with FeatureFile(place / "whole.h5") as made:
        assert made.names == ["plain.jpg"]
    reason = (place / "whole.h5.failed.txt").read_text().split("\t")[1]
    assert reason.startswith(f"{place / 'photos' / 'huge.jpg'}: its pyramid level of scale 2 has 18000 x 13400 pixels")
    assert "give `max_image_size`" in reason


ODD_NAMES = {  # bytes of a name: why it is left out, None where it works
    b"caf\xe9.jpg": "its name is not UTF-8",
    b"back\\slash.jpg": "unusable name",
    b"C:drive.jpg": "unusable name",
    b"line\nfeed\ttab \x1b[31mred.jpg": None,
    b"$x_{a$ %s {} \xe2\x80\xae.jpg": None,
    b"folder\xff/plain.jpg": "its name is not UTF-8",
}


@pytest.mark.parametrize("devices", [(0,), (0, 1)])
def test_odd_names_work_or_are_left_out_and_none_reaches_a_list_raw(place, tmp_path, devices):
    folder = tmp_path / "photos"
    folder.mkdir()
    try:
        for name in (*ODD_NAMES, b"good.jpg"):
            path = os.path.join(os.fsencode(folder), name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as stream:
                stream.write(FILES["plain.jpg"][0])
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    (folder / "bad\n\x1b[2J.jpg").write_bytes(b"no photo")
    config = Config(checkpoint_path=str(place / "delf.ckpt"), image_scales=(1.0,))
    photos = photos_of_folder(folder)
    extract_to_file(photos, tmp_path / "f.h5", *sections(config), devices=devices, load_network=load_fake_network)
    with FeatureFile(tmp_path / "f.h5") as made:
        assert made.names == sorted(["good.jpg", *(os.fsdecode(name) for name, why in ODD_NAMES.items() if not why)])
    text = (tmp_path / "f.h5.failed.txt").read_bytes().decode("utf-8")
    assert all(char.isprintable() or char in "\n\t" for char in text)
    listed = dict(line.split("\t") for line in text.splitlines())
    assert "cannot be read as a photo" in listed.pop("bad\\n\\x1b[2J.jpg")
    expected = {printable(os.fsdecode(name)): why for name, why in ODD_NAMES.items() if why}
    assert listed.keys() == expected.keys() and all(why in listed[name] for name, why in expected.items())
