"""The score threshold that is saved beside a checkpoint, and found there by extraction."""

import json
import math
from pathlib import Path
from typing import Any, Dict, Optional

from ..artifacts import PathLike, require_file
from ..errors import UserError, reading

THRESHOLD_FILE = "score_threshold.json"


def threshold_path(checkpoint_path: PathLike) -> Path:
    """Where the threshold of a checkpoint is saved: in its folder."""
    return Path(checkpoint_path).parent / THRESHOLD_FILE


def saved_threshold(checkpoint_path: PathLike, weights: str) -> Optional[float]:
    """The threshold saved beside a checkpoint; None when there is none.

    Raises:
        UserError: the file is damaged, or was made for another checkpoint.
    """
    path = threshold_path(checkpoint_path)
    saved = read_saved(path)
    if saved is None:
        return None
    if saved["checkpoint_sha256"] != weights:
        raise UserError(
            f"{path}: made for checkpoint {saved['checkpoint_sha256'][:12]}..., not for {Path(checkpoint_path).name} "
            f"({weights[:12]}...); make it anew with the command choose_score_threshold (`save`, `overwrite`), "
            "delete it, or give `score_threshold`"
        )
    return float(saved["score_threshold"])


def read_saved(path: Path) -> Optional[Dict[str, Any]]:
    """The saved record, None when there is no file; UserError when it is damaged."""
    if not path.exists():
        return None
    require_file(path, "saved score threshold")
    with reading(path, "delete it, or make it anew with the command choose_score_threshold (`save`, `overwrite`)"):
        saved = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(saved["checkpoint_sha256"], str) or not 0 <= float(saved["score_threshold"]) < math.inf:
            raise ValueError("checkpoint_sha256 is no text, or score_threshold no number of 0 or more")
        return saved
