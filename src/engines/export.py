"""Write a checkpoint's network as ONNX or MindIR, and check what was written against the network as it was trained."""

import logging
import os
from pathlib import Path
from typing import Dict, List, NamedTuple

import numpy as np

from ..artifacts import PathLike, atomic_path
from ..config import Config
from ..errors import UserError
from ..features.pca_choice import fitting_pca
from . import Model, metadata
from .choose import NAMES, installed_engines, open_model, resolve_engine
from .identity import describe_export, weights_sha256
from .onnx_graph import build_onnx

logger = logging.getLogger(__name__)

SUFFIX_OF_FORMAT = {"ONNX": ".onnx", "MINDIR": ".mindir"}
SIZES = ((97, 129), (321, 321), (768, 1024))  # height, width: odd and even sides
BATCHES = (1, 2)
TOLERANCE = 1e-3  # of the largest number of an output


class Difference(NamedTuple):
    """The largest differences between an export and the trained network, relative to the largest number."""

    engine: str
    batch: int
    height: int
    width: int
    feature_map: float
    attention: float


def export_model(config: Config, output: Path, file_format: str, pca_path: PathLike = "") -> List[Difference]:
    """Write ``output`` and return how far it is from the network as trained; a finished one is only checked.

    Args:
        config: recipe; ``checkpoint_path`` is a checkpoint.
        output: file to write, with the suffix of the format.
        file_format: "ONNX" or "MINDIR".
        pca_path: PCA for the file to carry; '' = none.

    Raises:
        UserError: unusable checkpoint, another export at ``output``, nothing that could run it, or a difference above
            ``TOLERANCE``, in which case nothing is written.
    """
    if output.suffix.lower() != SUFFIX_OF_FORMAT[file_format]:
        raise UserError(f"`output` {output}: the name of a {file_format} file ends in {SUFFIX_OF_FORMAT[file_format]}")
    if metadata.is_export(config.checkpoint_path):
        raise UserError(f"{config.checkpoint_path}: an export already; give the checkpoint it was made from")
    checkpoint_sha256 = weights_sha256(config.checkpoint_path)
    pca = fitting_pca(config.replace(pca_path=str(pca_path)), checkpoint_sha256) if pca_path else None
    texts = describe_export(checkpoint_sha256, pca)
    finished = output.exists() and not config.overwrite
    if finished and metadata.read(output) != texts:
        raise UserError(f"{output}: another checkpoint's export, or with another PCA; replace it with `overwrite`")
    from .mindspore_engine import open_trained_model

    trained = open_trained_model(config.replace(device_target="CPU"))
    if finished:
        logger.info("%s: already made", output)
        return _check(output, trained)
    with atomic_path(output) as temporary:
        _write(config, temporary, file_format)
        with open(temporary, "ab") as stream:
            stream.write(metadata.encode(texts))
        return _check(temporary, trained)


def _write(config: Config, path: Path, file_format: str) -> None:
    import mindspore as ms

    from .mindspore_engine import ANY_SIZE, FoldedDelf, folded_weights

    weights = folded_weights(config)
    if file_format == "ONNX":
        path.write_bytes(build_onnx(weights))
        return
    image = ms.Tensor(shape=ANY_SIZE, dtype=ms.float32)
    ms.export(FoldedDelf(weights), image, file_name=str(path), file_format="MINDIR")
    os.chmod(path, 0o644)  # MindSpore leaves it read-only, and unreadable for others


def _check(path: Path, trained: Model) -> List[Difference]:
    """Run the file on random images; UserError when it differs."""
    images = np.random.default_rng(0).uniform(-1, 1, (max(BATCHES), 3, *SIZES[-1])).astype(np.float32)
    models = _reload(path)
    differences = []
    for batch in BATCHES:
        for height, width in SIZES:
            image = np.ascontiguousarray(images[:batch, :, :height, :width])
            expected = trained(image)
            for engine, model in models.items():
                pairs = zip(model(image), expected)
                relative = [float(np.abs(value - true).max() / np.abs(true).max()) for value, true in pairs]
                differences.append(Difference(engine, batch, height, width, *relative))
    for found in differences:
        if not (found.feature_map <= TOLERANCE and found.attention <= TOLERANCE):
            raise UserError(f"{path.name} differs from the checkpoint by more than {TOLERANCE}: {found}; do not use it")
    return differences


def _reload(path: Path) -> Dict[str, Model]:
    """The file in every installed engine that runs it, by the engine's name."""
    config = Config(checkpoint_path=str(path), device_target="CPU")
    engines = installed_engines(config) or [resolve_engine(config).engine]  # which says what to install
    return {NAMES[engine]: open_model(config.replace(engine=engine)) for engine in engines}
