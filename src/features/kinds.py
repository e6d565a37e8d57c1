"""Local features and global descriptors in one file: what of its provenance is which one's.

An encoder of both writes the settings of both side by side, under names that do not meet, so that each kind can be
compared with that of a file that holds it alone.
"""

import dataclasses
from typing import Any, Dict, Mapping

from ..records import Provenance

LOCAL, GLOBAL, BOTH = "local", "global", "both"
KINDS = (LOCAL, GLOBAL, BOTH)
_NAMES = {LOCAL: "delf", GLOBAL: "global", BOTH: "delf and global"}
_SHARED = (
    "architecture", "weights_style", "precision", "engine", "use_square_images", "max_image_size", "min_image_size",
    "resize_factor", "half",
)  # fmt: skip
_LOCAL = (
    "pca", "pca_dim", "use_whitening", "image_scales", "max_feature_num", "score_threshold", "iou_threshold", "binary",
)  # fmt: skip


def joined(local: Provenance, of_global: Provenance) -> Provenance:
    """The provenance of a file that holds both kinds, extracted in one pass."""
    encoder = {**local.encoder, **of_global.encoder, "name": _NAMES[BOTH]}
    settings, notes = {**local.settings, **of_global.settings}, {**local.notes, **of_global.notes}
    return dataclasses.replace(local, encoder=encoder, settings=settings, notes=notes)


def part_of(provenance: Provenance, kind: str) -> Provenance:
    """The provenance of one kind in a file of both, as a file of that kind alone has it; any other as it is.

    Args:
        provenance: of a feature file.
        kind: LOCAL or GLOBAL.
    """
    if provenance.encoder.get("name") != _NAMES[BOTH]:
        return provenance
    encoder = {**_part(provenance.encoder, kind), "name": _NAMES[kind]}
    return dataclasses.replace(provenance, encoder=encoder, settings=_part(provenance.settings, kind))


def _part(values: Mapping[str, Any], kind: str) -> Dict[str, Any]:
    own = {name: value for name, value in values.items() if name in _SHARED or (name in _LOCAL) == (kind == LOCAL)}
    if kind == GLOBAL and "half" in own:
        own["half"] = False  # it stores local features alone
    return own
