"""The attention score below which a model's features are left out: proposed from a sample, saved beside its checkpoint.

The scale of the scores is a property of a trained model, so each checkpoint needs a threshold of its own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, atomic_write_json, is_made
from ..config import MOST_FEATURES, ExtractionConfig, ModelConfig, RunConfig
from ..errors import UserError
from ..records import Photo, Provenance
from ..values import short
from .encoder import Encoded, LoadNetwork, encode_photos, load_encoder
from .extraction import some_of
from .feature_file import FeatureFile
from .saved_threshold import read_saved, threshold_path

_EVERY_FEATURE = 10**9
_LEVELS = (1000, 500, 200, 100, 50, 20)  # features a photo, rows of the table


def save_threshold(checkpoint_path: PathLike, record: Dict[str, Any], overwrite: bool) -> Path:
    """Save ``record`` (checkpoint_sha256, score_threshold, features_per_photo, num_photos) beside a checkpoint.

    Raises:
        UserError: another threshold is saved there.
    """
    path = threshold_path(checkpoint_path)
    if not is_made(path, _provenance(record), lambda made: _provenance(read_saved(made)), overwrite, "checkpoint_path"):
        atomic_write_json(path, record)
    return path


def _provenance(record: Dict[str, Any]) -> Provenance:
    settings = {name: value for name, value in record.items() if name != "checkpoint_sha256"}
    return Provenance(record["checkpoint_sha256"], settings=settings)


@dataclass(frozen=True, eq=False)
class ScoreSample:
    """Scores of the features of some photos.

    Attributes:
        scores: for each photo [N], falling.
        weights: SHA-256 of the network's weights, hex.
        max_feature_num: features that extraction keeps of a photo at most.
    """

    scores: List[np.ndarray]
    weights: str
    max_feature_num: int

    def threshold_for(self, features_per_photo: float) -> float:
        """The threshold that keeps so many features a photo on average; 0 when there are not so many."""
        best = np.concatenate([scores[: self.max_feature_num] for scores in self.scores])
        wanted = max(round(features_per_photo * len(self.scores)), 1)
        return float(-np.partition(-best, wanted - 1)[wanted - 1]) if wanted <= len(best) else 0.0

    def kept(self, threshold: float) -> Tuple[float, float]:
        """(mean number of features a photo, share of photos without any) that extraction keeps at ``threshold``."""
        counts = np.array([min((scores >= threshold).sum(), self.max_feature_num) for scores in self.scores])
        return float(counts.mean()), float((counts == 0).mean())

    def table(self, threshold: float) -> List[Tuple[float, float, float]]:
        """Rows (threshold, mean features, share of photos without any) around ``threshold``, which is one of them."""
        available, _ = self.kept(0.0)
        others = {self.threshold_for(level) for level in _LEVELS if level < available}
        return [(row, *self.kept(row)) for row in sorted({0.0, threshold, *others})]


def scores_of_file(features: PathLike, max_feature_num: int, num_photos: int = 0, seed: int = 0) -> ScoreSample:
    """Scores of the photos of a feature file, or of ``num_photos`` drawn at random.

    Raises:
        UserError: the file was made with a threshold already, or holds no features.
    """
    with FeatureFile(features, "features") as source:
        threshold = source.provenance.settings.get("score_threshold")
        if threshold:
            raise UserError(
                f"{features}: made with score_threshold {short(threshold)}, the scores below are gone; extract with "
                "`score_threshold` 0 and a large `max_feature_num`"
            )
        names = some_of(source.names, num_photos, seed)
        scores = [source.read(name).scores for name in tqdm(names, desc="read", unit="photo", disable=None)]
        return _sample(scores, source.provenance.weights, max_feature_num, str(features))


def scores_of_photos(
    photos: Sequence[Photo],
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    load_network: Optional[LoadNetwork] = None,
) -> ScoreSample:
    """Scores of every cell of ``photos``; UserError for an unusable checkpoint, or when there are no features."""
    everything = extraction.replace(pca_path="", score_threshold=0.0, max_feature_num=_EVERY_FEATURE)
    encoder = load_encoder(run, model, everything, load_network=load_network)
    scores: List[np.ndarray] = []
    with tqdm(total=len(photos), desc="extract", unit="photo", disable=None) as bar:

        def deliver(_: Photo, encoded: Encoded) -> None:
            scores.append(encoded.local.scores)
            bar.update()

        encode_photos(encoder, photos, deliver, run.num_workers)
    return _sample(scores, encoder.provenance.weights, extraction.max_feature_num or MOST_FEATURES, "the photos")


def _sample(scores: List[np.ndarray], weights: str, max_feature_num: int, origin: str) -> ScoreSample:
    if not sum(map(len, scores)):
        raise UserError(f"{origin}: no features in {len(scores)} photos; give photos that have some")
    return ScoreSample([-np.sort(-own) for own in scores], weights, max_feature_num)
