"""DELG's local descriptors: codes of its autoencoder, a linear layer on the features that the attention has chosen."""

import json
from typing import Optional

from ..engines import export_texts
from ..errors import reading
from ..model.own_head import ENCODER
from ..model.weight_files import holds, read_weights
from .heads import Linear

LAYER_TEXT = "local_layer"  # name of the text in an exported network that holds it
_BIAS = ENCODER.replace("weight", "bias")


def local_layer(path: str) -> Optional[Linear]:
    """The layer that the weights, or an export, bring; None for DELF's, whose descriptors are the features themselves.

    Raises:
        UserError: a damaged file.
    """
    texts = export_texts(path)
    if LAYER_TEXT in texts:
        with reading(path, "export it again"):
            return Linear.from_texts(json.loads(texts[LAYER_TEXT]))
    if texts or not holds(path, ENCODER):
        return None
    stored = read_weights(path)
    with reading(path):
        return Linear(stored[ENCODER][:, :, 0, 0], stored[_BIAS])


def layer_text(layer: Linear) -> str:
    """The text that carries it in an exported network."""
    return json.dumps(layer.as_texts())
