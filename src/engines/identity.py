"""Which checkpoint a file of weights stands for, and the PCA it may carry."""

import base64
import json
from typing import Dict, Optional

import numpy as np

from ..artifacts import PathLike, require_file, sha256_of
from ..errors import UserError
from ..features.keypoints import PADDING, RECEPTIVE_FIELD, STRIDE
from ..features.pca import Pca
from ..features.pyramid import PIXEL_OFFSET, PIXEL_SCALE
from . import metadata

CHECKPOINT_KEY, PCA_KEY = "checkpoint_sha256", "pca"
_ARRAYS = ("mean", "components", "variances")


def weights_sha256(path: PathLike) -> str:
    """SHA-256 in hex of the checkpoint that ``path`` is, or that the export ``path`` (.onnx, .mindir) was made from.

    Features and PCA made with an export so belong to its checkpoint.

    Raises:
        UserError: no such file, or an export that does not say what it was made from.
    """
    path = require_file(path, "checkpoint_path")
    if not metadata.is_export(path):
        return sha256_of(path)
    origin = metadata.read(path).get(CHECKPOINT_KEY)
    if origin is None:
        raise UserError(f"{path}: does not say which checkpoint it was made from; export with tools/export_model.py")
    return origin


def embedded_pca(path: PathLike) -> Optional[Pca]:
    """The PCA that an export carries; None when it carries none, or ``path`` is a checkpoint.

    Raises:
        UserError: no such file, or a damaged export.
    """
    path = require_file(path, "checkpoint_path")
    text = metadata.read(path).get(PCA_KEY) if metadata.is_export(path) else None
    if text is None:
        return None
    try:
        stored = json.loads(text)
        mean, components, variances = (np.frombuffer(base64.b64decode(stored[name]), "<f4") for name in _ARRAYS)
        return Pca(mean, components.reshape(len(variances), len(mean)), variances, stored["provenance"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: its PCA is damaged ({error}); export it again") from error


def describe_export(checkpoint_sha256: str, pca: Optional[Pca] = None) -> Dict[str, str]:
    """The texts of an export's metadata: what it takes and gives, and what ``weights_sha256`` and the PCA need."""
    texts = {
        CHECKPOINT_KEY: checkpoint_sha256,
        "input": f"image [batch, 3, height, width] float32, RGB, (value - {PIXEL_OFFSET:g}) / {PIXEL_SCALE:g}",
        "outputs": "feature_map [batch, 1024, rows, columns], attention [batch, 1, rows, columns] above 0; float32",
        "receptive_field": str(RECEPTIVE_FIELD),
        "stride": str(STRIDE),
        "padding": str(PADDING),
    }
    if pca is not None:
        stored = {name: base64.b64encode(getattr(pca, name).astype("<f4").tobytes()).decode() for name in _ARRAYS}
        texts[PCA_KEY] = json.dumps({**stored, "provenance": pca.provenance})
    return texts
