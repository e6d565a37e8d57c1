"""Made-up features, feature files and photos, shared by the tests of the tools."""

import dataclasses

import h5py
import numpy as np
from PIL import Image

from src.features.feature_file import write_group, write_provenance
from src.protobuf import message_classes
from src.records import LocalFeatures, Provenance

ENCODER = {"name": "delf", "pca": "", "precision": "float32"}
PROVENANCE = Provenance(
    "ab" * 32,
    ENCODER,
    {"image_scales": [0.25, 1.0], "score_threshold": None},
    {"photos": "ba9876543210", "shard": ""},
    {"engine": "mindspore"},
)


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


def make_file(path, names, weights=PROVENANCE.weights, **changes):
    """A feature file of ``names``; the seed of each photo's features is the sum of its letters.

    ``changes`` of its provenance go to the part that has the name, or to the settings.
    """
    parts = {part: dict(getattr(PROVENANCE, part)) for part in ("encoder", "settings", "sources", "notes")}
    for name, value in changes.items():
        next((part for part in parts.values() if name in part), parts["settings"])[name] = value
    with h5py.File(path, "w") as file:
        write_provenance(file, dataclasses.replace(PROVENANCE, weights=weights, **parts))
        for name in names:
            features = make_features(sum(name.encode()), count=sum(name.encode()) % 4 + 1)
            write_group(file, name, features, orientation=6)
    return path


def make_photos(folder, names, size=(64, 48)):
    """Photos of noise, each (width, height) = ``size``."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


_DATUM = message_classes(
    "written",
    {
        "Shape": {"dim": (1, "repeated int64")},
        "Floats": {"value": (1, "repeated float")},
        "Integers": {"value": (1, "repeated uint32")},
        "Datum": {"shape": (1, "Shape"), "float_list": (2, "Floats"), "uint32_list": (3, "Integers")},
    },
)["Datum"]


def serialise_datum(array):
    """The bytes of one of the reference's `.datum` files, which this project only reads: floats, or unsigned ones."""
    datum = _DATUM()
    numbers = datum.uint32_list if array.dtype.kind == "u" else datum.float_list
    for part in (datum.shape, numbers):  # written even when empty
        part.SetInParent()
    datum.shape.dim.extend(array.shape)
    numbers.value.extend(array.reshape(-1).tolist())
    return datum.SerializeToString()


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
