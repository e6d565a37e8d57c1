"""What the demo data set consists of: which landmarks and which photos of each, all from the seed."""

import hashlib
from dataclasses import dataclass

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


@dataclass(frozen=True)
class DemoSettings:
    """All that decides the content of the data set; photo sizes are the long side in pixels."""

    seed: int = 0
    num_classes: int = 16
    photos_per_class: int = 72
    num_eval_landmarks: int = 12
    photos_per_eval_landmark: int = 10
    queries_per_landmark: int = 3
    num_distractors: int = 60
    train_photo_size: int = 112
    eval_photo_size: int = 144

    def check(self) -> None:
        """Raise a UserError for a number that makes no data set."""
        lowest = {
            "seed": 0,
            "num_classes": 1,
            "photos_per_class": 1,
            "num_eval_landmarks": 1,
            "photos_per_eval_landmark": 2,
            "queries_per_landmark": 1,
            "num_distractors": 0,
            "train_photo_size": 32,
            "eval_photo_size": 32,
        }
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise UserError(f"--{name} is {getattr(self, name)}: give {least} or more")
        for name, most in (
            ("num_classes", 10000),
            ("train_photo_size", 2048),
            ("eval_photo_size", 2048),
            ("num_eval_landmarks", len(EVALUATION_LANDMARKS)),
        ):
            if getattr(self, name) > most:
                raise UserError(f"--{name} is {getattr(self, name)}: give {most} or less")
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
class Job:
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


def plan_training(settings: DemoSettings) -> list[Job]:
    """Training landmarks: clean photos first, then the badly occluded ones that only ``train.csv`` lists."""
    rng = np.random.default_rng((settings.seed, _TRAINING))
    landmark_ids = np.sort(rng.choice(_GLDV2_IDS, settings.num_classes, replace=False))
    jobs = []
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
        jobs.append(Job(str(landmark_id), spec, (-1, 1), tuple(shots)))
    return jobs


def plan_evaluation(settings: DemoSettings) -> list[Job]:
    """Evaluation landmarks, with photo numbers that tell nothing about the difficulty."""
    jobs = []
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
        jobs.append(Job(name, draw_spec(_spec_seed(settings.seed, _EVALUATION, index), archetype), (-1, 1), shots))
    return jobs


def plan_distractors(settings: DemoSettings) -> list[Job]:
    """Photos of other buildings, one or two of each."""
    jobs: list[Job] = []
    taken = 0
    while taken < settings.num_distractors:
        index = len(jobs)
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
        jobs.append(Job("demo", draw_spec(_spec_seed(settings.seed, _DISTRACTOR, index)), (light,), shots))
        taken += count
    return jobs
