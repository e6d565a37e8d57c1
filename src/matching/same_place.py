"""Whether two photos show the same place: the answer that a calibration gives to a number of inliers.

A calibration is measured by ``evaluation/same_place.py`` and saved beside the checkpoint. It holds for the weights and
the settings that numbers of inliers depend on, and for no others.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..artifacts import PathLike, is_made
from ..config import ExtractionConfig, MatchingConfig, RetrievalConfig, keys_of
from ..errors import UserError, reading
from ..records import Provenance
from ..sealed import read_sealed, write_sealed

YES, PERHAPS, NO = ANSWERS = ("yes", "perhaps", "no")
# by ``correspondences``: two photos matched with nothing else are matched as pairs are by an exact search
FILES = {"index": "same_place.json", "exact": "same_place_exact.json"}
FORMAT_VERSION = 1
_AGAIN = "make it again with the command calibrate_same_place, `overwrite`"
# Of a PCA, dimensions and whitening; not the photos it was fitted on, as each index of own photos has one of its own.
_EXTRACTION = keys_of(ExtractionConfig, but=("half", "pca_path", "force_pca"))
_ONLY = {"index": ("num_neighbors", "nprobe"), "exact": ("match_ratio", "mutual_check")}
_SEARCH = ("search_distance", "correspondences", *keys_of(MatchingConfig, but=("match_distance", *_ONLY["exact"])))


class Verdict(NamedTuple):
    """``answer``: one of ``ANSWERS``; ``probability`` that it is the same place."""

    answer: str
    probability: float

    def __str__(self) -> str:
        """Such as 'perhaps, 63 %'."""
        return f"{self.answer}, {_percent(self.probability)}"


def _percent(share: float) -> str:
    """Without a decimal, but for what would read as 0 or 100 %."""
    return f"{100 * share:.0f} %" if 0.01 <= share <= 0.99 else f"{100 * share:.1f} %"


@dataclass(frozen=True, eq=False)
class Calibration:
    """The probability of the same place by the number of inliers, and the limits of yes and no.

    Attributes:
        counts: [K] first number of inliers of each step, rising, the first 0.
        probabilities: [K] of the steps, rising, above 0 and below 1.
        yes_from: least number of inliers that is a yes; None = none is.
        no_below: numbers of inliers below it are a no.
        provenance: weights; what inliers depend on (``encoder``); how the limits were chosen; from what.
        measured: the errors on what it was made from, for people.

    Raises:
        ValueError: not such steps or limits.
    """

    counts: Sequence[int]
    probabilities: Sequence[float]
    yes_from: Optional[int]
    no_below: int
    provenance: Provenance
    measured: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", np.asarray(self.counts))
        object.__setattr__(self, "probabilities", np.asarray(self.probabilities, np.float64))
        counts, chances, limits = self.counts, self.probabilities, (self.no_below, self.yes_from or 0)
        if counts.dtype.kind != "i" or counts.ndim != 1 or counts.shape != chances.shape or counts[:1].tolist() != [0]:
            raise ValueError("counts and probabilities are no steps from 0 inliers on")
        if not ((np.diff(counts) > 0).all() and (np.diff(chances) >= 0).all() and 0 < chances[0] and chances[-1] < 1):
            raise ValueError("counts or probabilities do not rise, or these are not between 0 and 1")
        whole = all(type(limit) is int and limit >= 0 for limit in limits)
        if not whole or (self.yes_from is not None and self.no_below > self.yes_from):
            raise ValueError(f"yes_from {self.yes_from} and no_below {self.no_below} are no limits")

    def judge(self, inliers: int) -> Verdict:
        """The answer to a number of inliers, 0 or more."""
        probability = float(self.probabilities[np.searchsorted(self.counts, inliers, "right") - 1])
        if self.yes_from is not None and inliers >= self.yes_from:
            return Verdict(YES, probability)
        return Verdict(NO if inliers < self.no_below else PERHAPS, probability)


def holds_inliers(search: Mapping[str, Any]) -> bool:
    """Whether the scores of a search with these settings hold inliers: RANSAC comes last."""
    return "ransac_residual" in search and str(search.get("rerank", "ransac")).split(",")[-1] == "ransac"


def conditions(features: Provenance, search: Mapping[str, Any]) -> Provenance:
    """What a pair's number of inliers depends on: weights and, as ``encoder``, settings.

    Args:
        features: how features were made; of a file, an encoder or a photo index.
        search: keys of matching and retrieval, by name; a key that is missing has its default.
    """
    sections = (ExtractionConfig(), MatchingConfig(), RetrievalConfig())
    values = {name: value for section in sections for name, value in section.values().items()}
    values.update({"pca_dim": 0, **features.encoder, **features.settings, **search})  # raw descriptors have no pca_dim
    if values["searcher"] not in ("auto", "votes"):  # candidates have no votes: each pair is matched anew
        values["correspondences"] = "exact"
    values["score_threshold"] = values["score_threshold"] or 0.0
    meaning = (name for name in features.encoder if name != "pca")
    names = (*meaning, *_EXTRACTION, *_SEARCH, *_ONLY[values["correspondences"]])
    return Provenance(features.weights, {name: values[name] for name in names})


def differences(made: Provenance, wanted: Provenance) -> str:
    """How the conditions of a calibration differ from those of a search, in words; '' when it holds for these."""
    words: List[str] = []
    for name in made.differences(wanted, ("weights", "encoder")):
        there, here = (value.encoder.get(name, "none") for value in (made, wanted))
        words.append(
            "another checkpoint" if name == "weights" else f"{name} {_short(there)} there, {_short(here)} here"
        )
    return "; ".join(words)


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def save_calibration(path: PathLike, calibration: Calibration, overwrite: bool = False) -> None:
    """Write a calibration; one of the same data and limits is kept.

    Raises:
        UserError: another one, or something else, stands there.
    """
    made = calibration.provenance
    if is_made(path, made, lambda there: load_calibration(there).provenance, overwrite):
        return
    record = {
        "counts": np.asarray(calibration.counts).tolist(),
        "probabilities": np.asarray(calibration.probabilities).tolist(),
        "yes_from": calibration.yes_from,
        "no_below": calibration.no_below,
        "measured": dict(calibration.measured),
        "provenance": made.as_json(),
    }
    write_sealed(path, FORMAT_VERSION, record)


def load_calibration(path: PathLike) -> Calibration:
    """Read a calibration; UserError when there is none, or it is damaged."""
    record = read_sealed(path, FORMAT_VERSION, _AGAIN)
    with reading(path, _AGAIN):
        names = ("counts", "probabilities", "yes_from", "no_below")
        provenance = Provenance.from_json(record["provenance"])
        return Calibration(*(record[name] for name in names), provenance, dict(record["measured"]))


def find_calibration(
    wanted: Provenance, folders: Iterable[PathLike], given: PathLike = ""
) -> Tuple[Optional[Calibration], str]:
    """The calibration that holds for a search.

    Args:
        wanted: see ``conditions``.
        folders: looked into, the first that has one wins; such as that of the checkpoint.
        given: the file to take instead; '' = none.

    Returns:
        The calibration, or None and one line that says why there is no verdict.

    Raises:
        UserError: a damaged file, or ``given`` does not hold for the search.
    """
    name = FILES[wanted.encoder["correspondences"]]
    path = Path(given) if str(given) else next((p for p in (Path(f) / name for f in folders) if p.exists()), None)
    if path is None:
        return None, (
            f"no verdict whether it is the same place: no {name} beside the checkpoint; the command "
            "calibrate_same_place measures one on photos whose places are known (docs/same_place.md)"
        )
    calibration = load_calibration(path)
    other = differences(calibration.provenance, wanted)
    if not other:
        return calibration, ""
    fact = f"{path}: calibrated under other settings ({other})"
    if str(given):
        raise UserError(f"{fact}; give the one for these with `same_place`, or leave it out")
    return None, f"no verdict whether it is the same place: {fact}; calibrate_same_place makes one for these"
