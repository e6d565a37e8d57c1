"""One's own labelled photos: a folder for each class, or a table of paths and labels."""

import csv
import logging
from pathlib import Path
from typing import Iterator, Tuple

from ..artifacts import PathLike, require_file, require_folder
from ..errors import UserError
from ..images import list_images
from .catalogue import Catalogue, below_root, make_catalogue

logger = logging.getLogger(__name__)


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
    return make_catalogue(((name.partition("/")[0], name) for name in inside), below_root, str(folder))


def _rows(path: Path) -> Iterator[Tuple[str, str]]:
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            missing = {"path", "label"}.difference(reader.fieldnames or ())
            if missing:
                raise UserError(f"{path}: has no column {sorted(missing)[0]!r}; `csv` wants the header path,label")
            for row in reader:
                photo, label = (row["path"] or "").strip(), (row["label"] or "").strip()
                if not photo or not label or None in row:
                    raise UserError(f"{path}, line {reader.line_num}: a row is one path and one label")
                yield label, photo
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: no valid csv ({error})") from error


def read_labelled_csv(path: PathLike) -> Catalogue:
    """Read a table with the columns ``path`` (relative to the table's folder, or absolute) and ``label`` (any text).

    A photo is named by its path as the table has it; classes are numbered in the order of their texts.

    Raises:
        UserError: no such file, other columns, or a row that is not one (with its line number).
    """
    return make_catalogue(_rows(require_file(path, "csv")), below_root, str(path))
