"""The file of a learned matcher (.npz): its weights, and which descriptors it is for."""

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, Mapping

import numpy as np

from ..arrays import read_arrays
from ..artifacts import PathLike, atomic_stream, require_file
from ..errors import UserError, reading
from ..features.heads import identity_of
from ..features.kinds import LOCAL, part_of
from ..records import Provenance
from .matcher import Matcher

_FORMAT_VERSION = 1
_FIX = "make one with the command train_matcher"


def save_matcher(path: PathLike, matcher: Matcher) -> None:
    """Write an .npz file atomically: the weights by their names, and ``header``, JSON with a checksum."""
    header = {
        "format_version": _FORMAT_VERSION,
        "num_descriptors": matcher.num_descriptors,
        "provenance": matcher.provenance.as_json(),
    }
    header["checksum"] = _checksum(header, matcher.weights)
    with atomic_stream(path) as stream:
        np.savez(stream, header=np.array(json.dumps(header)), **matcher.weights)


def load_matcher(path: PathLike, name: str = "matcher_path") -> Matcher:
    """Read a file of ``save_matcher``.

    Args:
        path: the file.
        name: of the argument that gave ``path``, for messages.

    Raises:
        UserError: no such file, no matcher, or a damaged one.
    """
    stored = read_arrays(require_file(path, name), _FIX)
    if "header" not in stored:
        raise UserError(f"{path}: not a matcher (it holds {', '.join(sorted(stored)[:10]) or 'nothing'}); {_FIX}")
    with reading(Path(path), _FIX):
        header = json.loads(str(stored.pop("header")))
        if header["format_version"] != _FORMAT_VERSION:
            raise UserError(f"{path}: format {header['format_version']}, this program reads {_FORMAT_VERSION}; {_FIX}")
        if header.pop("checksum") != _checksum(header, stored):
            raise ValueError("its checksum differs")
        return Matcher(stored, header["num_descriptors"], Provenance.from_json(header["provenance"]))


def _checksum(header: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> str:
    values: Dict[str, Any] = dict(header)
    told = json.dumps({**values, "names": sorted(weights)}, sort_keys=True)
    return hashlib.sha256(f"{told} {identity_of(*(weights[name] for name in sorted(weights)))}".encode()).hexdigest()


def fitting_matcher(path: PathLike, features: Provenance) -> Matcher:
    """The matcher at ``path`` for features that are made as ``features`` says.

    Raises:
        UserError: as of ``load_matcher``, or it was trained on descriptors of another network or PCA.
    """
    matcher = load_matcher(path)
    different = matcher.provenance.differences(part_of(features, LOCAL), ("weights", "encoder"))
    if different:
        fact = f"trained on descriptors made otherwise ({', '.join(different)})"
        raise UserError(f"{path}: {fact}; train one on such as these with the command train_matcher")
    return matcher
