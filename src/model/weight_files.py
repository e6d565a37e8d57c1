"""Weight files of every format as arrays under this project's names, read without MindSpore and without PyTorch."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Dict, FrozenSet, Iterable, List, Tuple

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError, install_command, printable, reading
from ..outside import is_hdf5
from .architectures import Architecture, all_architectures
from .checkpoint_file import read_checkpoint, require_weights
from .foreign_head import require_fitting, state_of
from .foreign_names import is_foreign, renamed
from .keras_weights import read_keras_weights
from .torch_file import is_torch, read_torch

STEM = ("backbone.conv1.", "backbone.bn1.")
_TRAINING_STATE = (
    "moments.",
    "moment1.",
    "moment2.",
    "beta1_power",
    "beta2_power",
    "global_step",
    "learning_rate",
)  # what a checkpoint holds for resuming
_FORMATS = "give a whole MindSpore checkpoint, Keras .h5 file, PyTorch file or safetensors"
_FOREIGN_STYLE = "torchvision"  # of every foreign file but Keras's
_LARGEST = 1e9  # of a sound network's numbers; the largest, the variances of the first layer, are near 1e5
_LARGEST_HEADER = 2**24  # bytes of a safetensors file's list of tensors, some 100 a tensor


@dataclass(frozen=True, eq=False)
class WeightFile:
    """What a weight file holds.

    Attributes:
        tensors: by this project's names; those that no network here has keep their own.
        format: for messages.
        foreign: whether it is another library's: a backbone that has no attention.
    """

    tensors: Dict[str, np.ndarray]
    format: str
    foreign: bool


def read_weights(path: PathLike, load_stem: bool = True) -> Dict[str, np.ndarray]:
    """The tensors of ``read_weight_file``."""
    return read_weight_file(path, load_stem).tensors


def read_weight_file(path: PathLike, load_stem: bool = True) -> WeightFile:
    """Tensors of a file by name, without what a checkpoint holds for resuming.

    Args:
        path: Keras .h5 file (see ``read_keras_weights``), PyTorch file, MindSpore checkpoint or safetensors, of this
            project or with the names of ``foreign_names``: its first bytes and names tell.
        load_stem: False leaves conv1 out of an .h5 file, as the reference does.

    Raises:
        UserError: none of these, damaged, with numbers that no sound network has, or of a network that it says is
            another one.
    """
    path = require_weights(path, "checkpoint_path")
    file, content = _stored(path)
    for name, value in file.tensors.items():
        _require_sound(path, name, value)
    if content:
        fitting = [found for found in fitting_architectures(file.tensors) if found.style.name == _FOREIGN_STYLE]
        style = next(found.style for found in all_architectures() if found.style.name == _FOREIGN_STYLE)
        require_fitting(path, content, fitting[0].name if fitting else "", style)
    if file.format == "Keras" and not load_stem:
        stored = {name: value for name, value in file.tensors.items() if not name.startswith(STEM)}
        return replace(file, tensors=stored)
    return file


def _stored(path: Path) -> Tuple[WeightFile, Dict]:
    """What a file holds, and beside it what ``read_torch`` gives of a PyTorch file."""
    if is_hdf5(path):
        return WeightFile(read_keras_weights(path), "Keras", True), {}
    if is_torch(path):
        content = read_torch(path)
        return _with_own_names(path, state_of(content), "PyTorch"), content
    is_safe = _is_safetensors(path)
    stored = _read_safetensors(path) if is_safe else read_checkpoint(path, _FORMATS)
    stored = {name: value for name, value in stored.items() if not name.startswith(_TRAINING_STATE)}
    return _with_own_names(path, stored, "safetensors" if is_safe else "MindSpore"), {}


def _with_own_names(path: Path, stored: Dict[str, np.ndarray], format: str) -> WeightFile:
    if not is_foreign(stored):
        return WeightFile(stored, format, False)
    with reading(path, _FORMATS):
        return WeightFile(renamed(stored), format, True)


def is_foreign_file(path: PathLike) -> bool:
    """Whether a weight file is another library's, so that a network's attention has its initial values.

    A damaged one is none: it is told when its numbers are read.
    """
    try:
        return is_hdf5(path) or _names_and_origin(path)[1]
    except UserError:
        return False


def holds(path: PathLike, name: str) -> bool:
    """Whether a weight file, but an .h5 file, holds a tensor; for a damaged one as ``is_foreign_file``."""
    try:
        return not is_hdf5(path) and name in tensor_names(path)
    except UserError:
        return False


def tensor_names(path: PathLike) -> FrozenSet[str]:
    """Names of the tensors of ``read_weight_file``; a command may ask several times, and the file is read once.

    Raises:
        UserError: see ``read_weight_file``; the numbers are not judged.
    """
    return _names_and_origin(path)[0]


def _names_and_origin(path: PathLike) -> Tuple[FrozenSet[str], bool]:
    path = require_weights(path, "checkpoint_path")
    status = path.stat()
    return _kept(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _kept(path: Path, *_: int) -> Tuple[FrozenSet[str], bool]:
    """Names, and whether they are foreign, of the file in the state that the other arguments are."""
    file, _ = _stored(path)
    return frozenset(file.tensors), file.foreign


def fitting_architectures(names: Iterable[str]) -> List[Architecture]:
    """Those whose backbone, but for conv1, has just the parameters of these names; in either style if both do."""
    own = {name for name in names if name.startswith("backbone.") and not name.startswith(STEM)}
    return [
        found
        for found in all_architectures()
        if own == {name for name in found.backbone_shapes() if not name.startswith(STEM)}
    ]


def _require_sound(path: Path, name: str, value: np.ndarray) -> None:
    """UserError for numbers that are not finite, or absurdly large, for variances that are none and empty kernels."""
    if not value.size or value.dtype.kind not in "fiu":
        return
    low, high = float(value.min()), float(value.max())
    fix = "the file is damaged, or its training went wrong: give another"
    if not (-_LARGEST < low and high < _LARGEST):  # NaN is on neither side
        raise UserError(f"{path}: {printable(name)} holds {low if abs(low) > abs(high) else high:g}; {fix}")
    if name.endswith("moving_variance") and low <= 0:
        raise UserError(f"{path}: {printable(name)} holds {low:g}, and variances are above 0; {fix}")
    if name.startswith("backbone.") and value.ndim == 4 and low == high == 0:  # nothing of a photo passes
        raise UserError(f"{path}: {printable(name)} holds zeros alone; {fix}")


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors: the length of a JSON header as a little-endian 64-bit number, then it."""
    with open(path, "rb") as stream:
        start = stream.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _read_safetensors(path: Path) -> Dict[str, np.ndarray]:
    try:
        from safetensors import numpy as safetensors
    except ImportError as error:
        raise UserError(
            f"{path}: safetensors files need a library that is not installed: run {install_command('extras')}"
        ) from error
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > _LARGEST_HEADER:
        raise UserError(f"{path}: damaged (a list of tensors of {length} bytes); give a whole file")
    with reading(path, "give a whole file of float32 or float16"):
        return safetensors.load_file(str(path))
