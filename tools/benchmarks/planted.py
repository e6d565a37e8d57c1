"""A drawn retrieval set of any size: queries, photos that show them under known affine maps, and noise."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import h5py
import numpy as np
from tqdm import tqdm

from src.artifacts import PathLike, atomic_path, atomic_write_json
from src.features.feature_file import FeatureFile, write_group, write_provenance
from src.records import LocalFeatures, Provenance, Ranking

PHOTOS_FILE, QUERIES_FILE, PLANTED_FILE = "photos.h5", "queries.h5", "planted.json"
_WIDTH, _HEIGHT = 1024, 768  # pixels of every photo
_SHARED = 0.03, 0.2  # least and greatest share of a query's features that a planted photo shows
_DISTANCE = 0.3, 0.7  # between a query's descriptor and the one that a planted photo shows
_NOISE = 2.0  # pixels that a shown keypoint is off its map, standard deviation


@dataclass(frozen=True)
class SetSize:
    """What is drawn; the same numbers, the same set.

    Attributes:
        photos, queries: how many.
        features: of each photo and query.
        dimension: of the descriptors.
        planted: photos that show each query.
        seed: of everything.
    """

    photos: int
    queries: int
    features: int
    dimension: int
    planted: int
    seed: int


class PlantedSet(NamedTuple):
    """Feature files of the photos and of the queries; names of the photos that show each query."""

    photos: Path
    queries: Path
    planted: Dict[str, List[str]]


def write_planted_set(folder: PathLike, size: SetSize) -> PlantedSet:
    """Write the set into ``folder``, one photo in memory at a time; one that stands there is kept.

    Descriptors are unit vectors, those of noise uniform on the sphere; no structure helps an index find them.
    """
    folder = Path(folder)
    made = PlantedSet(folder / PHOTOS_FILE, folder / QUERIES_FILE, {})
    where = np.random.default_rng((size.seed, 0)).permutation(size.photos)[: size.queries * size.planted]
    query_of = {int(photo): number // size.planted for number, photo in enumerate(where)}
    for photo, query in sorted(query_of.items()):
        made.planted.setdefault(_query_name(query), []).append(f"{photo:06d}")
    wanted = {"size": asdict(size), "planted": made.planted}
    record = folder / PLANTED_FILE
    if record.exists() and json.loads(record.read_text(encoding="utf-8")) == wanted:
        return made
    queries = [_draw_query(size, number) for number in range(size.queries)]
    _write(made.queries, ((_query_name(number), features) for number, features in enumerate(queries)))
    photos = (
        (f"{number:06d}.jpg", _draw_photo(size, number, queries[query_of[number]] if number in query_of else None))
        for number in tqdm(range(size.photos), desc="drawing", unit="photo", disable=None)
    )
    _write(made.photos, photos)
    atomic_write_json(record, wanted)
    return made


def write_few_queries(made: PlantedSet, count: int) -> Path:
    """A feature file of the first ``count`` queries, beside the other files."""
    path = made.queries.with_name("few_queries.h5")
    with FeatureFile(made.queries) as queries:
        _write(path, ((name, queries.read(name)) for name in queries.names[:count]))
    return path


def recall_at(ranking: Ranking, planted: Dict[str, Sequence[str]], count: int) -> Dict[str, float]:
    """For each query, the share of its planted photos among the best ``count``; 1 when as many as fit are there."""
    shares = {}
    for name, ranks in zip(ranking.query_names, ranking.ranks):
        best = {ranking.index_names[number] for number in ranks[:count]}
        shares[name] = len(best.intersection(planted[name])) / min(count, len(planted[name]))
    return shares


def inliers_of(ranking: Ranking, planted: Dict[str, Sequence[str]]) -> Dict[str, float]:
    """For each query, inliers of its planted photos, their mean; an unverified photo has none."""
    means = {}
    for name, ranks, scores in zip(ranking.query_names, ranking.ranks, ranking.scores):
        inliers = dict(zip((ranking.index_names[number] for number in ranks), np.floor(scores).clip(0)))
        means[name] = float(np.mean([inliers[photo] for photo in planted[name]]))
    return means


def _query_name(number: int) -> str:
    return f"landmark_{number:03d}"


def _write(path: Path, photos: Iterable[Tuple[str, LocalFeatures]]) -> None:
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w") as file:
            write_provenance(file, Provenance(encoder={"name": "drawn"}))
            for name, features in photos:
                write_group(file, name, features)


def _draw_query(size: SetSize, number: int) -> LocalFeatures:
    return _features(*_draw_noise(np.random.default_rng((size.seed, 1, number)), size.features, size.dimension))


def _draw_photo(size: SetSize, number: int, query: Optional[LocalFeatures]) -> LocalFeatures:
    """Noise, of which the first features are replaced by some of the query's, under a map of the photo's own."""
    generator = np.random.default_rng((size.seed, 2, number))
    keypoints, descriptors = _draw_noise(generator, size.features, size.dimension)
    if query is not None:
        count = int(size.features * generator.uniform(*_SHARED))
        rows = generator.permutation(len(query))[:count]
        affine = _draw_affine(generator)
        centre = np.array([_WIDTH, _HEIGHT]) / 2
        keypoints[:count] = (query.keypoints[rows] - centre) @ affine.T + centre
        keypoints[:count] += generator.normal(0, _NOISE, (count, 2))
        descriptors[:count] = _move(generator, query.descriptors[rows], generator.uniform(*_DISTANCE, count))
    order = generator.permutation(size.features)
    return _features(keypoints[order], descriptors[order])


def _draw_noise(generator: np.random.Generator, count: int, dimension: int) -> Tuple[np.ndarray, np.ndarray]:
    keypoints = generator.uniform(0, (_WIDTH, _HEIGHT), (count, 2))
    return keypoints, _unit(generator.standard_normal((count, dimension)))


def _draw_affine(generator: np.random.Generator) -> np.ndarray:
    """[2, 2]: turned by up to 30 degrees, half to twice as large, sides of different scale by up to a fifth."""
    angle = generator.uniform(-math.pi / 6, math.pi / 6)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn @ np.diag(2 ** generator.uniform(-1, 1) * generator.uniform(0.9, 1.1, 2))


def _move(generator: np.random.Generator, rows: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Unit rows at the given L2 distances of unit ``rows``: 2 sin(angle / 2) apart, in directions drawn at random."""
    angles = 2 * np.arcsin(distances / 2)[:, None]
    aside = generator.standard_normal(rows.shape)
    aside = _unit(aside - (aside * rows).sum(axis=1, keepdims=True) * rows)
    return np.cos(angles) * rows + np.sin(angles) * aside


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _features(keypoints: np.ndarray, descriptors: np.ndarray) -> LocalFeatures:
    ones = np.ones(len(keypoints))
    return LocalFeatures(keypoints, ones, ones, descriptors, (_WIDTH, _HEIGHT))
