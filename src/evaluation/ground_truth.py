"""Ground truth of a retrieval benchmark, from whatever it comes in."""

from pathlib import Path
from typing import Optional, Sequence

from ..artifacts import PathLike
from ..errors import UserError
from ..images import list_images
from .truth import Box, GroundTruth, QueryTruth
from .truth_mat import read_mat
from .truth_names import BY_NAMES
from .truth_pickle import read_pickle
from .truth_text import read_text_folder

__all__ = ["Box", "GroundTruth", "QueryTruth", "load_ground_truth"]

_READERS = {".pkl": read_pickle, ".mat": read_mat}
_EXPECTED = "give a folder with *_query.txt files, or a gnd_*.pkl or gnd_*.mat file"


def load_ground_truth(
    path: PathLike, protocol: Optional[str] = None, photo_names: Optional[Sequence[str]] = None
) -> GroundTruth:
    """Read a folder of Oxford / Paris text files, a ``gnd_*.pkl`` or a ``gnd_*.mat``.

    Protocols holidays and ukbench need none: their photos' names are the ground truth.

    Args:
        path: the folder or file; for holidays and ukbench the folder of photos, or '' for ``photo_names``.
        protocol: the protocol asked for, if any.
        photo_names: photos of the index.

    Raises:
        UserError: nothing there, no query in it, or a file that is not as expected.
    """
    if protocol in BY_NAMES and (str(path) or photo_names is not None):
        return BY_NAMES[protocol](list_images(path) if str(path) else photo_names)
    if not str(path):
        raise UserError(f"`gt_path` is not set: {_EXPECTED} (only `protocol` holidays and ukbench need none)")
    path = Path(path)
    if path.is_dir():
        return read_text_folder(path)
    if not path.exists():
        raise UserError(f"{path}: no such ground truth; {_EXPECTED}")
    if path.suffix.lower() not in _READERS:
        raise UserError(f"{path}: unknown ground truth; {_EXPECTED}")
    return _READERS[path.suffix.lower()](path)
