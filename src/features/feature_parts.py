"""Writing a feature file so that a kill at any moment costs half a minute at most.

An HDF5 file whose writer is killed may stay unreadable, so none is ever open for long: photos go to small part files in
``<output>.parts/``, each renamed into place once closed, and the last step copies them into the feature file. Parts can
come from several processes and several runs; the feature file is the same byte for byte.
"""

import fcntl
import json
import logging
import os
import shutil
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import h5py
from tqdm import tqdm

from ..artifacts import PathLike, atomic_write_json
from ..errors import UserError
from ..records import LocalFeatures
from .feature_file import FORMAT_VERSION, FeatureFile, group_names, write_attributes, write_group

logger = logging.getLogger(__name__)

PHOTOS_PER_PART = 256
SECONDS_PER_PART = 30.0
_OPEN_PARTS = 64  # parts held open while merging
_SETTINGS_FILE = "settings.json"


def parts_folder(output: PathLike) -> Path:
    """Where the parts of a feature file are kept until it is finished."""
    return Path(f"{output}.parts")


def different_settings(attributes: Dict[str, Any], others: Dict[str, Any]) -> List[str]:
    """Names of the ``attributes`` that ``others`` has not, or has otherwise.

    The engine is none of them at float32, where all engines compute the same up to the last digits.
    """
    free = {"engine"} if attributes.get("precision") == "float32" else set()
    return [name for name in attributes if name not in free and others.get(name) != attributes[name]]


def is_made(output: PathLike, attributes: Dict[str, Any], overwrite: bool) -> bool:
    """Whether the feature file stands finished with these settings.

    Raises:
        UserError: a file made under other settings, or no feature file, is there and ``overwrite`` is false.
    """
    if overwrite or not Path(output).exists():
        return False
    with FeatureFile(output, "output") as made:
        different = different_settings(attributes, made.attributes)
    if different:
        reason = ", ".join(name for name in different if name != "config_hash")
        raise UserError(f"{output}: made under other settings ({reason}); give `overwrite`, or another `output`")
    shutil.rmtree(parts_folder(output), ignore_errors=True)  # of a run killed after its last rename
    return True


@contextmanager
def open_parts(output: PathLike, attributes: Dict[str, Any], overwrite: bool = False) -> Iterator[Path]:
    """Yield the folder of parts of ``output``, locked: that of a killed run with the same settings, or an empty one.

    Raises:
        UserError: another process is making ``output``.
    """
    folder = parts_folder(output)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, output)
        settings = json.loads(json.dumps({**attributes, "format_version": FORMAT_VERSION}))
        if overwrite or not _is_resumable(folder, settings):
            _clear(folder, "*")
        _clear(folder, "*.tmp")  # what killed writers left open
        atomic_write_json(folder / _SETTINGS_FILE, settings)
        yield folder
    finally:
        os.close(descriptor)


def _lock(descriptor: int, output: PathLike) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process
    except BlockingIOError as error:
        raise UserError(f"{output}: another process is making it; wait for it, or give another `output`") from error
    except OSError:
        pass  # a file system without locks


def _is_resumable(folder: Path, settings: Dict[str, Any]) -> bool:
    try:
        found = json.loads((folder / _SETTINGS_FILE).read_text(encoding="utf-8"))
        different = different_settings(settings, found)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError):
        different = ["damaged"]
    if different:
        logger.info("%s: parts of other settings (%s), starting again", folder, ", ".join(different))
    return not different


def _clear(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink()


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
    """Adds photos to parts; a context manager that finishes the last part however the block ends.

    Args:
        folder: receives the parts.
        half: see ``write_group``.
        photos_per_part, seconds_per_part: a part is finished when it holds so many, or is so old.
    """

    def __init__(
        self,
        folder: Path,
        half: bool = False,
        photos_per_part: int = PHOTOS_PER_PART,
        seconds_per_part: float = SECONDS_PER_PART,
    ) -> None:
        self._folder, self._half = folder, half
        self._photos_per_part, self._seconds_per_part = photos_per_part, seconds_per_part
        self._file: Optional[h5py.File] = None
        self._path, self._count, self._started = folder, 0, 0.0

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.finish_part()

    def add(self, name: str, features: LocalFeatures, **attributes: Any) -> bool:
        """Write one photo with the attributes of its group.

        Returns:
            Whether that finished the part: the photos in it are safe from a kill then.
        """
        if self._file is None:
            self._path = self._folder / f"{uuid.uuid4().hex}.tmp"
            self._file = h5py.File(self._path, "w")
            self._count, self._started = 0, time.monotonic()
        try:
            write_group(self._file, name, features, self._half, **attributes)
        except BaseException:  # disk full, Ctrl-C: the part holds half a photo
            self._file.close()
            self._file = None
            self._path.unlink()
            raise
        self._count += 1
        full = self._count >= self._photos_per_part or time.monotonic() - self._started >= self._seconds_per_part
        if full:
            self.finish_part()
        return full

    def finish_part(self) -> None:
        """Close the part, if one is open."""
        if self._file is not None:
            self._file.close()
            self._file = None
            os.replace(self._path, self._path.with_suffix(".h5"))


def merge_parts(folder: Path, names: Sequence[str], output: PathLike, attributes: Dict[str, Any]) -> int:
    """Copy the photos of ``names`` that the parts hold into ``output``, rename it into place, delete the parts.

    Returns:
        The number of features in all of them.
    """
    merged = folder / "merged.tmp"
    where = finished_photos(folder)
    parts: Dict[Path, h5py.File] = {}
    present, features = [name for name in names if name in where], 0
    with h5py.File(merged, "w") as target:
        write_attributes(target, {**attributes, "format_version": FORMAT_VERSION})
        for name in tqdm(present, desc="merge", unit="photo", delay=2, disable=None):
            if where[name] not in parts:
                if len(parts) >= _OPEN_PARTS:
                    _close(parts)
                parts[where[name]] = h5py.File(where[name], "r")
            source = parts[where[name]]
            source.copy(name, target, name, without_attrs=True)  # copied, their place would depend on the part
            target[name].attrs.update(source[name].attrs)
            features += len(target[name]["scores"])
        _close(parts)
    with open(merged, "rb") as written:
        os.fsync(written.fileno())  # else a power cut after the parts are deleted could leave nothing
    os.replace(merged, output)
    shutil.rmtree(folder)
    return features


def _close(parts: Dict[Path, h5py.File]) -> None:
    for part in parts.values():
        part.close()
    parts.clear()
