"""Ground truth of the gnd_*.mat files: the revisited and classic twins of the pickles, and INSTRE (Iscen et al.)."""

import logging
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from ..errors import UserError
from .truth import KIND_LISTS, GroundTruth, numbered_truth

_VARIABLES = ("imlist", "qimlist", "gnd")

logger = logging.getLogger(__name__)


def read_mat(file: Path) -> GroundTruth:
    """Read the cell arrays imlist and qimlist and the structs gnd of a MATLAB file; numbers count from 1.

    A list that gnd has no field for is taken as empty, with a warning. A box is x1, y1, x2, y2; INSTRE's is x, y,
    width, height.

    Raises:
        UserError: the file cannot be read, is of MATLAB 7.3 (HDF5), or is not as described.
    """
    from scipy.io import loadmat  # slow to import

    try:
        content = loadmat(file, variable_names=_VARIABLES)
        missing = [variable for variable in _VARIABLES if variable not in content]
        if missing:
            raise UserError(f"{file}: not a ground truth: it has no {missing[0]} (of {', '.join(_VARIABLES)})")
        index, queries = (_cell_names(content[variable]) for variable in ("imlist", "qimlist"))
        truths = [_query_truth(struct) for struct in content["gnd"].reshape(-1)]
        _fill_lists(file, truths)
        return numbered_truth(str(file), file.stem, index, queries, truths)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from error
    except NotImplementedError as error:  # how SciPy answers HDF5
        raise UserError(
            f"{file}: a MATLAB 7.3 file; save it with MATLAB's save(..., '-v7'), or give the .pkl"
        ) from error
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{file}: not a ground truth in MATLAB's format: {error!r}") from error


def _cell_names(cells: np.ndarray) -> List[str]:
    """Texts of a cell array, a row or a column."""
    return [str(cell[0]) for cell in cells.reshape(-1)]


def _query_truth(struct: Any) -> Dict[str, np.ndarray]:
    """One query's fields, named and counted as ``numbered_truth`` takes them."""
    if isinstance(struct, np.ndarray):  # gnd is a cell array of structs, not a struct array
        struct = struct.reshape(-1)[0]
    fields = struct.dtype.names
    values = {field: np.asarray(struct[field], dtype=np.float64).reshape(-1) for field in fields}
    if {"easy", "hard", "junk"} & set(fields):
        truth = {label: values[label] - 1 for label in fields if label != "bbx"}
        return {**truth, "bbx": values["bbx"]} if "bbx" in fields else truth
    positive, box = (values[field] for field in fields[:2])  # INSTRE, whose readers go by the place of a field
    return {"positive": positive - 1, "bbx": np.concatenate([box[:2], box[:2] + box[2:]])}


def _fill_lists(file: Path, truths: List[Dict[str, np.ndarray]]) -> None:
    """Add empty lists for those that no struct, or not every struct, has a field for."""
    if any("positive" in truth for truth in truths):
        return
    graded = any({"easy", "hard"} & set(truth) for truth in truths)
    for label in KIND_LISTS["revisited" if graded else "classic"]:
        lacking = [truth for truth in truths if label not in truth]
        for truth in lacking:
            truth[label] = np.zeros(0)
        if lacking:
            logger.warning("%s: %d queries have no field %s: taken as empty", file, len(lacking), label)
