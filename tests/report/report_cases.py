"""A small benchmark for the tests of the report: photos, a ranking of them, and feature files."""

import cv2
import h5py
import numpy as np

from src.evaluation.ground_truth import GroundTruth, QueryTruth
from src.evaluation.protocols import evaluate
from src.features.feature_file import FORMAT_VERSION, write_attributes, write_group
from src.records import LocalFeatures, Ranking
from src.report.inliers import FeatureFiles
from src.report.report import Judgement

NAMES = [f"photo_{letter}" for letter in "abcdefghijkl"]  # k cannot be read, l has no file
GOOD, WORSE, EMPTY = "good_1", "worse_1", "empty_1"
SETTINGS = {
    "search_distance": 0.9,
    "correspondences": "index",
    "match_ratio": None,
    "mutual_check": False,
    "ransac_method": "opencv",
    "ransac_residual": 20.0,
    "ransac_trials": 1000,
    "seed": 0,
}
AFFINE = np.array([[0.9, 0.1, 20.0], [-0.1, 0.8, 30.0]])  # from photo_b to photo_a, pixels


def write_photos(folder):
    """Grey noise of 400 x 200 pixels: nothing in it is red, green, or as coloured as a line."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in NAMES[:-2]:
        grey = generator.integers(60, 120, (200, 400, 1)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{name}.jpg"), np.repeat(cv2.blur(grey, (9, 9))[:, :, None], 3, axis=2))
    (folder / f"{NAMES[-2]}.jpg").write_bytes(b"no photo")


def query(name, box=None, **lists):
    return QueryTruth(name, "photo_a", box, {"good": (), "ok": (), "junk": (), **lists})


def make_ranking():
    ranks = np.array([np.arange(12)] * 2 + [np.arange(12)[::-1]])
    return Ranking([EMPTY, GOOD, WORSE], NAMES, ranks, np.tile(np.arange(12, 0, -1) + 0.5, (3, 1)))


def make_judgement(protocol="classic"):
    queries = (
        query(EMPTY),
        query(GOOD, (100.0, 50.0, 300.0, 250.0), good=("photo_a",), junk=("photo_c",)),
        query(WORSE, good=("photo_k", "photo_<x>")),
    )
    truth = GroundTruth("tiny & small", "text", queries)
    return Judgement(truth, evaluate(truth, make_ranking(), protocol))


def features_of(keypoints, descriptors, size=(400, 200)):
    ones = np.ones(len(keypoints))
    return LocalFeatures(np.reshape(keypoints, (-1, 2)), ones, ones, np.reshape(descriptors, (-1, 16)), size)


def random_descriptors(generator, count):
    rows = generator.normal(size=(count, 16))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_feature_file(path, photos, **attributes):
    with h5py.File(path, "w") as file:
        write_attributes(file, {"format_version": FORMAT_VERSION, "checkpoint_sha256": "aa", **attributes})
        for name, features in photos.items():
            write_group(file, name, features)
    return path


def write_features(folder, count=30, outliers=10, **settings):
    """Files in which photo_b shows ``count`` points of the query good_1 under ``AFFINE``, besides ``outliers``."""
    generator = np.random.default_rng(1)
    theirs = generator.uniform((20, 20), (380, 180), (count + outliers, 2))
    ours = theirs @ AFFINE[:, :2].T + AFFINE[:, 2]
    ours[count:] = theirs[count:][::-1] + 90
    descriptors = random_descriptors(generator, count + outliers)
    few = features_of(theirs[:3], descriptors[:3])
    photos = {"photo_b.jpg": features_of(theirs, descriptors), "photo_c.jpg": features_of([], []), "photo_d.jpg": few}
    index = write_feature_file(folder / "index.h5", photos)
    queries = write_feature_file(folder / "queries.h5", {GOOD: features_of(ours, descriptors)})
    return FeatureFiles([index], queries, {**SETTINGS, **settings})
