"""Google Landmarks v2: the list of clean photos, its labels, its split, and where a photo lies on disk."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np

from src.errors import UserError
from src.files import PathLike, require_file, require_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Catalogue:
    """The photos of a landmark list, in the order of the file.

    Attributes:
        file_ids: names of the photos without folder and ending.
        labels: class of each photo, 0..num_classes-1.
        landmark_ids: landmark id of each class, rising; its length is the number of classes.
    """

    file_ids: List[str]
    labels: List[int]
    landmark_ids: List[int]

    @property
    def num_classes(self) -> int:
        return len(self.landmark_ids)


def _parse_row(line: str, separator: str, where: str) -> Tuple[int, List[str]]:
    landmark, found, images = line.replace('"', "").partition(separator)
    if not found or not landmark.strip().lstrip("-").isdigit():
        raise UserError(f"{where}: expected 'landmark_id{separator}image ids', got {line[:60]!r}")
    file_ids = images.split()
    if not file_ids:
        raise UserError(f"{where}: landmark {landmark.strip()} lists no image")
    for file_id in file_ids:
        if "/" in file_id or "\\" in file_id:
            raise UserError(f"{where}: image id {file_id!r} holds a folder; ids are file names without the .jpg")
    return int(landmark), file_ids


def read_clean_csv(path: PathLike) -> Catalogue:
    """Read ``train_clean.csv``: header ``landmark_id,images`` (or with ';'), image ids separated by spaces.

    Classes are numbered by rising landmark id. A photo listed under two landmarks keeps the later one, as in the
    reference TF DELF, and is reported.

    Raises:
        UserError: no such file, another header, a row that is not one (with its line number), or no row at all.
    """
    landmark_of: Dict[str, int] = {}
    relisted = 0
    with open(require_file(path, "--train_clean_csv_path"), encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline().strip().replace('"', "")
        separator = header[len("landmark_id") : -len("images")]
        if separator not in (",", ";") or header != f"landmark_id{separator}images":
            raise UserError(f"{path}: the header is {header[:60]!r}; it must be landmark_id,images")
        for number, line in enumerate(stream, start=2):
            if not line.strip():
                continue
            landmark, file_ids = _parse_row(line.strip(), separator, f"{path}, line {number}")
            for file_id in file_ids:
                relisted += landmark_of.get(file_id, landmark) != landmark
                landmark_of[file_id] = landmark
    if not landmark_of:
        raise UserError(f"{path}: lists no image")
    if relisted:
        logger.warning("%s: %d listings name a photo of another landmark again; the later one counts", path, relisted)
    landmark_ids = sorted(set(landmark_of.values()))
    class_of = {landmark: index for index, landmark in enumerate(landmark_ids)}
    labels = [class_of[landmark] for landmark in landmark_of.values()]
    return Catalogue(list(landmark_of), labels, landmark_ids)


def count_known(train_csv_path: PathLike, catalogue: Catalogue) -> int:
    """How many photos of the catalogue ``train.csv`` (header ``id,url,landmark_id``) knows; reads it line by line.

    Raises:
        UserError: no such file, or its first column is not ``id``.
    """
    wanted = set(catalogue.file_ids)
    with open(require_file(train_csv_path, "--train_csv_path"), encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline().strip()
        if header.replace('"', "").split(",")[0] != "id":
            raise UserError(f"{train_csv_path}: the header is {header[:60]!r}; it must begin with id,url,landmark_id")
        return len(wanted.intersection(line.partition(",")[0].strip('" \n') for line in stream))


def split_by_label(labels: Sequence[int], validation_size: float, seed: int) -> Tuple[List[int], List[int]]:
    """Split photos into training and validation, label by label, as the reference TF DELF's dataset builder does.

    Our reading of it: labels are visited in the order of their first photo; the photos of one label, in the order of
    the list, are shuffled by ONE generator, ``RandomState(MT19937(SeedSequence(seed)))``, that all labels share; the
    first ``max(1, int(validation_size * n))`` go to validation, the rest to training. A label with a single photo
    hence has no training photo. The split is made over the listed photos, present or not, so that a photo never
    changes sides when more of the set is downloaded.

    Args:
        labels: class of each photo, in the order of the list.
        validation_size: share of validation, above 0 and below 1.
        seed: 0 or above.

    Returns:
        Positions of the training photos and of the validation photos, each grouped by label.
    """
    if not 0 < validation_size < 1:
        raise UserError(f"--validation_split_size is {validation_size}; it must be above 0 and below 1")
    if seed < 0:
        raise UserError(f"--seed is {seed}; it must be 0 or above")
    positions: Dict[int, List[int]] = {}
    for position, label in enumerate(labels):
        positions.setdefault(label, []).append(position)
    generator = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    train: List[int] = []
    validation: List[int] = []
    for members in positions.values():
        order = np.arange(len(members))
        generator.shuffle(order)
        cut = max(1, int(validation_size * len(members)))
        validation.extend(members[index] for index in order[:cut])
        train.extend(members[index] for index in order[cut:])
    return train, validation


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
            raise UserError("--train_directory: these folders have no common root; give the one above a/b/c")
        return roots.pop()
    root = Path(train_directory[0])
    while root.name == "*":
        root = root.parent
    if any(character in str(root) for character in "*?["):
        raise UserError(f"{train_directory[0]}: give the folder that holds a/b/c, or its glob ending in /*/*/*/")
    return require_folder(train_directory[0] and root, "--train_directory")


def image_path(root: Path, file_id: str) -> Path:
    """Where a photo is: ``root/a/b/c/<file_id>.jpg``, named after its first characters; else ``root/<file_id>.jpg``."""
    nested = root.joinpath(*file_id[:3], f"{file_id}.jpg")
    flat = root / f"{file_id}.jpg"
    return flat if not nested.exists() and flat.exists() else nested
