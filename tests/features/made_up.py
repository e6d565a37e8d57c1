"""Made-up features, feature files and photos, shared by the tests of the tools."""

import h5py
import numpy as np
from PIL import Image

from src.features.feature_file import FORMAT_VERSION, write_attributes, write_group
from src.records import LocalFeatures

SETTINGS = {
    "checkpoint_sha256": "ab" * 32,
    "pca": "",
    "use_whitening": False,
    "image_scales": [0.25, 1.0],
    "score_threshold": None,
    "precision": "float32",
    "engine": "mindspore",
    "config_hash": "0123456789ab",
    "photos": "ba9876543210",
}


def make_features(seed, count=5, dimension=8, image_size=(64, 48)):
    """Features with unit descriptors and falling scores."""
    generator = np.random.default_rng(seed)
    descriptors = generator.normal(size=(count, dimension)).astype(np.float32)
    return LocalFeatures(
        keypoints=generator.random((count, 2)) * 40,
        scales=generator.choice([0.5, 1.0, 2.0], count),
        scores=np.sort(generator.random(count) * 9)[::-1],
        descriptors=descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True),
        image_size=image_size,
    )


def make_file(path, names, **changes):
    """A feature file of ``names``; the seed of each photo's features is the sum of its letters."""
    with h5py.File(path, "w") as file:
        write_attributes(file, {**SETTINGS, **changes, "format_version": FORMAT_VERSION})
        for name in names:
            write_group(file, name, make_features(sum(name.encode()), count=sum(name.encode()) % 4 + 1))
            file[name].attrs["orientation"] = 6
    return path


def make_photos(folder, names, size=(64, 48)):
    """Photos of noise, each (width, height) = ``size``."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def contents(path):
    """name -> dtype and bytes of every dataset and attribute of an HDF5 file."""
    found = {}
    with h5py.File(path, "r") as file:

        def visit(name, item):
            if isinstance(item, h5py.Dataset):
                found[name] = (item.dtype.str, item.shape, item[()].tobytes())
            found.update({f"{name}@{key}": str(value) for key, value in item.attrs.items()})

        file.visititems(visit)
        found.update({f"@{key}": value for key, value in file.attrs.items()})
    return found
