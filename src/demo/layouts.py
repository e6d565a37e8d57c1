"""The text files around the photos: GLDv2 tables, Oxford ground truth, and the revisited pickle."""

import csv
import io
import pickle
from pathlib import Path, PurePosixPath
from typing import Any

from ..artifacts import atomic_write_bytes, atomic_write_text
from .plan import LandmarkPlan, PhotoRecord

REVISITED_FILE = "gnd_demo.pkl"


def _stem(path: str) -> str:
    """Image name without folder and extension."""
    return PurePosixPath(path).stem


def _csv_text(header: list[str], rows: list[list[str]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def write_training_tables(root: Path, plans: list[LandmarkPlan]) -> dict[str, int]:
    """Write ``train.csv`` (all photos) and ``train_clean.csv`` (not the hidden ones); return counts."""
    everything, clean = [], []
    for plan in plans:
        names = [(_stem(shot.path), shot.difficulty) for shot in plan.shots]
        everything += [[name, f"https://demo.invalid/{name}.jpg", plan.name] for name, _ in names]
        clean.append([plan.name, " ".join(name for name, difficulty in names if difficulty != "hidden")])
    folder = root / "gldv2" / "train"
    atomic_write_text(folder / "train.csv", _csv_text(["id", "url", "landmark_id"], sorted(everything)))
    atomic_write_text(folder / "train_clean.csv", _csv_text(["landmark_id", "images"], clean))
    return {
        "training_landmarks": len(plans),
        "training_photos": len(everything),
        "clean_training_photos": sum(len(row[1].split()) for row in clean),
    }


def _lists(records: tuple[PhotoRecord, ...]) -> dict[str, list[str]]:
    """Image names of one landmark by grade."""
    grades: dict[str, list[str]] = {"good": [], "ok": [], "junk": []}
    for record in records:
        grades[record.difficulty if record.difficulty in grades else "junk"].append(_stem(record.path))
    return {grade: sorted(names) for grade, names in grades.items()}


def write_ground_truth(
    root: Path,
    landmarks: list[tuple[LandmarkPlan, tuple[PhotoRecord, ...]]],
    distractors: list[LandmarkPlan],
    queries: int,
) -> dict[str, int]:
    """Write Oxford's text files and the revisited pickle; a landmark's first good photos are its queries."""
    folder = root / "oxford" / "gt"
    chosen: list[tuple[PhotoRecord, dict[str, list[str]]]] = []
    for plan, records in landmarks:
        grades = _lists(records)
        for number, record in enumerate([item for item in records if item.difficulty == "good"][:queries], start=1):
            box = " ".join(f"{edge:.1f}" for edge in record.box)
            atomic_write_text(folder / f"{plan.name}_{number}_query.txt", f"oxc1_{_stem(record.path)} {box}\n")
            for grade, names in grades.items():
                text = "".join(f"{name}\n" for name in names)
                atomic_write_text(folder / f"{plan.name}_{number}_{grade}.txt", text)
            chosen.append((record, grades))
    everything = [_stem(record.path) for _, records in landmarks for record in records]
    everything += [_stem(shot.path) for plan in distractors for shot in plan.shots]
    atomic_write_bytes(root / "oxford" / REVISITED_FILE, pickle.dumps(_revisited(everything, chosen), protocol=2))
    return {
        "evaluation_landmarks": len(landmarks),
        "evaluation_photos": sum(len(records) for _, records in landmarks),
        "distractor_photos": sum(len(plan.shots) for plan in distractors),
        "queries": len(chosen),
    }


def _revisited(names: list[str], chosen: list[tuple[PhotoRecord, dict[str, list[str]]]]) -> dict[str, Any]:
    """The revisited ground truth: query photos leave the index, good becomes easy and ok becomes hard."""
    query_names = [_stem(record.path) for record, _ in chosen]
    index_names = sorted(set(names) - set(query_names))
    position = {name: index for index, name in enumerate(index_names)}
    truth = []
    for record, grades in chosen:
        entry: dict[str, Any] = {
            grade: [position[name] for name in grades[source] if name in position]
            for grade, source in (("easy", "good"), ("hard", "ok"), ("junk", "junk"))
        }
        entry["bbx"] = [float(edge) for edge in record.box]
        truth.append(entry)
    return {"imlist": index_names, "qimlist": query_names, "gnd": truth}
