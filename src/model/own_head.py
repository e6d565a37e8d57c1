"""What a checkpoint of this project says of its global descriptor: pooling, GeM's power, the layer after it.

The names are those of ``training/global_network.py`` and ``training/region_network.py``.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

from ..artifacts import PathLike
from ..errors import reading
from .checkpoint_file import is_checkpoint, read_tensors_and_texts, require_weights

DESCRIPTOR_TEXT = "descriptor"  # name of the text: JSON of keys of the section ``descriptor``
_FIX = "give a whole checkpoint of the command train"
_POWER = "descriptor_head.pooling.p"
_HEADS = ("fc", "whiten")
ENCODER = "autoencoder.encoder.weight"  # DELG's: where it is, local descriptors are its codes
_ATTENTION = {
    "w1": "regional_attention.hidden.weight",
    "b1": "regional_attention.hidden.bias",
    "w2": "regional_attention.score.weight",
    "b2": "regional_attention.score.bias",
}


@dataclass(frozen=True, eq=False)
class OwnHead:
    """What follows the last map.

    Attributes:
        said: keys of the section ``descriptor`` and their values, as the text has them; {} where there is none.
        gem_p: power of GeM, [1] or [C]; None = none.
        head: "fc", "whiten" or "none".
        layer: weight [D, C] and bias [D] of ``head``.
        attention: w1, b1, w2 and b2 of the attention of regions; {} = none.
    """

    said: Mapping[str, Any] = field(default_factory=dict)
    gem_p: Optional[np.ndarray] = None
    head: str = "none"
    layer: Optional[Tuple[np.ndarray, np.ndarray]] = None
    attention: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_own_head(path: PathLike) -> OwnHead:
    """What a checkpoint of this project says; nothing for any other file.

    Raises:
        UserError: a damaged one.
    """
    path = require_weights(path, "checkpoint_path")
    if not is_checkpoint(path):
        return OwnHead()
    tensors, texts = read_tensors_and_texts(path, _FIX)
    head = next((name for name in _HEADS if f"descriptor_head.{name}.weight" in tensors), "none")
    with reading(path, _FIX):
        layer = None
        if head != "none":
            layer = (tensors[f"descriptor_head.{head}.weight"], tensors[f"descriptor_head.{head}.bias"])
        attention = {}
        if _ATTENTION["w1"] in tensors:
            attention = {ours: tensors[name] for ours, name in _ATTENTION.items()}
        return OwnHead(_said(texts), tensors.get(_POWER), head, layer, attention)


def _said(texts: Mapping[str, str]) -> Dict[str, Any]:
    if DESCRIPTOR_TEXT not in texts:
        return {}
    said = json.loads(texts[DESCRIPTOR_TEXT])
    if not isinstance(said, dict):
        raise ValueError(f"its text {DESCRIPTOR_TEXT} is no table")
    return said
