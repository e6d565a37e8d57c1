"""Readers of ground truth: text folders of Oxford and Paris, gnd files as pickle or MATLAB's; checks they share."""

import codecs
import io
import logging
import math
import pickle
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError
from ..images import list_images
from ..names import bare_name
from .ground_truth import BY_NAMES, KIND_LISTS, Box, GroundTruth, QueryTruth

TEXT_LISTS = ("good", "ok", "junk")
OXFORD_PREFIX = "oxc1_"  # only the query files of Oxford carry it; the photos and the lists do not
# All that a pickled array asks for. NumPy 2 renamed the module, so files of either version must load under either.
_ARRAY_PARTS = {"_reconstruct": np.zeros(1).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}
_ALLOWED = {
    **{(f"numpy.{core}.multiarray", name): part for core in ("core", "_core") for name, part in _ARRAY_PARTS.items()},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,  # protocol 2 writes an array's bytes as text
    ("__builtin__", "bytes"): bytes,  # or as bytes() when there are none
}
_MAT_VARIABLES = ("imlist", "qimlist", "gnd")
_EXPECTED = "give a folder with *_query.txt files, or a gnd_*.pkl or gnd_*.mat file"

logger = logging.getLogger(__name__)


def read_text_folder(folder: Path) -> GroundTruth:
    """Read ``<query>_query.txt``, ``_good.txt``, ``_ok.txt`` and ``_junk.txt``; a list may be empty, as Paris' good.

    Raises:
        UserError: no query in the folder, or a file that is missing or malformed.
    """
    files = sorted(folder.glob("*_query.txt"))
    if not files:
        raise UserError(f"{folder}: no *_query.txt file in this folder; give the folder of the Oxford or Paris lists")
    queries = []
    for file in files:
        name = file.name[: -len("_query.txt")]
        image_name, box = _read_query_line(file)
        lists = {label: _read_name_list(folder / f"{name}_{label}.txt") for label in TEXT_LISTS}
        queries.append(QueryTruth(name, image_name, box, lists))
    return GroundTruth(folder.resolve().name, "text", tuple(queries))


def _read_lines(file: Path) -> Sequence[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        fact = "cannot be read as text" if file.is_file() else "no such file"
        raise UserError(f"{file}: {fact}; a query needs it") from error
    return [line.strip() for line in lines if line.strip()]


def _read_query_line(file: Path) -> Tuple[str, Box]:
    lines = _read_lines(file)
    fields = lines[0].split() if len(lines) == 1 else []
    try:
        image, *numbers = fields
        x1, y1, x2, y2 = (float(number) for number in numbers)
    except ValueError as error:
        raise UserError(f"{file}: expected one line '<image> x1 y1 x2 y2'") from error
    name = image[len(OXFORD_PREFIX) :] if image.startswith(OXFORD_PREFIX) else image
    return bare_name(name), check_box((x1, y1, x2, y2), str(file))


def _read_name_list(file: Path) -> Tuple[str, ...]:
    lines = _read_lines(file)
    for line in lines:
        if len(line.split()) != 1:
            raise UserError(f"{file}: expected one image name a line, found {line!r}")
    return tuple(bare_name(line) for line in lines)


class _Forbidden(pickle.UnpicklingError):
    """A pickle names what it may not."""


class _PlainUnpickler(pickle.Unpickler):
    """Loads plain containers, numbers, text and NumPy arrays; a pickle can name nothing else, so it can run nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Forbidden(f"it asks for {module}.{name}, which no ground truth needs")
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
        raise UserError(f"{file}: not a ground truth: {_fault(error)}; give a dict of imlist, qimlist, gnd") from error


def read_mat(file: Path) -> GroundTruth:
    """Read the cell arrays imlist and qimlist and the structs gnd of a MATLAB file; numbers count from 1.

    A list that gnd has no field for is taken as empty, with a warning. A box is x1, y1, x2, y2; INSTRE's is x, y,
    width, height.

    Raises:
        UserError: the file cannot be read, is of MATLAB 7.3 (HDF5), or is not as described.
    """
    from scipy.io import loadmat  # slow to import

    try:
        content = loadmat(file, variable_names=_MAT_VARIABLES)
        missing = [variable for variable in _MAT_VARIABLES if variable not in content]
        if missing:
            raise UserError(f"{file}: not a ground truth: it has no {missing[0]} (of {', '.join(_MAT_VARIABLES)})")
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
        raise UserError(f"{file}: not a ground truth: {_fault(error)}; give a .mat of imlist, qimlist, gnd") from error


def _fault(error: Exception) -> str:
    """What is wrong with a file that reading answered so."""
    if isinstance(error, KeyError):
        return f"no {error.args[0]} in it"
    return str(error) if isinstance(error, _Forbidden) else "damaged, or of another form"


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


_READERS = {".pkl": read_pickle, ".mat": read_mat}


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


def check_box(box: Sequence[float], origin: str) -> Box:
    """``box`` as four floats; UserError that names ``origin`` when it is not (x1, y1, x2, y2) around some pixels."""
    if len(box) != 4:
        raise UserError(f"{origin}: the box holds {len(box)} numbers; expected x1, y1, x2, y2")
    x1, y1, x2, y2 = (float(number) for number in box)
    if not (all(math.isfinite(number) for number in (x1, y1, x2, y2)) and x1 < x2 and y1 < y2):
        raise UserError(f"{origin}: box {list(box)} is empty; expected x1 < x2 and y1 < y2 in pixels")
    return x1, y1, x2, y2


def numbered_truth(
    file_name: str, name: str, index: Iterable[Any], queries: Iterable[Any], truths: Sequence[Mapping[str, Any]]
) -> GroundTruth:
    """A ground truth whose lists are index numbers, as the gnd files of Radenovic and of Iscen hold them.

    Args:
        file_name: what errors name.
        name: name of the ground truth.
        index: names of the index photos (imlist).
        queries: names of the queries' photos (qimlist).
        truths: for each query the lists of one of ``KIND_LISTS``, as numbers counted from 0, and perhaps a box ``bbx``.

    Raises:
        UserError: a list is missing, a number goes past ``index``, or something else does not fit.
    """
    index_names = tuple(bare_name(str(image)) for image in index)
    query_names = [bare_name(str(image)) for image in queries]
    if len(truths) != len(query_names) or not query_names:
        raise UserError(f"{file_name}: qimlist names {len(query_names)} queries but gnd describes {len(truths)}")
    kind = _kind_of(file_name, truths)
    built = []
    for image, truth in zip(query_names, truths):
        origin = f"{file_name}: query {image}"
        lists: Dict[str, Tuple[str, ...]] = {}
        for label in KIND_LISTS[kind]:
            if label not in truth:
                raise UserError(f"{origin} has no {label!r} list, which the others have")
            numbers = _check_numbers(truth[label], len(index_names), f"{origin}: {label}")
            lists[label] = tuple(index_names[number] for number in numbers)
        box = truth.get("bbx")
        if box is not None:
            box = check_box(np.asarray(box, dtype=np.float64).reshape(-1).tolist(), origin)
        built.append(QueryTruth(image, image, box, lists))
    return GroundTruth(name, kind, tuple(built), index_names)


def _kind_of(file_name: str, truths: Sequence[Mapping[str, Any]]) -> str:
    labels = {label for truth in truths for label in truth}
    for kind, lists in KIND_LISTS.items():
        if labels & set(lists) - {"junk"}:
            return kind
    raise UserError(f"{file_name}: its queries have no list 'easy', 'hard' or 'ok'; expected gnd_roxford5k or the like")


def _check_numbers(values: Any, size: int, origin: str) -> List[int]:
    numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    if (numbers != np.floor(numbers)).any():
        raise UserError(f"{origin} holds numbers that are not whole")
    if ((numbers < 0) | (numbers >= size)).any():
        raise UserError(f"{origin} goes past the {size} names of imlist")
    return numbers.astype(np.int64).tolist()
