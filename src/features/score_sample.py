"""The attention scores of a sample of photos, and the threshold that they suggest."""

from dataclasses import dataclass
from typing import Callable, List, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike
from ..config import Config
from ..errors import UserError
from ..records import LocalFeatures
from .delf_extractor import DelfExtractor, load_delf
from .extractor import Network
from .feature_file import FeatureFile
from .photos import Photo

_EVERY_FEATURE = 10**9
_LEVELS = (1000, 500, 200, 100, 50, 20)  # features a photo, rows of the table


@dataclass(frozen=True, eq=False)
class ScoreSample:
    """Scores of the features of some photos.

    Attributes:
        scores: for each photo [N], falling.
        checkpoint_sha256: of the network, hex.
        max_feature_num: features that extraction keeps of a photo at most.
    """

    scores: List[np.ndarray]
    checkpoint_sha256: str
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
        if source.attributes.get("score_threshold"):
            raise UserError(
                f"{features}: made with score_threshold {source.attributes['score_threshold']:g}, the scores below are "
                "gone; extract with `score_threshold` 0 and a large `max_feature_num`"
            )
        names = source.names
        if 0 < num_photos < len(names):
            chosen = np.random.default_rng(seed).choice(len(names), num_photos, replace=False)
            names = [names[number] for number in sorted(chosen)]
        scores = [source.read(name).scores for name in tqdm(names, desc="read", unit="photo", disable=None)]
        return _sample(scores, source.attributes["checkpoint_sha256"], max_feature_num, str(features))


def scores_of_photos(
    photos: Sequence[Photo], config: Config, load_network: Callable[[Config, int], Network] = load_delf
) -> ScoreSample:
    """Scores of every cell of ``photos``; UserError for an unusable checkpoint, or when there are no features."""
    everything = config.replace(pca_path="", score_threshold=0.0, max_feature_num=_EVERY_FEATURE)
    extractor = DelfExtractor.from_config(everything, load_network)
    scores: List[np.ndarray] = []
    with tqdm(total=len(photos), desc="extract", unit="photo", disable=None) as bar:

        def deliver(_: Photo, features: LocalFeatures) -> None:
            scores.append(features.scores)
            bar.update()

        extractor.extract_photos(photos, deliver, config.num_workers)
    return _sample(scores, extractor.checkpoint_sha256, config.max_feature_num, "the photos")


def _sample(scores: List[np.ndarray], checkpoint_sha256: str, max_feature_num: int, origin: str) -> ScoreSample:
    if not sum(map(len, scores)):
        raise UserError(f"{origin}: no features in {len(scores)} photos; give photos that have some")
    return ScoreSample([-np.sort(-own) for own in scores], checkpoint_sha256, max_feature_num)
