"""Small feature files written by hand in the documented layout."""

import json

import h5py
import numpy as np

from src.features.feature_file import FORMAT_VERSION

DIMENSION = 16


def write_features(path, photos, **parts):
    """{name: (keypoints [N, 2], descriptors [N, D])} in hloc's layout; ``parts`` of the provenance."""
    with h5py.File(path, "w") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["provenance"] = np.bytes_(json.dumps({"weights": "aa", **parts}))
        for name, (keypoints, descriptors) in photos.items():
            group = file.create_group(name)
            group["keypoints"] = np.asarray(keypoints, np.float32)
            group["descriptors"] = np.asarray(descriptors, np.float32).T
            group["scores"] = np.ones(len(keypoints), np.float32)
            group["scales"] = np.ones(len(keypoints), np.float32)
            group["image_size"] = np.array([1000, 1000])


def random_photo(generator, count, dimension=DIMENSION):
    """(keypoints [count, 2], unit descriptors [count, dimension])."""
    rows = generator.normal(size=(count, dimension))
    return generator.uniform(0, 1000, (count, 2)), rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_global(path, vectors, local=None, **parts):
    """{name: vector [D]} of unit length, and beside them ``local`` features as ``write_features`` takes."""
    write_features(path, local or {}, **parts)
    with h5py.File(path, "a") as file:
        for name, vector in vectors.items():
            group = file.require_group(name)
            group["global_descriptor"] = np.asarray(vector, np.float32)
            if "image_size" not in group:
                group["image_size"] = np.array([1000, 1000])
