"""Several workers: photos shared out, workers that die, photos that kill them."""

import os
import signal
import time
from functools import partial

import numpy as np
import pytest
from PIL import Image

from src.config import Config
from src.errors import UserError
from src.features.delf_encoder import DelfEncoder
from src.features.extraction import encode_on_devices, photos_of_folder
from src.model.architectures import architecture_of
from tests.features.fake_network import load_deadly_network, load_fake_network

CONFIG = Config(image_scales=(1.0,), max_feature_num=5, num_workers=1)


@pytest.fixture
def folder(tmp_path):
    """Twelve photos."""
    generator = np.random.default_rng(0)
    for number in range(12):
        pixels = generator.integers(0, 200, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02d}.png")
    return tmp_path


def _run(folder, devices, load_network=load_fake_network):
    """The photos without features and why; all others have some."""
    photos, received = photos_of_folder(folder), {}
    load = partial(load_network, CONFIG.run, CONFIG.model)
    encoder = DelfEncoder(CONFIG.extraction, architecture_of(CONFIG.model), load_network=load)
    encode_on_devices(photos, encoder, 1, devices, lambda photo, result: received.setdefault(photo.name, result))
    assert sorted(received) == [photo.name for photo in photos]
    assert all(isinstance(result, str) or len(result.encoded.local) for result in received.values())
    return {name: result for name, result in received.items() if isinstance(result, str)}


def _wait_for(path):
    started = time.monotonic()
    while not path.exists():
        assert time.monotonic() - started < 600, "the other worker has not come so far"
        time.sleep(0.01)


def load_late_network(dead, run, model, device_id=0, threads=0):
    """The network of device 0 waits for the death of the other worker."""
    if device_id == 0:
        _wait_for(dead)
        time.sleep(0.5)
    else:
        dead.touch()
    return load_fake_network(run, model, device_id)


def test_a_worker_that_dies_at_once_is_done_without(folder, caplog):
    assert _run(folder, (9, 0), partial(load_late_network, folder / "dead")) == {}
    assert (
        "extraction worker 9 ended with status -9 (-9: killed, mostly for lack of memory); what it had goes"
        in caplog.text
    )


def test_all_workers_dead(folder):
    with pytest.raises(UserError, match=r"status -9 .*the last one; run again with fewer of them"):
        _run(folder, (9, 9))


def test_a_photo_that_kills_is_found_and_the_rest_done(folder):
    Image.new("RGB", (40, 50), "white").save(folder / "05.png")
    (folder / "07.png").write_bytes(b"no photo")
    failures = _run(folder, (0, 1), load_deadly_network)
    assert sorted(failures) == ["05.png", "07.png"]
    assert failures["05.png"] == f"{folder / '05.png'}: two workers died over it (status -9)"


def load_dying_network(dead, run, model, device_id=0, threads=0):
    """Worker 1 dies at its third photo, and the other one takes its time until then."""
    network, calls = load_fake_network(run, model), []

    def dying(level):
        calls.append(level)
        if device_id == 0 and len(calls) == 1:
            _wait_for(dead)
        elif device_id == 1 and len(calls) == 3:
            dead.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return network(level)

    return dying


def test_photos_in_work_at_a_dead_worker_are_done_by_the_others(folder, caplog):
    assert _run(folder, (0, 1), partial(load_dying_network, folder / "dead")) == {}
    assert "worker 1 ended with status -9" in caplog.text
