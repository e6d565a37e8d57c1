"""A copy of a folder of photos with some of them turned, as Holidays is often judged: sideways photos made upright."""

import json
import shutil
from pathlib import Path
from typing import Dict, List

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..artifacts import PathLike, atomic_write_json, build_folder_for, digest, is_made, require_file
from ..errors import UserError
from ..images import list_images, load_image
from ..names import PHOTO_SUFFIXES, NameTable
from ..own_files import refuse_strangers
from ..records import Provenance

_QUARTER_TURNS = {"0": 0, "90": 1, "180": 2, "270": 3}
_JPEG_QUALITY = 95
_PROVENANCE_FILE = "provenance.json"


def rotate_photos(images_path: PathLike, list_path: PathLike, output: PathLike, overwrite: bool = False) -> int:
    """Copy a folder of photos; those that a list names are turned and encoded anew (JPEG quality 95).

    Args:
        images_path: the photos.
        list_path: text file, a photo a line: its name, with or without folder and extension, and the degrees (90, 180,
            270) that turn it upright, counter-clockwise.
        output: folder to make; a finished one of the same photos and list is kept.
        overwrite: replace a folder that was made of others.

    Returns:
        How many photos were turned.

    Raises:
        UserError: the list is malformed or names a photo that is not there, or something else is at ``output``.
    """
    names = list_images(images_path)
    turns = _read_list(list_path, names)
    sizes = [(name, (Path(images_path) / name).stat().st_size) for name in names]
    turned = {names[number]: turn for number, turn in turns.items() if turn}
    provenance = Provenance(
        settings={"jpeg_quality": _JPEG_QUALITY},
        sources={"photos": digest({"photos": sizes}), "turns": digest({"turns": turned})},
    )
    if not is_made(output, provenance, _read_provenance, overwrite, folder=True):
        refuse_strangers(output, _is_own, "the turned photos")
        with build_folder_for(output) as folder:
            for name in tqdm(names, desc="rotate", unit="photo", disable=None):
                _copy(Path(images_path) / name, folder / name, turned.get(name, 0))
            atomic_write_json(folder / _PROVENANCE_FILE, provenance.as_json())
    return len(turned)


def _is_own(name: str) -> bool:
    return name == _PROVENANCE_FILE or name.lower().endswith(PHOTO_SUFFIXES)


def _copy(source: Path, target: Path, quarter_turns: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if quarter_turns:
        turned = Image.fromarray(np.rot90(load_image(source), quarter_turns))
        turned.save(target, quality=_JPEG_QUALITY, subsampling=0)
    else:
        shutil.copyfile(source, target)


def _read_provenance(folder: Path) -> Provenance:
    try:
        return Provenance.from_json(json.loads((folder / _PROVENANCE_FILE).read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{folder}: not a folder of turned photos; give another `output`") from error


def _read_list(path: PathLike, names: List[str]) -> Dict[int, int]:
    """Quarter turns by photo number."""
    table, turns = NameTable(names), {}
    try:
        lines = require_file(path, "list_path").read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file; give `list_path` a list of names and degrees") from error
    for line in filter(str.strip, lines):
        name, _, degrees = line.strip().rpartition(" ")
        if degrees not in _QUARTER_TURNS or not name:
            raise UserError(f"{path}: {line.strip()!r}: expected a photo's name and 90, 180 or 270")
        number = table.find(name.strip())
        if number is None:
            raise UserError(f"{path}: {name.strip()} is not a photo of `images_path`; leave it out")
        turns[number] = _QUARTER_TURNS[degrees]
    return turns
