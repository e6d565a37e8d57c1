"""The ranking file: a ``.npz`` with a Ranking and how it was made. Other programs may write one too."""

import json
import zipfile
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

import numpy as np

from ..artifacts import PathLike, atomic_path, require_file
from ..errors import UserError
from ..records import Ranking

_ARRAYS = ("query_names", "index_names", "ranks", "scores")


def save_ranking(path: PathLike, ranking: Ranking, provenance: Mapping[str, Any]) -> Path:
    """Write ``ranking`` atomically.

    Args:
        path: ``.npz`` file to write.
        ranking: what to write.
        provenance: how it was made (settings, ``checkpoint_sha256`` ...); plain values that JSON can hold.

    Returns:
        ``path``.

    Raises:
        UserError: ``path`` does not end in .npz.
    """
    if Path(path).suffix != ".npz":
        raise UserError(f"{path}: a ranking is a .npz file; give `output` a name that ends in .npz")
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            query_names=np.array(ranking.query_names, dtype=np.str_),
            index_names=np.array(ranking.index_names, dtype=np.str_),
            ranks=ranking.ranks,
            scores=ranking.scores,
            provenance=np.array(json.dumps(provenance, sort_keys=True)),
        )
    return Path(path)


def load_ranking(path: PathLike) -> Tuple[Ranking, Dict[str, Any]]:
    """Read a ranking and its provenance ({} when the file holds none).

    Raises:
        UserError: no such file, or not a ranking.
    """
    require_file(path, "ranks")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ranking = Ranking(*(arrays[name] for name in _ARRAYS))
            provenance = json.loads(str(arrays["provenance"])) if "provenance" in arrays else {}
    except KeyError as error:
        raise UserError(f"{path}: not a ranking ({error.args[0]}); it must hold {', '.join(_ARRAYS)}") from error
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a ranking: {error}; make it again with eval/perform_retrieval.py") from error
    return ranking, provenance
