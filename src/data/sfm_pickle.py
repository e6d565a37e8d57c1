"""The pickles of retrieval-SfM (Radenovic et al., TPAMI 2018): photos, their 3D models, pairs of query and positive."""

from pathlib import Path
from typing import Any, List, NamedTuple, Optional

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError, printable
from ..outside import read_bounded
from ..pickle_reader import load_plain
from ..pickle_values import PickleFault

_FIX = "give retrieval-SfM-120k.pkl, or one of its form"


class SfmPairs(NamedTuple):
    """What such a file holds.

    Attributes:
        cids: [N] names of the photos.
        clusters: [N] int64, 3D model of each photo; None = the file has none (those for whitening).
        pairs: [M, 2] int64, numbers of query and positive.
    """

    cids: List[str]
    clusters: Optional[np.ndarray]
    pairs: np.ndarray


def read_sfm_pickle(path: PathLike, name: str = "pairs") -> SfmPairs:
    """Read ``cids, cluster, qidxs, pidxs`` of a file, or of its part ``train`` where it has parts.

    Args:
        path: such as retrieval-SfM-120k.pkl, or retrieval-SfM-120k-whiten.pkl, which has no ``cluster``.
        name: of the argument that gave ``path``, for messages.

    Raises:
        UserError: no such file, one that asks to run code, or is not as described.
    """
    data = read_bounded(path, name)
    try:
        content = load_plain(data)
        part = content.get("train", content)
        missing = [key for key in ("cids", "qidxs", "pidxs") if key not in part.keys()]
    except PickleFault as error:
        raise UserError(f"{path}: no pairs of retrieval-SfM: {printable(str(error))}; {_FIX}") from error
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"{path}: no pairs of retrieval-SfM: damaged, or of another form; {_FIX}") from error
    if missing:
        raise UserError(f"{path}: no pairs of retrieval-SfM: no {missing[0]} in it; {_FIX}")
    cids = part["cids"]
    if not isinstance(cids, list) or not all(isinstance(cid, str) and cid for cid in cids):
        raise UserError(f"{path}: cids holds something that is no name; {_FIX}")
    clusters = None
    if "cluster" in part:
        clusters = _numbers(Path(path), "cluster", part["cluster"])
        if len(clusters) != len(cids):
            raise UserError(f"{path}: cluster has {len(clusters)} entries, cids {len(cids)}; {_FIX}")
    queries, positives = (_numbers(Path(path), key, part[key], len(cids)) for key in ("qidxs", "pidxs"))
    if len(queries) != len(positives):
        raise UserError(f"{path}: qidxs has {len(queries)} entries, pidxs {len(positives)}; {_FIX}")
    return SfmPairs(cids, clusters, np.stack([queries, positives], axis=1))


def _numbers(path: Path, key: str, values: Any, most: int = 2**31) -> np.ndarray:
    """[n] int64 of a list of whole numbers from 0 to below ``most``; UserError for anything else."""
    if not isinstance(values, list) or not all(map(_is_whole, values)):
        raise UserError(f"{path}: {key} holds something that is no whole number; {_FIX}")
    if not all(0 <= value < most for value in values):
        raise UserError(f"{path}: {key} holds a number outside 0 to {most - 1}; {_FIX}")
    return np.array(values, np.int64)


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())
