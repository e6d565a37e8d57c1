"""Two results.json of one benchmark side by side: differences, wins and losses by query, and how sure they are."""

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError
from .results import read_results

NUM_RESAMPLES = 10_000
CONFIDENCE = 0.95
_CHUNK = 2**20  # numbers drawn at once


@dataclass(frozen=True)
class SettingComparison:
    """One setting of the protocol, as fractions; the second result against the first.

    Attributes:
        maps: mAP of each, None without any query that has positives.
        difference: mean over the queries of both; None without any.
        interval: ends of the bootstrap interval of ``difference``, see ``bootstrap_interval``.
        wins, losses, ties: queries that the second does better, worse, the same.
        queries: (AP of the first, AP of the second) by name, largest gain first, for those with positives in both.
    """

    maps: Tuple[Optional[float], Optional[float]]
    difference: Optional[float]
    interval: Optional[Tuple[float, float]]
    wins: int
    losses: int
    ties: int
    queries: Dict[str, Tuple[float, float]]


@dataclass(frozen=True)
class Comparison:
    """Two results of the same ground truth and protocol; ``index_sizes`` may differ (distractors)."""

    ground_truth: str
    protocol: str
    index_sizes: Tuple[int, int]
    settings: Dict[str, SettingComparison]


def compare_results(first: PathLike, second: PathLike, seed: int = 0) -> Comparison:
    """Compare two results.json that ``save_results`` wrote.

    Args:
        first, second: the files; positive differences say that the second is better.
        seed: seed of the resampling.

    Raises:
        UserError: a file is no results.json, or the two are of different protocols or ground truths.
    """
    ours, theirs = read_results(first), read_results(second)
    if ours["protocol"] != theirs["protocol"]:
        raise UserError(
            f"{first} is of protocol {ours['protocol']}, {second} of {theirs['protocol']}: their figures do not "
            "compare; judge both by the same `protocol`"
        )
    if ours["ground_truth_digest"] != theirs["ground_truth_digest"]:
        raise UserError(
            f"{first} was judged by {ours['ground_truth']}, {second} by another ground truth "
            f"({theirs['ground_truth']}): judge both by the same `gt_path`"
        )
    if _queries(ours) != _queries(theirs):
        raise UserError(f"{second}: has other settings or queries than {first}; make both anew with compute_map")
    settings = {name: _compare(ours["metrics"][name], theirs["metrics"][name], seed) for name in ours["metrics"]}
    return Comparison(ours["ground_truth"], ours["protocol"], (ours["index_size"], theirs["index_size"]), settings)


def _queries(results: Mapping[str, Any]) -> Dict[str, Set[str]]:
    return {name: set(setting["queries"]) for name, setting in results["metrics"].items()}


def _compare(first: Mapping[str, Any], second: Mapping[str, Any], seed: int) -> SettingComparison:
    pairs = {name: (query["AP"], second["queries"][name]["AP"]) for name, query in first["queries"].items()}
    pairs = {name: pair for name, pair in pairs.items() if None not in pair}
    differences = np.array([after - before for before, after in pairs.values()])
    names, order = list(pairs), np.argsort(-differences, kind="stable")
    return SettingComparison(
        (first["mAP"], second["mAP"]),
        float(differences.mean()) if pairs else None,
        bootstrap_interval(differences, seed) if pairs else None,
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
        ties=int((differences == 0).sum()),
        queries={names[place]: pairs[names[place]] for place in order},
    )


def bootstrap_interval(differences: np.ndarray, seed: int) -> Tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron, 1979): 95 %, 10,000 resamples.

    Args:
        differences: [Q] second minus first, one for each query, so that resampling keeps the pairs together.
        seed: seed of the resampling.
    """
    generator, size = np.random.default_rng(seed), len(differences)
    rows = max(1, _CHUNK // size)
    means: List[np.ndarray] = []
    for start in range(0, NUM_RESAMPLES, rows):
        drawn = generator.integers(size, size=(min(rows, NUM_RESAMPLES - start), size))
        means.append(differences[drawn].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
