"""The attention score below which a model's features are left out, saved beside its checkpoint.

The scale of the scores is a property of a trained model, so a threshold never travels from one checkpoint to another.
"""

import json
from pathlib import Path
from typing import Any, Dict, Optional

from ..artifacts import PathLike, atomic_write_json
from ..errors import UserError

FILE_NAME = "score_threshold.json"


def threshold_path(checkpoint_path: PathLike) -> Path:
    """Where the threshold of a checkpoint is saved: in its folder."""
    return Path(checkpoint_path).parent / FILE_NAME


def saved_threshold(checkpoint_path: PathLike, checkpoint_sha256: str) -> Optional[float]:
    """The threshold saved beside a checkpoint; None when there is none.

    Raises:
        UserError: the file is damaged, or was made for another checkpoint.
    """
    path = threshold_path(checkpoint_path)
    saved = read_saved(path)
    if saved is None:
        return None
    if saved["checkpoint_sha256"] != checkpoint_sha256:
        raise UserError(
            f"{path}: made for checkpoint {saved['checkpoint_sha256'][:12]}..., not for {Path(checkpoint_path).name} "
            f"({checkpoint_sha256[:12]}...); make it anew with tools/choose_score_threshold.py `save` `overwrite`, "
            "delete it, or give `score_threshold`"
        )
    return float(saved["score_threshold"])


def read_saved(path: Path) -> Optional[Dict[str, Any]]:
    """The saved record, None when there is no file; UserError when it is damaged."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(saved["checkpoint_sha256"], str) or not float(saved["score_threshold"]) >= 0:
            raise ValueError("checkpoint_sha256 is no text or score_threshold no number of 0 or more")
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(
            f"{path}: not a saved score threshold ({error}); delete it, or make it anew with "
            "tools/choose_score_threshold.py `save` `overwrite`"
        ) from error
    return saved


def save_threshold(checkpoint_path: PathLike, record: Dict[str, Any], overwrite: bool) -> Path:
    """Save ``record`` (checkpoint_sha256, score_threshold, features_per_photo, num_photos) beside a checkpoint.

    Raises:
        UserError: another threshold is saved there.
    """
    path = threshold_path(checkpoint_path)
    if not overwrite and read_saved(path) not in (None, record):
        raise UserError(f"{path}: another threshold is saved there; give `overwrite` to replace it")
    atomic_write_json(path, record)
    return path
