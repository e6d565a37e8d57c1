"""Writing a feature file so that a kill at any moment costs half a minute at most.

An HDF5 file whose writer is killed may stay unreadable, so none is ever open for long: photos go to small part files in
``<output>.parts/``, each renamed into place once closed, and the last step copies them into the feature file. Parts can
come from several processes and several runs; the feature file is the same byte for byte.
"""

import json
import logging
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

import h5py
from tqdm import tqdm

from src.errors import UserError
from src.features.feature_file import FORMAT_VERSION, FeatureFile, group_names, write_attributes, write_group
from src.files import PathLike, atomic_write_json
from src.records import LocalFeatures

logger = logging.getLogger(__name__)

PHOTOS_PER_PART = 256
SECONDS_PER_PART = 30.0
_OPEN_PARTS = 64  # parts held open while merging
_SETTINGS_FILE = "settings.json"


def parts_folder(output: PathLike) -> Path:
    """Where the parts of a feature file are kept until it is finished."""
    return Path(f"{output}.parts")


def is_made(output: PathLike, attributes: Dict[str, Any], overwrite: bool) -> bool:
    """Whether the feature file stands finished with these settings.

    Raises:
        UserError: a file made under other settings, or no feature file, is there and ``overwrite`` is false.
    """
    if overwrite or not Path(output).exists():
        return False
    with FeatureFile(output) as made:
        different = [name for name in attributes if made.attributes.get(name) != attributes[name]]
    if different:
        reason = ", ".join(name for name in different if name != "config_hash")
        raise UserError(f"{output}: made under other settings ({reason}); give --overwrite, or another --output")
    shutil.rmtree(parts_folder(output), ignore_errors=True)  # of a run killed after its last rename
    return True


def open_parts(output: PathLike, attributes: Dict[str, Any], overwrite: bool = False) -> Path:
    """The folder of parts of ``output``: that of a killed run with the same settings, otherwise an empty one."""
    folder = parts_folder(output)
    settings = json.loads(json.dumps({**attributes, "format_version": FORMAT_VERSION}))
    try:
        usable = not overwrite and json.loads((folder / _SETTINGS_FILE).read_text(encoding="utf-8")) == settings
    except (OSError, ValueError):
        usable = False
    if not usable:
        if folder.exists():
            logger.info("%s: parts of other settings, starting again", folder)
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        atomic_write_json(folder / _SETTINGS_FILE, settings)
    return folder


def finished_photos(folder: Path) -> Dict[str, Path]:
    """The part that holds each finished photo; parts that cannot be read are deleted."""
    found: Dict[str, Path] = {}
    for path in sorted(folder.glob("*.h5")):
        try:
            with h5py.File(path, "r") as part:
                found.update(dict.fromkeys(group_names(part), path))
        except (OSError, RuntimeError) as error:
            logger.warning("%s: damaged part, its photos are extracted again (%s)", path, error)
            path.unlink()
    return found


class PartWriter:
    """Adds photos to parts; a context manager that finishes the last part however the block ends."""

    def __init__(
        self, folder: Path, photos_per_part: int = PHOTOS_PER_PART, seconds_per_part: float = SECONDS_PER_PART
    ) -> None:
        self._folder, self._photos_per_part, self._seconds_per_part = folder, photos_per_part, seconds_per_part
        self._file: Optional[h5py.File] = None
        self._path, self._count, self._started = folder, 0, 0.0

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._finish_part()

    def add(self, name: str, features: LocalFeatures) -> None:
        """Write one photo; it is safe from a kill once its part is finished."""
        if self._file is None:
            self._path = self._folder / f"{uuid.uuid4().hex}.tmp"
            self._file = h5py.File(self._path, "w")
            self._count, self._started = 0, time.monotonic()
        try:
            write_group(self._file, name, features)
        except BaseException:  # disk full, Ctrl-C: the part holds half a photo
            self._file.close()
            self._file = None
            self._path.unlink()
            raise
        self._count += 1
        if self._count >= self._photos_per_part or time.monotonic() - self._started >= self._seconds_per_part:
            self._finish_part()

    def _finish_part(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            os.replace(self._path, self._path.with_suffix(".h5"))


def merge_parts(folder: Path, names: Sequence[str], output: PathLike, attributes: Dict[str, Any]) -> None:
    """Copy the photos of ``names`` that the parts hold into ``output``, rename it into place, delete the parts."""
    merged = folder / "merged.tmp"  # the next run overwrites it if this one is killed
    where = finished_photos(folder)
    parts: Dict[Path, h5py.File] = {}
    with h5py.File(merged, "w") as target:
        write_attributes(target, {**attributes, "format_version": FORMAT_VERSION})
        for name in tqdm([name for name in names if name in where], desc="merge", unit="photo", delay=2):
            if where[name] not in parts:
                if len(parts) >= _OPEN_PARTS:
                    _close(parts)
                parts[where[name]] = h5py.File(where[name], "r")
            parts[where[name]].copy(name, target, name)
        _close(parts)
    os.replace(merged, output)
    shutil.rmtree(folder)


def _close(parts: Dict[Path, h5py.File]) -> None:
    for part in parts.values():
        part.close()
    parts.clear()
