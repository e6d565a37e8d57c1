"""Writing a feature file so that a kill at any moment costs half a minute at most.

An HDF5 file whose writer is killed may stay unreadable, so none is ever open for long: photos go to small part files in
``<output>.parts/``, each renamed into place once closed, and the last step copies them into the feature file. Parts can
come from several runs; the feature file is the same byte for byte.
"""

import dataclasses
import json
import logging
import os
import shutil
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

import h5py
from tqdm import tqdm

from ..artifacts import PathLike, atomic_write_json, clear_folder, is_made, locked_folder, put_in_place
from ..errors import UserError, reading
from ..records import LocalFeatures, Photo, Provenance
from ..stop_signals import held_signals
from .feature_file import provenance_of, write_group, write_provenance
from .feature_groups import group_names
from .hdf5_output import Hdf5Output
from .photo_state import current_names

logger = logging.getLogger(__name__)

PHOTOS_PER_PART = 256
SECONDS_PER_PART = 30.0
_OPEN_PARTS = 64  # parts held open while merging
_PROVENANCE_FILE = "provenance.json"


def parts_folder(output: PathLike) -> Path:
    """Where the parts of a feature file are kept until it is finished."""
    return Path(f"{output}.parts")


def made_alike(output: PathLike, provenance: Provenance, overwrite: bool) -> Optional[Provenance]:
    """Provenance of the feature file at ``output``, which may be of other photos; None when it is to be made anew.

    Raises:
        UserError: a file of other settings, or something else stands there.
    """
    if overwrite or not Path(output).is_file():
        is_made(output, provenance, provenance_of, overwrite)
        return None
    found = provenance_of(Path(output))
    photos = {name: value for name, value in provenance.sources.items() if name == "photos"}
    alike = dataclasses.replace(found, sources={**found.sources, **photos})
    if provenance.differences(alike):
        is_made(output, provenance, lambda _: alike, overwrite)
    return found


def drop_parts(output: PathLike) -> None:
    """Delete what a run left that was killed after its last rename."""
    shutil.rmtree(parts_folder(output), ignore_errors=True)


@contextmanager
def open_parts(output: PathLike, provenance: Provenance, overwrite: bool = False) -> Iterator[Path]:
    """Yield the folder of parts of ``output``, locked: that of a killed run of the same settings, or an empty one.

    Raises:
        UserError: another process is making ``output``.
    """
    with locked_folder(parts_folder(output), output) as folder:
        if overwrite or not _is_resumable(folder, provenance):
            clear_folder(folder)
        for path in folder.glob("*.tmp"):  # what killed writers left open
            path.unlink()
        atomic_write_json(folder / _PROVENANCE_FILE, provenance.as_json())
        yield folder


def _is_resumable(folder: Path, provenance: Provenance) -> bool:
    try:
        found = Provenance.from_json(json.loads((folder / _PROVENANCE_FILE).read_text(encoding="utf-8")))
        different = [name for name in provenance.differences(found) if name != "photos"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError):
        different = ["damaged"]
    if different:
        logger.info("%s: parts of other settings (%s), starting again", folder, ", ".join(different))
    return not different


def finished_photos(folder: Path, photos: Optional[Sequence[Photo]] = None) -> Dict[str, Path]:
    """The part that holds each finished photo, of ``photos`` as they are now; parts that cannot be read are deleted."""
    found: Dict[str, Path] = {}
    wanted = None if photos is None else {photo.name: photo for photo in photos}
    for path in sorted(folder.glob("*.h5")):
        try:
            with h5py.File(path, "r") as part:
                found.update(dict.fromkeys(group_names(part) if wanted is None else current_names(part, wanted), path))
        except (OSError, RuntimeError, ValueError, UserError) as error:
            logger.warning("%s: damaged part, its photos are extracted again (%s)", path, error)
            path.unlink()
    return found


class PartWriter:
    """Adds photos to parts; a context manager that finishes the last part however the block ends.

    Args:
        folder: receives the parts.
        half: see ``write_group``.
        photos_per_part, seconds_per_part: a part is finished when it holds so many, or is so old.

    Attributes:
        finished: the part of each photo that is safe from a kill.
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
        self._output: Optional[Hdf5Output] = None
        self.finished: Dict[str, Path] = {}
        self._path, self._started = folder, 0.0
        self._names: List[str] = []

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, *_: object) -> None:
        with held_signals():
            self._finish_part()

    def add(self, name: str, local: Optional[LocalFeatures], **others: Any) -> None:
        """Write one photo; ``others`` are a global descriptor and attributes as ``write_group`` takes them."""
        with held_signals():
            self._add(name, local, **others)

    def _add(self, name: str, local: Optional[LocalFeatures], **others: Any) -> None:
        if self._output is None:
            self._path = self._folder / f"{uuid.uuid4().hex}.tmp"
            self._output = Hdf5Output(self._path)
            self._names, self._started = [], time.monotonic()
        try:
            write_group(self._output.file, name, local, self._half, **others)
            self._output.check()
        except BaseException:  # disk full: the part holds half a photo
            self._output.abandon()
            self._output = None
            self._path.unlink()
            raise
        self._names.append(name)
        if len(self._names) >= self._photos_per_part or time.monotonic() - self._started >= self._seconds_per_part:
            self._finish_part()

    def _finish_part(self) -> None:
        """Close the part, if one is open: the photos in it are safe from a kill then."""
        if self._output is not None:
            output, self._output = self._output, None
            try:
                output.close()
            except OSError:
                self._path.unlink()
                raise
            part = self._path.with_suffix(".h5")
            os.replace(self._path, part)
            self.finished.update(dict.fromkeys(self._names, part))


def merge_parts(
    folder: Path,
    names: Sequence[str],
    output: PathLike,
    provenance: Provenance,
    where: Optional[Mapping[str, Path]] = None,
) -> int:
    """Copy the photos of ``names`` into ``output``, rename it into place, delete the parts.

    Args:
        folder: of the parts.
        names: in the order of the file; those that are nowhere are left out.
        output: feature file.
        provenance: of it.
        where: the file that holds each photo, a part or the older ``output``; None = the parts.

    Returns:
        The number of local features in all of them.
    """
    merged = folder / "merged.tmp"
    where = finished_photos(folder) if where is None else where
    parts: Dict[Path, h5py.File] = {}
    present, features = [name for name in names if name in where], 0
    with Hdf5Output(merged) as writer:
        target = writer.file
        write_provenance(target, provenance)
        for name in tqdm(present, desc="merge", unit="photo", delay=2, disable=None):
            if where[name] not in parts:
                if len(parts) >= _OPEN_PARTS:
                    _close(parts)
                parts[where[name]] = h5py.File(where[name], "r")
            source = parts[where[name]]
            with reading(where[name], "give `overwrite`"):
                source.copy(name, target, name, without_attrs=True)  # copied, their place would depend on the part
                target[name].attrs.update(source[name].attrs)
            writer.check()
            features += len(target[name]["scores"]) if "scores" in target[name] else 0
        _close(parts)
    put_in_place(merged, output)
    shutil.rmtree(folder)
    return features


def _close(parts: Dict[Path, h5py.File]) -> None:
    for part in parts.values():
        part.close()
    parts.clear()
