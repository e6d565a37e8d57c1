"""A feature file as a folder of kapture, the pivot format of structure from motion (github.com/naver/kapture, 1.1).

Texts say what there is; keypoints, descriptors and global features are raw little-endian float32, a file a photo.
"""

import dataclasses
import logging
import os
import re
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, atomic_write_json, build_folder_for, is_made, require_folder, sha256_of
from ..errors import UserError
from ..own_files import refuse_strangers
from .convert import PROVENANCE_FILE, provenance_of_folder
from .feature_file import FeatureFile

logger = logging.getLogger(__name__)

_VERSION = "# kapture format: 1.1"
_PHOTOS = "sensors/records_data"
_KINDS = {"keypoints": ".kpt", "descriptors": ".desc", "global_features": ".gfeat"}
_MATCHES = ".matches"
_ORIGIN = 0.5  # kapture's (0, 0) is the corner of the first pixel, a feature file's its centre

Match = Tuple[str, str, np.ndarray, np.ndarray]  # two photos, rows of their features [M, 2], a score of each [M]


class MatchedPairs(NamedTuple):
    """Pairs of photos to match.

    Attributes:
        identity: of the pairs and of how they are matched.
        match: gives their matches, from the features.
    """

    identity: str
    match: Callable[[FeatureFile], Iterable[Match]]


def features_to_kapture(
    features: PathLike,
    folder: PathLike,
    feature_type: str = "delf",
    images_path: PathLike = "",
    overwrite: bool = False,
    pairs: Optional[MatchedPairs] = None,
) -> None:
    """Write the photos of a feature file, their keypoints, descriptors and global descriptors, as a kapture folder.

    A keypoint is x, y and scale. Each photo has a camera of its own, of unknown parameters. The folder appears whole or
    not at all; ``provenance.json`` in it, which kapture's programs pass over, says what the features were made with.

    Args:
        features: feature file.
        folder: to make.
        feature_type: kapture's name of these features, which is that of their folders.
        images_path: folder of the photos, which ``sensors/records_data`` becomes a link to; '' = no link.
        overwrite: replace a folder made of others.
        pairs: of photos whose matches are written too.

    Raises:
        UserError: a name that kapture cannot hold, descriptors of several dimensions, something else at ``folder``.
    """
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", feature_type):
        raise UserError(f"`feature_type` is {feature_type!r}; give letters, digits, '.', '-' and '_', such as delf")
    photos = str(require_folder(images_path, "images_path").resolve()) if str(images_path) else ""
    folder = Path(folder)
    with FeatureFile(features, "features") as source:
        sources = {"features": sha256_of(features), "kapture": feature_type, "photos": photos}
        sources.update({"pairs": pairs.identity} if pairs else {})
        provenance = dataclasses.replace(source.provenance, sources=sources)
        if is_made(folder, provenance, provenance_of_folder, overwrite, folder=True):
            return
        for name in source.names:
            if "," in name or name.strip() != name or not name.isprintable():
                raise UserError(f"{features}: {name!r} holds what kapture's tables cannot; rename the photo")
        refuse_strangers(folder, _is_own, "a kapture folder")
        with build_folder_for(folder) as building:
            sizes, dimensions = _write_photos(source, building / "reconstruction", feature_type)
            _write_sensors(building / "sensors", sizes)
            _write_kinds(building / "reconstruction", feature_type, dimensions)
            if pairs:
                _write_matches(building / "reconstruction" / "matches" / feature_type, pairs.match(source))
            if photos:
                os.symlink(photos, building / _PHOTOS, target_is_directory=True)
            atomic_write_json(building / PROVENANCE_FILE, provenance.as_json())
    logger.info("%s: %d photos as kapture, features %s", folder, len(sizes), feature_type)


def _write_photos(
    source: FeatureFile, folder: Path, feature_type: str
) -> Tuple[Dict[str, Tuple[int, int]], Dict[str, int]]:
    """The files of every photo; returns their sizes, and the numbers of a row of each kind that there is."""
    sizes: Dict[str, Tuple[int, int]] = {}
    dimensions: Dict[str, int] = {}
    for name in tqdm(source.names, desc="convert", unit="photo", disable=None):
        arrays: Dict[str, np.ndarray] = {}
        if source.has_local(name):
            local = source.read(name)
            arrays["keypoints"] = np.column_stack([local.keypoints + _ORIGIN, local.scales])
            arrays["descriptors"] = local.descriptors
            sizes[name] = local.image_size
        if source.has_global(name):
            found = source.read_global(name)
            arrays["global_features"] = found.vector[None]
            sizes[name] = found.image_size
        for kind, array in arrays.items():
            counts = len(array) > 0 or kind == "keypoints"  # the descriptors of a blank photo may have any length
            if counts and dimensions.setdefault(kind, array.shape[1]) != array.shape[1]:
                fact = f"{kind} of {array.shape[1]} numbers, those before have {dimensions[kind]}"
                raise UserError(f"{source.path}: {name} has {fact}; convert them apart")
            path = folder / kind / feature_type / f"{name}{_KINDS[kind]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(array.astype("<f4").tobytes())
    return sizes, dimensions


def _write_matches(folder: Path, pairs: Iterable[Match]) -> None:
    """Rows of (feature of the first photo, of the second, score), float64; the first photo's name sorts first."""
    for first, second, indices, scores in pairs:
        if first > second:
            first, second, indices = second, first, indices[:, ::-1]
        path = folder / f"{first}.overlapping" / f"{second}{_MATCHES}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.column_stack([indices, scores]).astype("<f8").tobytes())


def _write_sensors(folder: Path, sizes: Dict[str, Tuple[int, int]]) -> None:
    cameras = [f"camera{number}" for number in range(len(sizes))]
    sensors = [(camera, "", "camera", "UNKNOWN_CAMERA", *size) for camera, size in zip(cameras, sizes.values())]
    records = [(number, camera, name) for number, (camera, name) in enumerate(zip(cameras, sizes))]
    _write_table(folder / "sensors.txt", "sensor_device_id, name, sensor_type, [sensor_params]+", sensors)
    _write_table(folder / "records_camera.txt", "timestamp, device_id, image_path", records)


def _write_kinds(folder: Path, feature_type: str, dimensions: Dict[str, int]) -> None:
    """What the features of each kind are."""
    more = {
        "keypoints": {},
        "descriptors": {"keypoints_type": feature_type, "metric_type": "L2"},
        "global_features": {"metric_type": "L2"},
    }
    for kind, values in more.items():
        if (folder / kind).exists():
            row = {"name": feature_type, "dtype": "float32", "dsize": dimensions.get(kind, 0), **values}
            _write_table(folder / kind / feature_type / f"{kind}.txt", ", ".join(row), [tuple(row.values())])


def _write_table(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: List[str] = [_VERSION, f"# {header}", *(", ".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _is_own(name: str) -> bool:
    own = (PROVENANCE_FILE, "sensors/sensors.txt", "sensors/records_camera.txt", _PHOTOS)
    return name in own or name.startswith("reconstruction/") and name.endswith((*_KINDS.values(), _MATCHES, ".txt"))
