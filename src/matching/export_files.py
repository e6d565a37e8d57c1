"""Verified pairs as the files of hloc and of COLMAP; a folder appears whole or not at all."""

import dataclasses
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

import h5py
import numpy as np

from ..artifacts import PathLike, atomic_write_json, build_folder_for, digest, is_made, sha256_of
from ..config import MatchingConfig
from ..errors import UserError
from ..features.convert import PROVENANCE_FILE, provenance_of_folder
from ..features.feature_file import FeatureFile
from ..features.hdf5_output import Hdf5Output
from ..features.kapture import Match, MatchedPairs
from ..own_files import refuse_strangers
from ..records import LocalFeatures
from .export_pairs import PairOfNames, VerifiedPair, verified_pairs

logger = logging.getLogger(__name__)

PAIRS_FILE, MATCHES_FILE = "pairs.txt", "matches.h5"  # of hloc
DATABASE_FILE, LIST_FILE = "database.db", "matches.txt"  # of COLMAP
_ORIGIN = 0.5  # COLMAP's (0, 0) is the corner of the first pixel, a feature file's its centre
_MOST_IMAGES = 2**31 - 1  # by which COLMAP makes one number of two
_SIMPLE_RADIAL, _PLANAR = 2, 6  # numbers of COLMAP: a camera model; a pair that one homography explains
_FOCAL = 1.2  # of the longer side, COLMAP's guess where a photo says nothing
_TABLES = """
CREATE TABLE cameras (camera_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, model INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, params BLOB, prior_focal_length INTEGER NOT NULL);
CREATE TABLE images (image_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name TEXT NOT NULL UNIQUE,
    camera_id INTEGER NOT NULL, prior_qw REAL, prior_qx REAL, prior_qy REAL, prior_qz REAL, prior_tx REAL,
    prior_ty REAL, prior_tz REAL, FOREIGN KEY(camera_id) REFERENCES cameras(camera_id));
CREATE TABLE keypoints (image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL,
    data BLOB, FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE descriptors (image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL,
    data BLOB, FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE matches (pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB);
CREATE TABLE two_view_geometries (pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL,
    data BLOB, config INTEGER NOT NULL, F BLOB, E BLOB, H BLOB, qvec BLOB, tvec BLOB);
CREATE UNIQUE INDEX index_name ON images(name);
"""


def export_matches(
    features: PathLike,
    pairs: Sequence[PairOfNames],
    output: PathLike,
    format: str,
    matching: MatchingConfig,
    least_inliers: int,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Match pairs of a feature file and write the folder of another program.

    hloc: ``pairs.txt`` and ``matches.h5`` beside the feature file, which hloc reads as it is. colmap: ``database.db``
    with photos, keypoints, matches and their geometry, and the same matches as ``matches.txt``.

    Args:
        features: feature file.
        pairs: of its names.
        output: folder to make.
        format: hloc or colmap.
        matching, least_inliers, seed: see ``verified_pairs``.
        overwrite: replace a folder made of others.

    Raises:
        UserError: a name that the format cannot hold, or something else at ``output``.
    """
    write, own = _FORMATS[format]
    with FeatureFile(features, "features") as source:
        identity = _identity(pairs, matching, least_inliers, seed)
        sources = {"features": sha256_of(features), "pairs": identity, "format": format}
        wanted = dataclasses.replace(source.provenance, sources=sources)
        if is_made(output, wanted, provenance_of_folder, overwrite, folder=True):
            return
        _require_plain([name for pair in pairs for name in pair], features)
        refuse_strangers(Path(output), lambda name: name in (*own, PROVENANCE_FILE), f"an export to {format}")
        with build_folder_for(output) as building:
            found = verified_pairs(source, list(pairs), matching, least_inliers, seed)
            count = write(building, source, found)
            atomic_write_json(building / PROVENANCE_FILE, wanted.as_json())
    logger.info("%s: %d of %d pairs have %d inliers or more", output, count, len(pairs), least_inliers)


def matched_pairs(
    pairs: Sequence[PairOfNames], matching: MatchingConfig, least_inliers: int, seed: int = 0
) -> MatchedPairs:
    """Pairs for ``features_to_kapture``; arguments as of ``export_matches``."""

    def match(source: FeatureFile) -> Iterator[Match]:
        return (pair[:4] for pair in verified_pairs(source, list(pairs), matching, least_inliers, seed))

    return MatchedPairs(_identity(pairs, matching, least_inliers, seed), match)


def _identity(pairs: Sequence[PairOfNames], matching: MatchingConfig, least_inliers: int, seed: int) -> str:
    return digest({**matching.values(), "pairs": pairs, "least_inliers": least_inliers, "seed": seed})


def _require_plain(names: Sequence[str], features: PathLike) -> None:
    """UserError for a name that a text with a space between two names cannot hold."""
    odd = next((name for name in names if any(c.isspace() or not c.isprintable() for c in name)), None)
    if odd is not None:
        raise UserError(f"{features}: {odd!r} holds a space or what cannot be printed; rename the photo")


def _write_hloc(folder: Path, source: FeatureFile, pairs: Iterable[VerifiedPair]) -> int:
    lines: List[str] = []
    with Hdf5Output(folder / MATCHES_FILE) as target:
        for pair in pairs:
            count = source.shape(pair.first)[0]
            partners, scores = np.full(count, -1, np.int32), np.zeros(count, np.float16)
            partners[pair.indices[:, 0]], scores[pair.indices[:, 0]] = pair.indices[:, 1], pair.similarities
            group: h5py.Group = target.file.create_group("/".join(_flat(name) for name in pair[:2]))
            group["matches0"], group["matching_scores0"] = partners, scores
            target.check()
            lines.append(f"{pair.first} {pair.second}")
    (folder / PAIRS_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _flat(name: str) -> str:
    return name.replace("/", "-")


def _write_colmap(folder: Path, source: FeatureFile, pairs: Iterable[VerifiedPair]) -> int:
    path = folder / DATABASE_FILE
    with closing(sqlite3.connect(path)) as database:
        try:
            with database:
                database.executescript(_TABLES)
                numbers = _add_photos(database, source)
                lines = _add_pairs(database, numbers, pairs)
        except sqlite3.Error as error:
            raise UserError(f"{path}: cannot be written ({error}); make room on the disk") from error
    (folder / LIST_FILE).write_text("".join(lines), encoding="utf-8")
    return len(lines)


def _add_photos(database: sqlite3.Connection, source: FeatureFile) -> Dict[str, int]:
    """A camera of its own and the keypoints of each photo; returns the photos' numbers."""
    numbers: Dict[str, int] = {}
    for number, name in enumerate(source.names, start=1):
        found: LocalFeatures = source.read(name)
        width, height = found.image_size
        parameters = np.array([_FOCAL * max(width, height), width / 2, height / 2, 0], np.float64)
        camera = (number, _SIMPLE_RADIAL, width, height, parameters.tobytes(), 0)
        database.execute("INSERT INTO cameras VALUES (?, ?, ?, ?, ?, ?)", camera)
        database.execute("INSERT INTO images (image_id, name, camera_id) VALUES (?, ?, ?)", (number, name, number))
        points = (found.keypoints + np.float32(_ORIGIN)).astype("<f4")
        database.execute("INSERT INTO keypoints VALUES (?, ?, 2, ?)", (number, len(points), points.tobytes()))
        numbers[name] = number
    return numbers


def _add_pairs(database: sqlite3.Connection, numbers: Mapping[str, int], pairs: Iterable[VerifiedPair]) -> List[str]:
    """Matches and geometry of each pair, the photo of the lower number first; returns their lines of the text."""
    lines = []
    for pair in pairs:
        indices, homography = pair.indices, _homography(pair.affine)
        first, second = numbers[pair.first], numbers[pair.second]
        if first > second:
            first, second, indices, homography = second, first, indices[:, ::-1], np.linalg.inv(homography)
        number, rows = first * _MOST_IMAGES + second, np.ascontiguousarray(indices, "<u4")
        data = (number, len(rows), rows.tobytes())
        database.execute("INSERT INTO matches VALUES (?, ?, 2, ?)", data)
        matrix = np.ascontiguousarray(homography, "<f8").tobytes()
        geometry = (*data, _PLANAR, matrix)
        database.execute(
            "INSERT INTO two_view_geometries (pair_id, rows, cols, data, config, H) VALUES (?, ?, 2, ?, ?, ?)", geometry
        )
        text = "".join(f"{a} {b}\n" for a, b in pair.indices.tolist())
        lines.append(f"{pair.first} {pair.second}\n{text}\n")
    return lines


def _homography(affine: np.ndarray) -> np.ndarray:
    """[3, 3] from the first photo to the second, where the origin is the corner of the first pixel."""
    shift = np.array([[1, 0, _ORIGIN], [0, 1, _ORIGIN], [0, 0, 1]])
    return shift @ np.vstack([affine, [0, 0, 1]]) @ np.linalg.inv(shift)


_FORMATS: Dict[str, Tuple[Callable[[Path, FeatureFile, Iterable[VerifiedPair]], int], Tuple[str, str]]] = {
    "hloc": (_write_hloc, (PAIRS_FILE, MATCHES_FILE)),
    "colmap": (_write_colmap, (DATABASE_FILE, LIST_FILE)),
}
