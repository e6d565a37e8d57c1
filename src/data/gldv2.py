"""Google Landmarks v2: the list of clean photos, and where a photo lies on disk."""

import os
from itertools import islice
from pathlib import Path
from typing import Iterator, List, Sequence, Tuple

import numpy as np

from ..artifacts import PathLike, require_file, require_folder
from ..errors import UserError
from .catalogue import CHUNK, Catalogue, make_catalogue


def _parse_row(line: str, separator: str, where: str) -> Tuple[int, List[str]]:
    landmark, found, images = line.replace('"', "").partition(separator)
    if not found or not landmark.strip().lstrip("-").isdecimal():
        raise UserError(f"{where}: expected 'landmark_id{separator}image ids', got {line[:60]!r}")
    file_ids = images.split()
    if not file_ids:
        raise UserError(f"{where}: landmark {landmark.strip()} lists no image")
    for file_id in file_ids:
        if "/" in file_id or "\\" in file_id:
            raise UserError(f"{where}: image id {file_id!r} holds a folder; ids are file names without the .jpg")
    return int(landmark), file_ids


def _clean_rows(path: PathLike) -> Iterator[Tuple[int, str]]:
    with open(require_file(path, "train_clean_csv_path"), encoding="utf-8-sig", errors="surrogateescape") as stream:
        header = stream.readline().strip().replace('"', "")
        separator = header[len("landmark_id") : -len("images")]
        if separator not in (",", ";") or header != f"landmark_id{separator}images":
            raise UserError(f"{path}: the header is {header[:60]!r}; it must be landmark_id,images")
        for number, line in enumerate(stream, start=2):
            if line.strip():
                landmark, file_ids = _parse_row(line.strip(), separator, f"{path}, line {number}")
                for file_id in file_ids:
                    yield landmark, file_id


def read_clean_csv(path: PathLike) -> Catalogue:
    """Read ``train_clean.csv``: header ``landmark_id,images`` (or with ';'), image ids separated by spaces.

    Classes are numbered by rising landmark id.

    Raises:
        UserError: no such file, another header, a row that is not one (with its line number), or no row at all.
    """
    return make_catalogue(_clean_rows(path), image_path, str(path))


def count_known(train_csv_path: PathLike, catalogue: Catalogue) -> int:
    """How many photos of the catalogue ``train.csv`` (header ``id,url,landmark_id``) knows; reads it line by line.

    Raises:
        UserError: no such file, or its first column is not ``id``.
    """
    wanted = np.sort(catalogue.file_ids.packed)
    known = np.zeros(len(wanted), bool)
    with open(require_file(train_csv_path, "train_csv_path"), "rb") as stream:
        header = stream.readline().decode("utf-8-sig", errors="replace").strip()
        if header.replace('"', "").split(",")[0] != "id":
            raise UserError(f"{train_csv_path}: the header is {header[:60]!r}; it must begin with id,url,landmark_id")
        while True:
            file_ids = np.array([line.partition(b",")[0].strip(b'" \r\n') for line in islice(stream, CHUNK)], "S")
            if not len(file_ids):
                return int(known.sum())
            places = np.minimum(np.searchsorted(wanted, file_ids), len(wanted) - 1)
            known[places[wanted[places] == file_ids]] = True


def image_root(train_directory: Sequence[str]) -> Path:
    """The folder under which photos lie as ``a/b/c/abc....jpg``.

    Args:
        train_directory: the folder itself, the glob ``ROOT/*/*/*/``, or the many folders the shell made of that glob.

    Raises:
        UserError: no such folder, or folders that share no root.
    """
    if len(train_directory) > 1:
        roots = {Path(folder).absolute().parents[2] for folder in train_directory if Path(folder).is_dir()}
        if len(roots) != 1:
            raise UserError("`train_directory`: these folders have no common root; give the one above a/b/c")
        return roots.pop()
    root = Path(train_directory[0])
    while root.name == "*":
        root = root.parent
    if any(character in str(root) for character in "*?[") and not root.is_dir():
        raise UserError(f"{train_directory[0]}: give the folder that holds a/b/c, or its glob ending in /*/*/*/")
    return require_folder(train_directory[0] and root, "train_directory")


def image_path(root: str, file_id: str) -> str:
    """Where a photo is: ``root/a/b/c/<file_id>.jpg``, named after its first characters; else ``root/<file_id>.jpg``."""
    nested = os.path.join(root, *file_id[:3], f"{file_id}.jpg")
    flat = os.path.join(root, f"{file_id}.jpg")
    return flat if not os.path.exists(nested) and os.path.exists(flat) else nested
