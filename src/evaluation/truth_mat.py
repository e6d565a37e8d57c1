"""Variables of a MATLAB file, read in a process of its own, as SciPy may crash or take all memory on a damaged one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

from ..errors import UserError

_READER = Path(__file__).with_name("mat_reader.py")
_PATIENCE = 120  # seconds; the reader itself stops after a few of a processor's
_FIX = "give a .mat of imlist, qimlist, gnd, or the .pkl"
_FACTS = {
    "hdf5": "a MATLAB 7.3 file; save it with MATLAB's save(..., '-v7'), or give the .pkl",
    "": f"not a ground truth: damaged, or of another form; {_FIX}",
}


def read_variables(file: Path, data: bytes) -> Dict[str, Any]:
    """The variables in ``data``, the bytes of ``file``.

    Returns:
        The cell arrays imlist and qimlist as lists of texts, the structs gnd as lists of (field, numbers) in order.

    Raises:
        UserError: the file is damaged, of MATLAB 7.3 (HDF5), lacks a variable, or is not as described.
    """
    quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # each thread would take address space
    try:
        done = subprocess.run(
            [sys.executable, str(_READER)], input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=_PATIENCE, env={**os.environ, **quiet},
        )  # fmt: skip
        answer = json.loads(done.stdout) if done.returncode == 0 else {"error": ""}
    except (subprocess.TimeoutExpired, ValueError):
        answer = {"error": ""}
    if "error" in answer:
        raise UserError(f"{file}: {_FACTS.get(answer['error'], answer['error'])}")
    return answer
