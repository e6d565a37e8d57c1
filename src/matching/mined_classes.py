"""The finished classes of a mining of pairs: a line of JSON each, so that a run that was stopped goes on from there."""

import json
import logging
import os
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from ..artifacts import digest

logger = logging.getLogger(__name__)

_FILE = "classes.jsonl"


class MinedClass(NamedTuple):
    """Of one class: how many pairs were looked at, and those verified, (photo_a, photo_b, inliers), sorted."""

    tried: int
    pairs: List[Tuple[str, str, int]]


class MinedClasses:
    """Those in a folder; a line that a killed run left unfinished, or that is damaged, ends what is taken over.

    Args:
        folder: of this run alone, see ``features.feature_parts.open_parts``.

    Attributes:
        found: by label.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self.found: Dict[str, MinedClass] = {}
        whole = 0
        if self._path.exists():
            with open(self._path, "rb") as stream:
                for line in stream:
                    read = _read(line)
                    if read is None:
                        logger.warning("%s: damaged after %d classes, which are kept", self._path, len(self.found))
                        break
                    self.found[read[0]] = read[1]
                    whole += len(line)
            os.truncate(self._path, whole)

    def add(self, label: str, mined: MinedClass) -> None:
        """Add a finished class."""
        record = {"label": label, "tried": mined.tried, "pairs": [list(pair) for pair in mined.pairs]}
        self.found[label] = mined
        with open(self._path, "ab") as stream:
            stream.write(json.dumps({**record, "checksum": digest(record)}).encode() + b"\n")


def _read(line: bytes) -> Optional[Tuple[str, MinedClass]]:
    """What a line holds; None where it is not whole."""
    try:
        record = json.loads(line)
        if not line.endswith(b"\n") or record.pop("checksum") != digest(record):
            return None
        pairs = [(a, b, inliers) for a, b, inliers in record["pairs"]]
        return record["label"], MinedClass(record["tried"], pairs)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
