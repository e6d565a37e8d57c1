"""The ONNX model of a checkpoint, kept in the user's cache folder."""

import logging
import os
from pathlib import Path

from ..artifacts import atomic_write_bytes
from ..config import Config
from ..errors import UserError
from . import metadata
from .identity import describe_export, weights_sha256
from .onnx_graph import build_onnx

logger = logging.getLogger(__name__)

GRAPH_VERSION = 1  # goes up with every change of what is written
KEPT = 8  # files of about 36 MB


def cached_onnx(config: Config) -> Path:
    """The ONNX file of the checkpoint ``config.checkpoint_path``; written when the cache does not hold it.

    Several processes may ask at once: each writes a whole file of its own and renames it into place. Only writing
    needs MindSpore. The files used longest ago are deleted.

    Raises:
        UserError: not a checkpoint with an attention.
    """
    sha256 = weights_sha256(config.checkpoint_path)
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "delf"
    path = folder / f"{sha256}-v{GRAPH_VERSION}.onnx"
    if path.exists():
        os.utime(path)
        return path
    try:
        from .mindspore_engine import folded_weights  # imports MindSpore, which must come before onnx
    except ModuleNotFoundError as error:
        raise UserError(
            f"{config.checkpoint_path}: only MindSpore reads checkpoints, and {error.name} is not installed; "
            "export it to ONNX with tools/export_model.py where it is"
        ) from error
    atomic_write_bytes(path, build_onnx(folded_weights(config)) + metadata.encode(describe_export(sha256)))
    logger.info("wrote %s", path)
    _delete_old(folder)
    return path


def _delete_old(folder: Path) -> None:
    def last_used(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except FileNotFoundError:  # another process has just deleted it
            return 0.0

    for path in sorted(folder.glob("*.onnx"), key=last_used)[:-KEPT]:
        path.unlink(missing_ok=True)
