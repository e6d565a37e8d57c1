"""What the demo data set consists of: which landmarks and which photos of each, all from the seed."""

import hashlib
from dataclasses import dataclass, field, fields
from typing import Any, Optional

import numpy as np

from ..errors import UserError
from .style import ARCHETYPES, LandmarkSpec, draw_spec

# names of evaluation landmarks with a fitting archetype, in an order that mixes the archetypes
EVALUATION_LANDMARKS: tuple[tuple[str, str], ...] = (
    ("clock_tower", "clock_tower"),
    ("stone_bridge", "bridge"),
    ("market_hall", "arcade"),
    ("old_cathedral", "church"),
    ("city_gate", "arch"),
    ("royal_palace", "palace"),
    ("hill_castle", "castle"),
    ("canal_houses", "houses"),
    ("observatory", "dome"),
    ("sun_temple", "temple"),
    ("garden_pagoda", "pagoda"),
    ("town_hall", "palace"),
    ("twin_church", "church"),
    ("bell_tower", "clock_tower"),
    ("harbour_bridge", "bridge"),
    ("opera_house", "dome"),
    ("corn_exchange", "arcade"),
    ("merchant_row", "houses"),
    ("river_fort", "castle"),
    ("victory_arch", "arch"),
    ("museum_front", "temple"),
    ("lake_pagoda", "pagoda"),
    ("guild_houses", "houses"),
    ("parish_church", "church"),
    ("parliament", "palace"),
    ("fire_tower", "clock_tower"),
    ("mill_bridge", "bridge"),
    ("cloth_hall", "arcade"),
    ("capitol", "dome"),
    ("border_castle", "castle"),
    ("north_gate", "arch"),
    ("law_court", "temple"),
    ("tea_pagoda", "pagoda"),
    ("abbey", "church"),
    ("university", "palace"),
    ("library_dome", "dome"),
)
_TRAINING, _EVALUATION, _DISTRACTOR = 1, 2, 3  # the three disjoint random streams
_GLDV2_IDS = 203094  # landmark ids of GLDv2 lie below this


def _number(default: int, help_text: str, least: int, most: Optional[int] = None) -> Any:
    return field(default=default, metadata={"least": least, "most": most, "help": help_text})


@dataclass(frozen=True)
class DemoSettings:
    """All that decides the content of the data set; photo sizes are the long side in pixels."""

    seed: int = _number(0, "seed of every landmark and photo", 0)
    num_classes: int = _number(16, "landmarks to train on", 1, 10000)
    photos_per_class: int = _number(72, "clean photos of each of them", 1)
    num_eval_landmarks: int = _number(12, "landmarks to retrieve", 1, len(EVALUATION_LANDMARKS))
    photos_per_eval_landmark: int = _number(10, "photos of each of them", 2)
    queries_per_landmark: int = _number(3, "of those, queries", 1)
    num_distractors: int = _number(60, "photos of other buildings beside them", 0)
    train_photo_size: int = _number(112, "longer side of the photos to train on", 32, 2048)
    eval_photo_size: int = _number(144, "longer side of the other photos", 32, 2048)

    def check(self) -> None:
        """Raise a UserError for a number that makes no data set."""
        for setting in fields(self):
            value, least, most = getattr(self, setting.name), setting.metadata["least"], setting.metadata["most"]
            if value < least:
                raise UserError(f"`{setting.name}` is {value}: give {least} or more")
            if most is not None and value > most:
                raise UserError(f"`{setting.name}` is {value}: give {most} or less")
        good = evaluation_difficulties(self.photos_per_eval_landmark).count("good")
        if good <= self.queries_per_landmark:
            raise UserError(
                f"`photos_per_eval_landmark` {self.photos_per_eval_landmark} gives {good} clear "
                f"photos per landmark, too few for `queries_per_landmark` {self.queries_per_landmark}: "
                "raise the one or lower the other"
            )


@dataclass(frozen=True)
class Shot:
    """One photo to take: its file below the root, its difficulty, size and random stream."""

    path: str
    difficulty: str
    long_side: int
    stream: tuple[int, ...]


@dataclass(frozen=True)
class LandmarkPlan:
    """One landmark and its photos; ``name`` is a landmark id (training) or the beginning of file names."""

    name: str
    spec: LandmarkSpec
    lights: tuple[int, ...]
    shots: tuple[Shot, ...]


@dataclass(frozen=True)
class PhotoRecord:
    """What became of one photo; ``box`` is (x1, y1, x2, y2) of the building in pixels."""

    path: str
    difficulty: str
    box: tuple[float, float, float, float]
    visible: float
    mood: str


def _spec_seed(seed: int, stream: int, index: int) -> int:
    """Seed of a landmark; the stream is its high part, so that no two streams share a landmark."""
    return int(np.random.SeedSequence((seed, stream, index)).generate_state(1, np.uint64)[0]) + (stream << 64)


def evaluation_difficulties(photos: int) -> list[str]:
    """Difficulties of an evaluation landmark's photos: about half good, 0.4 ok, 0.1 junk (hidden or tiny)."""
    junk, ok = int(0.1 * photos + 0.5), int(0.4 * photos + 0.5)
    return ["good"] * (photos - ok - junk) + ["ok"] * ok + ["hidden" if index % 2 else "tiny" for index in range(junk)]


def plan_training(settings: DemoSettings) -> list[LandmarkPlan]:
    """Training landmarks: clean photos first, then the badly occluded ones that only ``train.csv`` lists."""
    rng = np.random.default_rng((settings.seed, _TRAINING))
    landmark_ids = np.sort(rng.choice(_GLDV2_IDS, settings.num_classes, replace=False))
    plans = []
    for index, landmark_id in enumerate(landmark_ids):
        spec = draw_spec(_spec_seed(settings.seed, _TRAINING, index), ARCHETYPES[index % len(ARCHETYPES)])
        clean = settings.photos_per_class
        difficulties = ["ok" if photo % 2 else "good" for photo in range(clean)] + ["hidden"] * max(1, clean // 20)
        shots = []
        for photo, difficulty in enumerate(difficulties):
            name = hashlib.sha256(f"{settings.seed} {index} {photo}".encode()).hexdigest()[:16]
            path = f"gldv2/train/{name[0]}/{name[1]}/{name[2]}/{name}.jpg"
            stream = (settings.seed, _TRAINING, index, photo)
            shots.append(Shot(path, difficulty, settings.train_photo_size, stream))
        plans.append(LandmarkPlan(str(landmark_id), spec, (-1, 1), tuple(shots)))
    return plans


def plan_evaluation(settings: DemoSettings) -> list[LandmarkPlan]:
    """Evaluation landmarks, with photo numbers that tell nothing about the difficulty."""
    plans = []
    difficulties = evaluation_difficulties(settings.photos_per_eval_landmark)
    for index, (name, archetype) in enumerate(EVALUATION_LANDMARKS[: settings.num_eval_landmarks]):
        rng = np.random.default_rng((settings.seed, _EVALUATION, index))
        numbers = rng.choice(4 * len(difficulties), len(difficulties), replace=False)
        shots = tuple(
            Shot(
                f"oxford/jpg/{name}_{number:06d}.jpg",
                difficulty,
                settings.eval_photo_size,
                (settings.seed, _EVALUATION, index, photo),
            )
            for photo, (number, difficulty) in enumerate(zip(numbers, difficulties))
        )
        plans.append(
            LandmarkPlan(name, draw_spec(_spec_seed(settings.seed, _EVALUATION, index), archetype), (-1, 1), shots)
        )
    return plans


def plan_distractors(settings: DemoSettings) -> list[LandmarkPlan]:
    """Photos of other buildings, one or two of each."""
    plans: list[LandmarkPlan] = []
    taken = 0
    while taken < settings.num_distractors:
        index = len(plans)
        count = min(1 + index % 2, settings.num_distractors - taken)
        shots = tuple(
            Shot(
                f"oxford/jpg/demo_{taken + photo:06d}.jpg",
                "ok" if (index + photo) % 3 == 0 else "good",
                settings.eval_photo_size,
                (settings.seed, _DISTRACTOR, index, photo),
            )
            for photo in range(count)
        )
        light = -1 if index % 4 < 2 else 1
        plans.append(LandmarkPlan("demo", draw_spec(_spec_seed(settings.seed, _DISTRACTOR, index)), (light,), shots))
        taken += count
    return plans
