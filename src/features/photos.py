"""Which photos are extracted, under which names."""

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import List, Optional, Sequence, Tuple

import numpy as np

from ..artifacts import PathLike, digest, require_file, require_folder
from ..errors import UserError
from ..images import list_images


@dataclass(frozen=True)
class Photo:
    """One photo to extract.

    Attributes:
        name: its name in the feature file.
        path: the file.
        box: (left, top, right, bottom) in its pixels; None = the whole photo.
    """

    name: str
    path: str
    box: Optional[Tuple[int, int, int, int]] = None


def photos_of_folder(images_path: PathLike, num_images: int = 0, seed: int = 0) -> List[Photo]:
    """Every photo of a folder by its relative path, or a random ``num_images`` of them; UserError if there is none."""
    names = list_images(require_folder(images_path, "images_path"))
    return [Photo(name, os.path.join(images_path, name)) for name in some_of(names, num_images, seed)]


def some_of(names: Sequence[str], count: int, seed: int) -> List[str]:
    """``count`` of the names drawn at random, in their order; all when there are no more, or ``count`` is 0."""
    if not 0 < count < len(names):
        return list(names)
    chosen = np.random.default_rng(seed).choice(len(names), count, replace=False)
    return [names[number] for number in sorted(chosen)]


def photos_of_list(images_path: PathLike, list_path: PathLike) -> List[Photo]:
    """The photos whose paths relative to ``images_path`` a text file lists, one a line, sorted; repeats count once.

    Raises:
        UserError: the list cannot be read or is empty, or names a photo that is not in the folder.
    """
    root = require_folder(images_path, "images_path")
    try:
        text = require_file(list_path, "list_images_path").read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{list_path}: not a text file; list one photo a line") from error
    names = sorted({str(PurePosixPath(line.strip())) for line in text.splitlines() if line.strip()})
    if not names:
        raise UserError(f"{list_path}: lists no photo; list one a line, relative to `images_path`")
    for name in names:
        inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
        if not inside or not (root / name).is_file():
            raise UserError(f"{list_path}: {name} is not a photo in {images_path}; list paths relative to that folder")
    return [Photo(name, os.path.join(images_path, name)) for name in names]


def with_prefix(photos: Sequence[Photo], prefix: str) -> List[Photo]:
    """The photos with ``prefix`` before their names, as distractors want that lie in a folder of their own.

    Raises:
        UserError: the prefix begins with '/', or holds an empty part, '.' or '..'.
    """
    if prefix and not {"", ".", ".."}.isdisjoint(prefix.rstrip("/").split("/")):
        raise UserError(f"`name_prefix` is {prefix!r}; give text such as distractors/")
    return [dataclasses.replace(photo, name=prefix + photo.name) for photo in photos]


def photos_of_shard(photos: Sequence[Photo], shard: str) -> List[Photo]:
    """The part of ``photos`` that ``shard`` names: '2/8' = the second of eight, '' = all.

    Raises:
        UserError: no such shard, or no photo in it.
    """
    if not shard:
        return list(photos)
    numbers = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", shard, re.ASCII)
    if numbers is None or int(numbers[1]) > int(numbers[2]):
        raise UserError(f"`shard` is {shard!r}; give one such as 2/8, the second of eight")
    first, count = int(numbers[1]), int(numbers[2])
    if first > len(photos):
        raise UserError(f"`shard` {shard}: there are only {len(photos)} photos; split them into fewer shards")
    return list(photos[first - 1 :: count])


def photos_digest(photos: Sequence[Photo]) -> str:
    """Changes with the names, boxes and file sizes of the photos; not with the folder they are in."""
    return digest({"photos": [(photo.name, photo.box, _file_size(photo.path)) for photo in photos]})


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # gone since it was listed: reading it will say so
        return -1
