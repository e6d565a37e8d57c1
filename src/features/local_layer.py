"""The linear layer that makes local descriptors of the network's features: of DELG's weights or HOW's."""

import json
from typing import Dict, Optional, Tuple

from ..engines import DELF_OUTPUTS, export_texts
from ..errors import reading
from ..model.own_head import ENCODER
from ..model.weight_files import holds, read_weights
from .heads import Linear

LAYER_TEXT = "local_layer"  # name of the text in an exported network that holds it
_HOW_TEXT = "local_features"  # of the text that says whose they are where they are HOW's
_HOW = "how"
_REDUCTIONS = ("reduction", "dim_reduction", "whiten")  # HOW's here, in its program's files, in older ones of these


def is_how(path: str) -> bool:
    """Whether the weights, or an export, are HOW's, whose local features are chosen by their norms.

    Raises:
        UserError: a damaged file.
    """
    texts = export_texts(path)
    return texts.get(_HOW_TEXT) == _HOW if texts else _reduction(path) is not None


def local_layer(path: str) -> Optional[Linear]:
    """The layer that the weights, or an export, bring; None for DELF's, whose descriptors are the features themselves.

    Raises:
        UserError: a damaged file.
    """
    texts = export_texts(path)
    if LAYER_TEXT in texts:
        with reading(path, "export it again"):
            return Linear.from_texts(json.loads(texts[LAYER_TEXT]))
    if texts:
        return None
    return _layer(path, ENCODER) if holds(path, ENCODER) else _reduction(path)


def local_outputs(path: str) -> Tuple[str, ...]:
    """What a network has to give for the local features of its weights; errors as of ``is_how``."""
    return ("feature_map",) if is_how(path) else DELF_OUTPUTS


def layer_text(layer: Linear) -> str:
    """The text that carries it in an exported network."""
    return json.dumps(layer.as_texts())


def local_texts(path: str) -> Dict[str, str]:
    """The texts by which an export gives the same local features as the weights; {} for DELF's."""
    layer = local_layer(path)
    if layer is None:
        return {}
    return {LAYER_TEXT: layer_text(layer), **({_HOW_TEXT: _HOW} if is_how(path) else {})}


def _reduction(path: str) -> Optional[Linear]:
    """HOW's layer; cirtorch has a ``whiten`` too, which is no convolution."""
    weight = next((f"{name}.weight" for name in _REDUCTIONS if holds(path, f"{name}.weight")), None)
    if weight is None or read_weights(path)[weight].ndim != 4:
        return None
    return _layer(path, weight)


def _layer(path: str, weight: str) -> Linear:
    """Of a 1x1 convolution."""
    stored = read_weights(path)
    with reading(path):
        return Linear(stored[weight][:, :, 0, 0], stored[weight.replace("weight", "bias")])
