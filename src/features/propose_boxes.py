"""Boxes of photos proposed from the attention scores of their local features.

This stands in for a detector of landmarks (Teichmann et al., CVPR 2019), whose weights are not at hand: it knows where
the attention lies, not what a landmark is. A box is as good as the share of the photo's attention in it is above its
share of the photo's area; of a photo with even attention there is none.
"""

import dataclasses
import hashlib
import logging
from pathlib import Path
from typing import List, NamedTuple

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, atomic_write_bytes, is_made, sha256_of
from ..errors import UserError
from ..records import LocalFeatures, Provenance
from ..sealed import beside, made_with, write_sealed
from .boxes import Box, encode_boxes, inside
from .feature_file import FeatureFile
from .kinds import LOCAL, part_of
from .regions import region_grid

FORMAT_VERSION = 1
_AGAIN = "give `overwrite`, or another `output`"

logger = logging.getLogger(__name__)


class ProposalRules(NamedTuple):
    """Which boxes are proposed.

    Attributes:
        grid_levels: scales of squares of R-MAC's grid, which are looked at.
        max_boxes: of a photo.
        box_iou: a box that overlaps a better one by a greater intersection over union is left out.
    """

    grid_levels: int = 4
    max_boxes: int = 4
    box_iou: float = 0.5


def propose_for_photo(features: LocalFeatures, rules: ProposalRules) -> List[Box]:
    """The boxes of one photo, best first; scores are shares of attention less shares of area, above 0."""
    width, height = features.image_size
    total = float(features.scores.sum(dtype=np.float64))
    if total <= 0:
        return []
    squares = region_grid(height, width, rules.grid_levels).astype(np.float64)
    areas = (squares[:, 2] - squares[:, 0]) * (squares[:, 3] - squares[:, 1])
    attention = inside(features.keypoints, squares) @ features.scores.astype(np.float64)
    scores = attention / total - areas / (width * height)
    chosen: List[int] = []
    for number in np.argsort(-np.round(scores, 9), kind="stable").tolist():
        if scores[number] <= 1e-9 or len(chosen) == rules.max_boxes:
            break
        if not chosen or overlaps(squares[number], squares[chosen]).max() <= rules.box_iou:
            chosen.append(number)
    return [Box(*squares[number], round(scores[number], 6)) for number in chosen]


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[B] intersection over union of a box [4] with others [B, 4]."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    area, areas = (box[2:] - box[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(axis=1)
    return shared / (area + areas - shared)


def propose_boxes(features: PathLike, output: PathLike, rules: ProposalRules, overwrite: bool = False) -> Path:
    """Propose boxes of every photo of a feature file, and write the table; ``OUTPUT.json`` says how it was made.

    A table of the same features and rules is kept.

    Args:
        features: feature file with local features.
        output: table to write (.csv), see ``boxes``.
        rules: see ``ProposalRules``.
        overwrite: another file at ``output`` may be replaced.

    Raises:
        UserError: no local features or scores that are all equal, bad rules, or another file stands at ``output``.
    """
    output = Path(output)
    if output.suffix.lower() != ".csv":
        raise UserError(f"{output}: the name of a table of boxes must end in .csv (`output`)")
    with FeatureFile(features, "features") as source:
        made = part_of(source.provenance, LOCAL)
        sources = {"features": sha256_of(features)}
        wanted = dataclasses.replace(made, settings={**made.settings, **rules._asdict()}, sources=sources, notes={})
        if is_made(output, wanted, lambda path: made_with(path, FORMAT_VERSION, "propose_boxes", _AGAIN), overwrite):
            return output
        _write(output, wanted, source, rules)
    return output


def _write(output: Path, provenance: Provenance, source: FeatureFile, rules: ProposalRules) -> None:
    """The record first: a run killed between both is taken up again, as the table is not there yet."""
    found, even = [], True
    for name in tqdm(source.names, desc="propose", unit="photo", disable=None):
        photo = source.read(name)
        even = even and bool((photo.scores == photo.scores[:1]).all())
        found.append((name, propose_for_photo(photo, rules)))
    if even:
        fact = "its scores do not differ within any photo, so they say nothing of where to look"
        raise UserError(f"{source.path}: {fact}; extract with a trained attention")
    table = encode_boxes(found)
    record = {"sha256": hashlib.sha256(table).hexdigest(), "provenance": provenance.as_json()}
    write_sealed(beside(output), FORMAT_VERSION, record)
    atomic_write_bytes(output, table)
    logger.info("%s: %d boxes of %d photos", output, sum(len(boxes) for _, boxes in found), len(found))
