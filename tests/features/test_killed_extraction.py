"""Extraction killed at random moments and started again: the file is that of an uninterrupted run."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from src.features.feature_parts import finished_photos, parts_folder

ROOT = Path(__file__).resolve().parents[2]
COUNT, KILLS = 60, 10

# What the killed process runs: extraction in parts of three photos. Arguments: folder, output, devices, network.
EXTRACTION = """
import functools, sys, time
from pathlib import Path
from src.config import Config
from src.engines import load_network
from src.features import feature_parts
from src.features.extraction import extract_to_file
from src.features.extraction import photos_of_folder
from tests.features.fake_network import load_fake_network

def load_slow_network(load, seconds, run, model, device_id, threads):
    network = load(run, model, device_id, threads)
    def slow(level):
        time.sleep(seconds)
        return network(level)
    return slow

feature_parts.PartWriter = functools.partial(feature_parts.PartWriter, photos_per_part=3)
if __name__ == "__main__":
    folder, output, devices, network = sys.argv[1:]
    config = Config(checkpoint_path=f"{folder}/../delf.ckpt", image_scales=(1.0,), max_feature_num=4, num_workers=2,
                    device_target="CPU", engine="mindspore",
                    architecture="resnet50" if network == "fake" else "resnet18")
    photos = photos_of_folder(folder)
    print("ready", flush=True)
    # Sixty photos outlast ten kills, by two workers too; thirty outlast four.
    load, seconds = (load_fake_network, 0.08 * len(devices)) if network == "fake" else (load_network, 0.05)
    extract_to_file(photos, output, config.run, config.model, config.extraction, "", [int(digit) for digit in devices],
                    load_network=functools.partial(load_slow_network, load, seconds))
"""


def _photos(folder, count):
    (folder / "photos").mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        pixels = generator.integers(0, 256, (40 + number % 7, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number:02d}.png")


def _start(folder, output, devices="0", network="fake", **options):
    script = folder / "extraction.py"  # a file: child processes import it
    script.write_text(EXTRACTION)
    command = [sys.executable, str(script), str(folder / "photos"), str(output), devices, network]
    small = f"{ROOT / 'tests/small'}:" if network == "real" else ""  # its resnet18
    environment = {**os.environ, "PYTHONPATH": f"{small}{ROOT}"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def _finish(*arguments):
    process = _start(*arguments)
    _, log = process.communicate()
    assert process.returncode == 0, log


def _contents(path):
    """Every dataset and attribute of a feature file."""
    found = {}

    def visit(name, item):
        found[name] = sorted(item.attrs.items())
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype, item[()].tolist())

    with h5py.File(path, "r") as file:
        file.visititems(visit)
        return {"": sorted(file.attrs.items()), **found}


def _until_a_part_more(folder, moments):
    """Wait for the next finished part (loading the network takes seconds), then some random milliseconds."""
    parts = parts_folder(folder / "killed.h5")
    count, started = len(list(parts.glob("*.h5"))), time.monotonic()
    while len(list(parts.glob("*.h5"))) == count and time.monotonic() - started < 300:
        time.sleep(0.002)
    time.sleep(moments.uniform(0, 0.05))


def _random_moments(folder, longest):
    """Waits some random seconds, and every third time until a part is finished, however slow the machine is."""
    numbers = itertools.count(1)

    def wait(moments):
        if next(numbers) % 3:
            time.sleep(moments.uniform(0, longest))
        else:
            _until_a_part_more(folder, moments)

    return wait


def _kill_and_resume(folder, kills, wait, **how):
    moments, output, before = random.Random(11), folder / "killed.h5", 0
    for _ in range(kills):
        process = _start(folder, output, **how)
        assert process.stdout.readline() == "ready\n"
        wait(moments)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close(), process.stderr.close()
        time.sleep(0.1)  # for child processes to notice
        finished = len(finished_photos(parts_folder(output)))
        assert finished >= before
        before = finished
    assert before > 0 and not output.exists()
    _finish(folder, output, *how.values())
    return output


@pytest.mark.parametrize(("devices", "longest"), [("0", 0.25), pytest.param("01", 0.9, marks=pytest.mark.slow)])
def test_sixty_photos_ten_kills(tmp_path, devices, longest):
    (tmp_path / "delf.ckpt").write_bytes(b"weights")
    _photos(tmp_path, COUNT)
    _finish(tmp_path, tmp_path / "straight.h5")
    output = _kill_and_resume(tmp_path, KILLS, _random_moments(tmp_path, longest), devices=devices)
    assert len(_contents(output)) == 1 + 6 * COUNT
    assert _contents(output) == _contents(tmp_path / "straight.h5")
    assert sorted(path.name for path in tmp_path.glob("*.h5*")) == ["killed.h5", "straight.h5"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_asked_to_stop_leave_finished_parts(tmp_path, number):
    (tmp_path / "delf.ckpt").write_bytes(b"weights")
    _photos(tmp_path, COUNT)
    process = _start(tmp_path, tmp_path / "stopped.h5", "01", start_new_session=True)
    parts, started = parts_folder(tmp_path / "stopped.h5"), time.monotonic()
    while not list(parts.glob("*.h5")) and time.monotonic() - started < 300:
        time.sleep(0.01)
    os.killpg(process.pid, number)  # as a terminal or a batch system does: all processes get it
    _, log = process.communicate(timeout=300)
    assert "Interrupted: stopped; finished photos are kept in" in log
    assert log.count("Traceback") == 1, log  # that of the script, which the command line turns into a sentence
    assert not list(parts.glob("*.tmp")) and 0 < len(finished_photos(parts)) < COUNT
    assert len(_contents(parts / list(parts.glob("*.h5"))[0])) > 1


@pytest.mark.slow
def test_the_real_network(tmp_path, small_resnet):
    import mindspore as ms

    from src.config import Config
    from src.model.networks import DelfNet

    ms.save_checkpoint(DelfNet(Config(architecture="resnet18").model), str(tmp_path / "delf.ckpt"))
    _photos(tmp_path, 30)
    _finish(tmp_path, tmp_path / "straight.h5", "0", "real")
    wait = partial(_until_a_part_more, tmp_path)
    output = _kill_and_resume(tmp_path, 4, wait, devices="0", network="real")
    assert _contents(output) == _contents(tmp_path / "straight.h5")
