"""Lists of labelled photos: Google Landmarks v2, one's own table or folders; and which of them train or validate."""

import logging
import os
import re
from itertools import islice
from pathlib import Path
from typing import Iterator, List, Sequence, Tuple

import numpy as np

from ..artifacts import PathLike, require_file, require_folder
from ..errors import UserError
from ..images import list_images
from ..names import in_either_form
from ..tables import read_table
from .catalogue import CHUNK, Catalogue, make_catalogue

logger = logging.getLogger(__name__)


def read_clean_csv(path: PathLike) -> Catalogue:
    """Read ``train_clean.csv``: header ``landmark_id,images``, image ids separated by spaces.

    Classes are numbered by rising landmark id.

    Raises:
        UserError: no such file, another header, a row that is not one (with its line number), or no row at all.
    """
    return make_catalogue(_landmarks(path), image_path, str(path))


def _landmarks(path: PathLike) -> Iterator[Tuple[int, str]]:
    for rows in read_table(path, ("landmark_id", "images"), "train_clean_csv_path", "surrogateescape"):
        for line, landmark, images in rows.itertuples():
            if not re.fullmatch(r"-?\d{1,18}", landmark):
                raise UserError(f"{path}, line {line}: landmark_id is {landmark[:60]!r}; it must be a whole number")
            file_ids = images.split()
            if not file_ids:
                raise UserError(f"{path}, line {line}: landmark {landmark} lists no image")
            for file_id in file_ids:
                if "/" in file_id or "\\" in file_id:
                    fact = f"image id {file_id!r} holds a folder; ids are file names without the .jpg"
                    raise UserError(f"{path}, line {line}: {fact}")
                yield int(landmark), file_id


def image_path(root: str, file_id: str) -> str:
    """Where a photo is: ``root/a/b/c/<file_id>.jpg``, named after its first characters; else ``root/<file_id>.jpg``."""
    nested = os.path.join(root, *file_id[:3], f"{file_id}.jpg")
    flat = os.path.join(root, f"{file_id}.jpg")
    return flat if not os.path.exists(nested) and os.path.exists(flat) else nested


def image_root(train_directory: Sequence[str]) -> Path:
    """The folder under which photos lie as ``a/b/c/abc....jpg``.

    Args:
        train_directory: the folder itself, the glob ``ROOT/*/*/*/``, or the many folders the shell made of that glob.

    Raises:
        UserError: no such folder, or folders that share no root.
    """
    if len(train_directory) > 1:
        folders = [Path(folder).absolute() for folder in train_directory if Path(folder).is_dir()]
        roots = {[folder, *folder.parents][:4][-1] for folder in folders}
        if len(roots) != 1:
            raise UserError("`train_directory`: these folders have no common root; give the one above a/b/c")
        return roots.pop()
    root = Path(train_directory[0])
    while root.name == "*":
        root = root.parent
    if any(character in str(root) for character in "*?[") and not root.is_dir():
        raise UserError(f"{train_directory[0]}: give the folder that holds a/b/c, or its glob ending in /*/*/*/")
    return require_folder(train_directory[0] and root, "train_directory")


def count_known(train_csv_path: PathLike, catalogue: Catalogue) -> int:
    """How many photos of the catalogue ``train.csv`` (header ``id,url,landmark_id``) knows.

    Of its four million lines only the beginning is read: a table of all columns takes four times as long.

    Raises:
        UserError: no such file, or its first column is not ``id``.
    """
    wanted = np.sort(catalogue.file_ids.packed)
    known = np.zeros(len(wanted), bool)
    with open(require_file(train_csv_path, "train_csv_path"), "rb") as stream:
        header = stream.readline(2**16).decode("utf-8-sig", errors="replace").strip()
        if header.replace('"', "").split(",")[0] != "id":
            raise UserError(f"{train_csv_path}: the header is {header[:60]!r}; it must begin with id,url,landmark_id")
        while True:
            # a longer one is unknown and would widen the place of every other
            starts = (line.partition(b",")[0].strip(b'" \r\n') for line in islice(stream, CHUNK))
            file_ids = np.array([start[: wanted.itemsize + 1] for start in starts], "S")
            if not len(file_ids):
                return int(known.sum())
            places = np.minimum(np.searchsorted(wanted, file_ids), len(wanted) - 1)
            known[places[wanted[places] == file_ids]] = True


def read_labelled_csv(path: PathLike) -> Catalogue:
    """Read a table with the columns ``path`` (relative to the table's folder, or absolute) and ``label`` (any text).

    A photo is named by its path as the table has it; classes are numbered in the order of their texts.

    Raises:
        UserError: no such file, other columns, or a row that is not one (with its line number).
    """
    return make_catalogue(_labelled_photos(path), _listed_path, str(path))


def _listed_path(root: str, name: str) -> str:
    """Where a table's photo is: below ``root``, in whichever of Unicode's forms its name is there."""
    path = os.path.join(root, name)
    return path if name.isascii() else str(in_either_form(Path(path)))


def _labelled_photos(path: PathLike) -> Iterator[Tuple[str, str]]:
    for rows in read_table(path, ("path", "label"), "csv", errors="surrogateescape"):
        for line, photo, label in rows.itertuples():
            if not photo or not label:
                raise UserError(f"{path}, line {line}: a row is one path and one label")
            yield label, photo.replace("\\", "/")  # a table of Windows


def read_image_folder(folder: PathLike) -> Catalogue:
    """One class for each sub-folder of ``folder``, named after it; photos may lie anywhere below it.

    A photo is named by its path below ``folder``. Photos that lie in no sub-folder belong to no class and are reported.

    Raises:
        UserError: no such folder, or no photo in a sub-folder of it.
    """
    names = list_images(require_folder(folder, "image_folder"))
    inside = [name for name in names if "/" in name]
    if not inside:
        raise UserError(f"{folder}: no photo lies in a sub-folder; `image_folder` wants one sub-folder for each class")
    if len(inside) < len(names):
        logger.warning("%s: %d photos lie in no sub-folder and are left out", folder, len(names) - len(inside))
    return make_catalogue(((name.partition("/")[0], name) for name in inside), os.path.join, str(folder))


def split_by_label(labels: Sequence[int], validation_size: float, seed: int) -> Tuple[np.ndarray, np.ndarray]:
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
        Positions of the training photos and of the validation photos, int64, each grouped by label.
    """
    if not 0 < validation_size < 1:
        raise UserError(f"`validation_split_size` is {validation_size}; it must be above 0 and below 1")
    if seed < 0:
        raise UserError(f"`seed` is {seed}; it must be 0 or above")
    grouped = np.argsort(labels, kind="stable")
    groups = np.split(grouped, np.cumsum(np.bincount(labels))[:-1])
    generator = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    train: List[np.ndarray] = []
    validation: List[np.ndarray] = []
    for members in sorted((group for group in groups if len(group)), key=lambda group: group[0]):
        order = np.arange(len(members))
        generator.shuffle(order)
        cut = max(1, int(validation_size * len(members)))
        validation.append(members[order[:cut]])
        train.append(members[order[cut:]])
    return np.concatenate(train), np.concatenate(validation)
