"""What the demo data set consists of: which landmarks and which photos of each, all from the seed."""

import hashlib
from dataclasses import dataclass

import numpy as np

from .settings import EVALUATION_LANDMARKS, DemoSettings, evaluation_difficulties
from .style import ARCHETYPES, LandmarkSpec, draw_spec

_TRAINING, _EVALUATION, _DISTRACTOR = 1, 2, 3  # the three disjoint random streams
_GLDV2_IDS = 203094  # landmark ids of GLDv2 lie below this


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
