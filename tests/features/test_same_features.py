"""The same photo gives the same features bit for bit: alone or among others, with one worker or two, first or last."""

import h5py
import numpy as np
import pytest
from PIL import Image

from src.config import Config
from src.engines.choose import NAMES, installed_engines
from src.features.extraction import extract_to_file, photos_of_folder

SIZES = [(150, 201), (96, 128), (333, 250), (64, 64), (201, 150), (180, 77), (128, 96), (260, 190)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Photos of many sizes and the checkpoint of an untrained network."""
    import mindspore as ms

    from src.model.networks import DelfNet

    root = tmp_path_factory.mktemp("same")
    ms.save_checkpoint(DelfNet(Config(architecture="resnet18", kernel_init="he").model), str(root / "delf.ckpt"))
    (root / "photos").mkdir()
    for number, size in enumerate(SIZES):
        noise = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(root / "photos" / f"{number}.png")
    return root


def _features(place, config, numbers, devices=(0,)):
    """Name -> dataset -> bytes."""
    photos = [photo for photo in photos_of_folder(place / "photos") if int(photo.name[0]) in numbers]
    extract_to_file(photos, place / "features.h5", config.run, config.model, config.extraction, devices=devices)
    with h5py.File(place / "features.h5", "r") as file:
        return {name: {key: item[()].tobytes() for key, item in group.items()} for name, group in file.items()}


@pytest.mark.slow
@pytest.mark.parametrize("engine", NAMES)
def test_same_features(place, engine):
    config = Config(checkpoint_path=str(place / "delf.ckpt"), architecture="resnet18", device_target="CPU",
                    engine=engine, overwrite=True)  # fmt: skip
    if engine not in installed_engines(config.run, config.model):
        pytest.skip(f"{engine} is not installed")
    everything = range(len(SIZES))
    expected = _features(place, config, everything)
    assert len(expected) == len(SIZES)
    assert _features(place, config, everything, devices=(0, 1)) == expected
    for few in ([5], [0, 2, 5], [7, 6, 1]):
        assert _features(place, config, few) == {f"{number}.png": expected[f"{number}.png"] for number in few}
