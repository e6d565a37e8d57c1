"""Tiny landmark sets for the tests of this folder: photos under a/b/c, and the CSV that lists them."""

from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np


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
