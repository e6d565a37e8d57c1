"""A program of its own, see ``truth_mat``: the .mat file on standard input becomes JSON on standard output."""

import os
import sys

if __name__ == "__main__":  # without this folder, whose modules may be called as a library's
    sys.path[:] = [folder for folder in sys.path if folder != os.path.dirname(os.path.abspath(__file__))]

import io
import json
import resource
from typing import Any, Dict, List

import numpy as np
from scipy.io import loadmat

VARIABLES = ("imlist", "qimlist", "gnd")
_LIMITS = {  # bytes of address space, the libraries' own among them; seconds; bytes
    resource.RLIMIT_AS: 2 * 2**30,
    resource.RLIMIT_CPU: 30,
    resource.RLIMIT_CORE: 0,
}
_MOST_TEXT = 2**27  # characters of the answer


def variables_of(data: bytes) -> Dict[str, Any]:
    """See ``truth_mat.read_variables``; 'error' and what is wrong where that is known, '' where it is not."""
    try:
        content = loadmat(io.BytesIO(data), variable_names=VARIABLES)
        missing = [variable for variable in VARIABLES if variable not in content]
        if missing:
            return {"error": f"not a ground truth: it has no {missing[0]} (of {', '.join(VARIABLES)})"}
        return {
            **{name: [_name(cell) for cell in content[name].reshape(-1)] for name in VARIABLES[:2]},
            "gnd": [_fields(struct) for struct in content["gnd"].reshape(-1)],
        }
    except NotImplementedError:  # how SciPy answers HDF5
        return {"error": "hdf5"}
    except Exception:  # a damaged file may raise anything
        return {"error": ""}


def _name(cell: np.ndarray) -> str:
    if cell.dtype.kind != "U":
        raise ValueError("a name is no text")
    return str(cell.reshape(-1)[0])


def _fields(struct: Any) -> List[Any]:
    if isinstance(struct, np.ndarray):  # gnd is a cell array of structs, not a struct array
        struct = struct.reshape(-1)[0]
    return [(name, np.asarray(struct[name], dtype=np.float64).reshape(-1).tolist()) for name in struct.dtype.names]


if __name__ == "__main__":
    for what, most in _LIMITS.items():
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    text = json.dumps(variables_of(sys.stdin.buffer.read()))
    sys.stdout.write(text if len(text) < _MOST_TEXT else '{"error": ""}')
