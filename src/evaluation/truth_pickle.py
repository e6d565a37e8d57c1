"""Ground truth of the gnd_*.pkl files, classic and revisited (Radenovic et al.)."""

import codecs
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .truth import GroundTruth, numbered_truth

# All that a pickled array asks for. NumPy 2 renamed the module, so files of either version must load under either.
_ARRAY_PARTS = {"_reconstruct": np.zeros(1).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}
_ALLOWED = {
    **{(f"numpy.{core}.multiarray", name): part for core in ("core", "_core") for name, part in _ARRAY_PARTS.items()},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,  # protocol 2 writes an array's bytes as text
    ("__builtin__", "bytes"): bytes,  # or as bytes() when there are none
}


class _PlainUnpickler(pickle.Unpickler):
    """Loads plain containers, numbers, text and NumPy arrays; a pickle can name nothing else, so it can run nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no ground truth needs")
        return _ALLOWED[module, name]


def read_pickle(file: Path) -> GroundTruth:
    """Read a dictionary of imlist, qimlist and gnd; numbers count from 0.

    Raises:
        UserError: the file cannot be read, asks to run code, or is not as described.
    """
    try:
        content = _PlainUnpickler(io.BytesIO(file.read_bytes()), encoding="latin1").load()
        return numbered_truth(str(file), file.stem, content["imlist"], content["qimlist"], list(content["gnd"]))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    except UserError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"{file}: not a ground truth (a dict of imlist, qimlist and gnd): {error!r}") from error
