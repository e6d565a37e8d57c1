"""The pipeline's stages: at the same time, bounded, drained, and loud when one fails."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from src.errors import UserError
from src.features import encoder
from src.features.encoder import Pipeline
from src.features.extraction import photos_of_folder
from src.images import load_image
from tests.features.fake_network import encoder_of, fake_network

SETTINGS = {"image_scales": (1.0,), "max_feature_num": 5}
COUNT = 12


@pytest.fixture
def photos(tmp_path):
    for number in range(COUNT):
        Image.new("RGB", (40, 50), (9 * number, 100, 50)).save(tmp_path / f"{number:02d}.png")
    return photos_of_folder(tmp_path)


def _run(photos, network=fake_network, deliver=None, threads=2, take=None):
    """Run the pipeline; returns the names that were delivered, in order."""
    delivered, remaining = {}, iter(photos)

    def keep(photo, result):
        if deliver:
            deliver(photo, result)
        delivered[photo.name] = result

    try:
        Pipeline(encoder_of(network, **SETTINGS), threads).run(take or (lambda _: next(remaining)), keep)
    except BaseException as error:
        error.delivered = delivered
        raise
    return delivered


def test_features_are_those_of_the_encoder_alone(photos):
    delivered = _run(photos)
    assert list(delivered) == [photo.name for photo in photos]
    for photo in photos:
        expected = encoder_of(**SETTINGS).encode(load_image(photo.path)).local
        assert np.array_equal(delivered[photo.name].encoded.local.descriptors, expected.descriptors)


def _wait_until(condition):
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < 120, "the stage before stands still"
        time.sleep(0.001)


def test_stages_run_at_the_same_time(photos, monkeypatch):
    """The network waits until the next photo is being read, delivery until the network is at the next one."""
    read, seen, delivered, real = [], [], [], encoder.load_photo

    def load(*arguments):
        read.append(arguments)
        return real(*arguments)

    def network(level):
        seen.append(level)
        _wait_until(lambda: len(read) > min(len(seen), COUNT - 1))
        return fake_network(level)

    def deliver(photo, result):
        delivered.append(photo)
        _wait_until(lambda: len(seen) > min(len(delivered), COUNT - 1))

    monkeypatch.setattr(encoder, "load_photo", load)
    assert len(_run(photos, network, deliver)) == COUNT


@pytest.mark.parametrize("threads", [1, 3])
def test_a_slow_network_holds_the_readers_back(photos, monkeypatch, threads):
    read, ahead, real = [], [], encoder.load_photo

    def load(*arguments):
        read.append(arguments)
        return real(*arguments)

    def network(level):
        ahead.append(len(read) - len(ahead))
        return fake_network(level)

    monkeypatch.setattr(encoder, "load_photo", load)
    _run(photos, network, threads=threads)
    assert len(ahead) == COUNT and max(ahead) <= threads + 1


def test_a_slow_delivery_holds_the_network_back(photos):
    seen, ahead = [], []

    def network(level):
        seen.append(level)
        return fake_network(level)

    def deliver(photo, result):
        threading.Event().wait(0.01)
        ahead.append(len(seen) - len(ahead))

    _run(photos, network, deliver)
    assert max(ahead) <= 4  # one being delivered, two waiting, one in the network


def test_all_is_delivered_before_it_waits_for_photos(photos):
    """As a worker that is given one photo at a time: it must not wait for the next one with the last in its hands."""
    remaining, delivered, asked = list(photos), [], []

    def take(wait):
        asked.append(wait)
        if not wait:
            return None
        assert len(delivered) == COUNT - len(remaining)
        if not remaining:
            raise StopIteration
        return remaining.pop(0)

    _run(photos, deliver=lambda photo, _: delivered.append(photo), take=take)
    assert delivered == photos and asked.count(True) == COUNT + 1


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), RuntimeError("out of memory\nat line 7"), UserError("diverged")]
)
def test_what_left_the_network_is_delivered_whatever_comes(photos, error):
    calls = []

    def network(level):
        calls.append(level)
        if len(calls) == 5:
            raise error
        return fake_network(level)

    with pytest.raises((KeyboardInterrupt, UserError)) as caught:
        _run(photos, network)
    assert list(caught.value.delivered) == [photo.name for photo in photos[:4]]
    if isinstance(error, RuntimeError):
        assert str(caught.value).startswith(f"{photos[4].path}: the network failed (out of memory); give a smaller")


def test_a_network_that_returns_no_numbers_names_the_photo(photos):
    def network(level):
        feature_map, attention = fake_network(level)
        return feature_map, attention * np.nan

    with pytest.raises(UserError, match="00.png: the network returns numbers that are not finite"):
        _run(photos, network)


def test_a_delivery_that_fails_ends_the_run(photos):
    def deliver(photo, result):
        if photo.name == "03.png":
            raise UserError("disk full")

    with pytest.raises(UserError, match="disk full") as caught:
        _run(photos, deliver=deliver)
    assert "03.png" not in caught.value.delivered and len(caught.value.delivered) < COUNT


def test_unusable_photos_are_delivered_with_their_reasons(photos, tmp_path):
    (tmp_path / "04.png").write_bytes(b"")
    delivered = _run(photos)
    assert len(delivered) == COUNT
    reason = "not an image of JPEG, PNG, WEBP, TIFF, BMP, GIF, PPM, or an empty file"
    assert delivered["04.png"] == f"{tmp_path / '04.png'}: cannot be read as a photo ({reason})"
