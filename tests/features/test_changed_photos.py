"""A feature file brought up to date after its photos have changed, with a made-up network."""

import logging
import os
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from src.config import Config
from src.errors import UserError
from src.features import encoder, feature_parts
from src.features.extraction import extract_to_file, photos_of_folder
from src.features.feature_file import FeatureFile
from src.records import Photo
from tests.features.fake_network import load_fake_network, sections


def _draw(path, seed, size=(60, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def place(tmp_path, caplog):
    """A folder of four photos in ``photos``, one of them broken, and their features in ``features.h5``."""
    caplog.set_level(logging.INFO)
    (tmp_path / "delf.ckpt").write_bytes(b"weights")
    for number, name in enumerate(("a.png", "b.png", "sub/c.png")):
        _draw(tmp_path / "photos" / name, number)
    (tmp_path / "photos/half.png").write_bytes(b"\x89PNG")
    assert _extract(tmp_path) == ["a.png", "b.png", "half.png", "sub/c.png"]
    caplog.clear()
    return tmp_path


def _extract(place, photos="photos", output="features.h5", network=None, **keys):
    """Run; returns the names of the photos that were read, in order."""
    values = {"image_scales": (1.0,), "max_feature_num": 5, "num_workers": 1, **keys}
    config = Config(checkpoint_path=str(place / "delf.ckpt"), **values)
    chosen = photos_of_folder(place / photos) if isinstance(photos, str) else photos
    read, real = [], feature_parts.PartWriter.add

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_parts.PartWriter, "add", lambda *a, **k: (read.append(a[1]), real(*a, **k)))
        extract_to_file(chosen, place / output, *sections(config), load_network=network or load_fake_network)
    failed = place / f"{output}.failed.txt"
    names = [line.split("\t")[0] for line in failed.read_text().splitlines()] if failed.exists() else []
    return sorted(read + names) if read or names else read


def _written(place):
    return (place / "features.h5").stat().st_mtime_ns


def test_features_of_photos_that_are_still_there_are_not_dropped(place):
    before = (place / "features.h5").read_bytes()
    fewer = photos_of_folder(place / "photos")[:2]
    with pytest.raises(UserError, match="1 photos that are still there and not wanted, sub/c.png first"):
        _extract(place, fewer)
    assert (place / "features.h5").read_bytes() == before


def test_new_changed_and_gone_photos(place, caplog):
    _draw(place / "photos/new.png", 7)
    _draw(place / "photos/a.png", 8)
    (place / "photos/b.png").unlink()
    _draw(place / "photos/half.png", 9)  # its upload has ended
    assert _extract(place) == ["a.png", "half.png", "new.png"]
    assert "features.h5: 2 photos are new, 1 changed, 1 gone, 1 kept" in caplog.text
    assert not (place / "features.h5.failed.txt").exists() and not (place / "features.h5.parts").exists()
    _extract(place, output="fresh.h5")
    assert (place / "features.h5").read_bytes() == (place / "fresh.h5").read_bytes()


def test_a_photo_replaced_by_one_of_the_same_size_is_seen(place):
    path = place / "photos/a.png"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the checksum of the end, which costs nothing
    path.write_bytes(data)
    os.utime(path, ns=(0, 0))
    assert _extract(place) == ["a.png", "half.png"]


def test_a_copy_of_the_folder_is_the_same_photos(place, caplog):
    shutil.copytree(place / "photos", place / "copy", copy_function=shutil.copyfile)
    for number, path in enumerate(sorted((place / "copy").rglob("*.png"))):
        os.utime(path, ns=(number, number))
    before = _written(place)
    read = []
    for photos in ("photos", "copy"):
        _extract(place, photos, network=lambda *_: read.append(1))
    assert not read and _written(place) == before
    assert caplog.text.count("already made, features of 3 of 4 photos") == 2


def test_what_failed_and_is_as_it_was_is_not_tried_again(place, caplog):
    _draw(place / "photos/new.png", 7)
    _extract(place)
    before = _written(place)
    _extract(place, network=lambda *_: pytest.fail("nothing is to be extracted"))
    assert _written(place) == before
    (place / "photos/half.png").write_bytes(b"\x89PNG\r\n")
    assert _extract(place) == ["half.png"] and "new.png" in _names(place)


def test_a_photo_that_changes_while_it_is_read_is_read_again_by_the_next_run(place):
    real, path = encoder.load_photo, place / "photos/a.png"

    def load(source, *others):
        photo = real(source, *others)
        if str(source) == str(path):
            _draw(path, 9, (61, 50))  # its upload goes on
        return photo

    _draw(path, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "load_photo", load)
        assert _extract(place) == ["a.png", "half.png"]
    assert _extract(place) == ["a.png", "half.png"]
    with FeatureFile(place / "features.h5") as made:
        assert made.read("a.png").image_size == (61, 50)


def test_a_file_of_any_size_that_is_no_photo_is_left_out_at_once(place):
    with open(place / "photos/film.png", "wb") as stream:
        stream.truncate(2**40)  # takes no room, and hours to read
    assert _extract(place) == ["film.png", "half.png"]
    _extract(place, network=lambda *_: pytest.fail("nothing is to be extracted"))


def _names(place):
    with FeatureFile(place / "features.h5") as made:
        return made.names


def test_a_photo_that_is_broken_now_leaves_the_file(place):
    (place / "photos/a.png").write_bytes(b"no photo")
    assert _extract(place) == ["a.png", "half.png"] and _names(place) == ["b.png", "sub/c.png"]


def test_other_boxes_are_other_photos(place):
    queries = [Photo("q", str(place / "photos/a.png"), (0, 0, 40, 40)), Photo("r", str(place / "photos/b.png"))]
    assert _extract(place, queries, "queries.h5") == ["q", "r"]
    moved = [Photo("q", queries[0].path, (0, 0, 50, 40)), queries[1]]
    assert _extract(place, moved, "queries.h5") == ["q"]
    assert _extract(place, moved, "fresh.h5") == ["q", "r"]
    assert (place / "queries.h5").read_bytes() == (place / "fresh.h5").read_bytes()


def test_settings_and_other_folders_are_refused_as_ever(place):
    before = _written(place)
    with pytest.raises(UserError, match=r"\(max_feature_num\); give `overwrite`"):
        _extract(place, max_feature_num=6)
    _draw(place / "others/x.png", 1)
    with pytest.raises(UserError, match="made of other photos, none of which is among these 1; give `overwrite`"):
        _extract(place, "others")
    assert _written(place) == before
    assert _extract(place, "others", overwrite=True) == ["x.png"] and _names(place) == ["x.png"]


def test_a_killed_update_goes_on_even_when_more_has_changed(place):
    for name in ("d.png", "e.png"):
        _draw(place / "photos" / name, 3)

    def dying(*arguments):
        network, calls = load_fake_network(*arguments), []

        def call(level):
            calls.append(level)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return network(level)

        return call

    with pytest.raises(KeyboardInterrupt):
        _extract(place, network=dying)
    assert _names(place) == ["a.png", "b.png", "sub/c.png"]  # the old file, whole
    _draw(place / "photos/f.png", 4)
    assert _extract(place) == ["e.png", "f.png", "half.png"]
    _extract(place, output="fresh.h5")
    assert (place / "features.h5").read_bytes() == (place / "fresh.h5").read_bytes()


def test_a_part_of_an_older_photo_is_not_used(place):
    config = Config(checkpoint_path=str(place / "delf.ckpt"), image_scales=(1.0,), max_feature_num=5, num_workers=1)
    _draw(place / "photos/a.png", 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.features.feature_parts.put_in_place", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            extract_to_file(
                photos_of_folder(place / "photos"), place / "features.h5", *sections(config),
                load_network=load_fake_network,
            )  # fmt: skip
    _draw(place / "photos/a.png", 6)
    assert _extract(place) == ["a.png", "half.png"]
    _extract(place, output="fresh.h5")
    assert (place / "features.h5").read_bytes() == (place / "fresh.h5").read_bytes()


def test_boxes_that_leave_their_photos_are_told_in_one_line(place, caplog):
    path = str(place / "photos/a.png")  # 60 x 50
    boxes = {"in": (0, 0, 60, 50), "wide": (-3, 0, 40, 40), "deep": (0, 0, 60, 51), "none": None}
    _extract(place, [Photo(name, path, box) for name, box in boxes.items()], "queries.h5")
    assert "2 of 3 boxes reach beyond their photos and were cut there: wide, deep" in caplog.messages
    with h5py.File(place / "queries.h5") as file:
        assert {name: group.attrs.get("clipped") for name, group in file.items()} == {
            "in": 0, "wide": 1, "deep": 1, "none": None,
        }  # fmt: skip
