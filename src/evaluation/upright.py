"""A copy of a folder of photos with some of them turned, as Holidays is often judged: sideways photos made upright."""

import shutil
from pathlib import Path
from typing import Dict, List

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..artifacts import PathLike, build_folder_for, require_file
from ..errors import UserError
from ..images import list_images, load_image
from ..names import NameTable

_QUARTER_TURNS = {"0": 0, "90": 1, "180": 2, "270": 3}
_JPEG_QUALITY = 95


def rotate_photos(images_path: PathLike, list_path: PathLike, output: PathLike, overwrite: bool = False) -> int:
    """Copy a folder of photos; those that a list names are turned and encoded anew (JPEG quality 95).

    Args:
        images_path: the photos.
        list_path: text file, a photo a line: its name, with or without folder and extension, and the degrees (90, 180,
            270) that turn it upright, counter-clockwise.
        output: folder to make.
        overwrite: replace ``output``.

    Returns:
        How many photos were turned.

    Raises:
        UserError: the list is malformed or names a photo that is not there, or ``output`` exists.
    """
    names, output = list_images(images_path), Path(output)
    turns = _read_list(list_path, names)
    if output.exists() and not overwrite:
        raise UserError(f"{output}: exists; give `overwrite` to replace it, or another `output`")
    with build_folder_for(output) as folder:
        for number, name in enumerate(tqdm(names, desc="rotate", unit="photo", disable=None)):
            source, target = Path(images_path) / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if turns.get(number):
                turned = Image.fromarray(np.rot90(load_image(source), turns[number]))
                turned.save(target, quality=_JPEG_QUALITY, subsampling=0)
            else:
                shutil.copyfile(source, target)
    return sum(map(bool, turns.values()))


def _read_list(path: PathLike, names: List[str]) -> Dict[int, int]:
    """Quarter turns by photo number."""
    table, turns = NameTable(names), {}
    try:
        lines = require_file(path, "list_path").read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file") from error
    for line in filter(str.strip, lines):
        name, _, degrees = line.strip().rpartition(" ")
        if degrees not in _QUARTER_TURNS or not name:
            raise UserError(f"{path}: {line.strip()!r}: expected a photo's name and 90, 180 or 270")
        number = table.find(name.strip())
        if number is None:
            raise UserError(f"{path}: {name.strip()} is not a photo of the folder")
        turns[number] = _QUARTER_TURNS[degrees]
    return turns
