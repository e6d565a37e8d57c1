"""Tiny landmark sets for the tests of this folder: photos under a/b/c, their CSV, and what was made of them."""

import csv
import hashlib
import io
from pathlib import Path
from typing import Dict, Iterable, List, Tuple, Union

import cv2
import numpy as np
from PIL import Image


def picture(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth [H, W, 3] uint8 picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def place(root: Path, file_id: str, data: bytes) -> Path:
    path = root.joinpath(*file_id[:3], f"{file_id}.jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def make_set(root: Path, photos_per_landmark: Dict[int, int]) -> Dict[int, List[str]]:
    """Write ``root/train/a/b/c/*.jpg`` and ``root/train_clean.csv``; returns the ids of each landmark."""
    listed: Dict[int, List[str]] = {}
    number = 0
    for landmark, count in photos_per_landmark.items():
        for _ in range(count):
            file_id = f"{(number * 2654435761) % 2**32:08x}{number:08x}"
            place(root / "train", file_id, jpeg(picture(number, 24 + number % 7, 32 + number % 5)))
            listed.setdefault(landmark, []).append(file_id)
            number += 1
    write_csv(root / "train_clean.csv", listed)
    return listed


def write_csv(path: Path, listed: Dict[int, List[str]], separator: str = ",") -> None:
    rows = [f"{landmark}{separator}{' '.join(ids)}" for landmark, ids in listed.items()]
    path.write_text("\n".join([f"landmark_id{separator}images", *rows]) + "\n", encoding="utf-8")


def encoded(image: Union[Image.Image, np.ndarray], kind: str, **options: object) -> bytes:
    """An image file as Pillow writes it."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def rows_of(shards: Iterable[Path]) -> List[Tuple[str, int, bytes]]:
    """(file_id, label, bytes) in shard order, read with MindSpore's own reader of single files."""
    from mindspore.mindrecord import FileReader

    rows = []
    for shard in shards:
        reader = FileReader(str(shard))
        rows += [(row["file_id"], int(row["label"]), bytes(row["data"])) for row in reader.get_next()]
        reader.close()
    return rows


def checksums(folder: Path) -> Dict[str, Tuple[str, int]]:
    """SHA-256 and time of change of every file below a folder."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def contents(path: Path) -> List[List[str]]:
    """The rows of a CSV file."""
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def reference_split(names: List[str], labels: List[int], size: float, seed: int) -> Tuple[List[str], List[str]]:
    """What the reference does, on names: stack, group, shuffle columns with one shared generator, cut, concatenate."""
    state = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    train: List[str] = []
    validation: List[str] = []
    for label in dict.fromkeys(labels):
        mine = np.array(names)[np.array(labels) == label]
        columns = np.arange(mine.size)
        state.shuffle(columns)
        mine = mine[columns]
        border = int(size * mine.size) or 1
        validation += mine[:border].tolist()
        train += mine[border:].tolist()
    return train, validation
