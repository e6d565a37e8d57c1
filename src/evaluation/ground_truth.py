"""Ground truth of a retrieval benchmark: Oxford / Paris text folders and revisited pickles."""

import codecs
import io
import math
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from src.errors import UserError
from src.evaluation.names import bare_name
from src.files import PathLike

TEXT_LISTS = ("good", "ok", "junk")
REVISITED_LISTS = ("easy", "hard", "junk")
OXFORD_PREFIX = "oxc1_"  # only the query files of Oxford carry it; the photos and the lists do not
Box = Tuple[float, float, float, float]


@dataclass(frozen=True)
class QueryTruth:
    """One query.

    Attributes:
        name: name of the query: 'all_souls_1' in a text folder, the photo's name in a pickle.
        image_name: name of the query's photo, without extension.
        box: (x1, y1, x2, y2) in pixels of that photo, or None.
        lists: names of index photos, without extension, by label: good, ok, junk (text); easy, hard, junk (revisited).
    """

    name: str
    image_name: str
    box: Optional[Box]
    lists: Mapping[str, Tuple[str, ...]]


@dataclass(frozen=True)
class GroundTruth:
    """A benchmark's queries.

    Attributes:
        name: name of the folder or file, without extension.
        kind: 'text' or 'revisited'.
        queries: the queries; text folders in the order of their names, pickles in their own.
        index_names: photos of the index, without extension (pickles); None where any folder may be the index (text).
    """

    name: str
    kind: str
    queries: Tuple[QueryTruth, ...]
    index_names: Optional[Tuple[str, ...]] = None


def load_ground_truth(path: PathLike) -> GroundTruth:
    """Read a folder of ``*_query.txt``, ``*_good.txt``, ``*_ok.txt``, ``*_junk.txt``, or a ``gnd_r*.pkl`` file.

    Raises:
        UserError: nothing there, no query in the folder, or a file that is not as expected.
    """
    if not str(path):
        raise UserError("--gt_path is not set: give a folder with *_query.txt files or a gnd_r*.pkl file")
    path = Path(path)
    if path.is_dir():
        return _load_text_folder(path)
    if not path.exists():
        raise UserError(f"{path}: no such ground truth; give a folder with *_query.txt files or a gnd_r*.pkl file")
    if path.suffix.lower() != ".pkl":
        raise UserError(f"{path}: unknown ground truth; expected a folder with *_query.txt files or a gnd_r*.pkl file")
    return _load_revisited(path)


def _load_text_folder(folder: Path) -> GroundTruth:
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
        raise UserError(f"{file}: cannot be read as text ({error}); a query needs this file") from error
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
    return bare_name(name), _check_box((x1, y1, x2, y2), str(file))


def _check_box(box: Sequence[float], origin: str) -> Box:
    x1, y1, x2, y2 = (float(number) for number in box)
    if not (all(math.isfinite(number) for number in (x1, y1, x2, y2)) and x1 < x2 and y1 < y2):
        raise UserError(f"{origin}: box {list(box)} is empty; expected x1 < x2 and y1 < y2 in pixels")
    return x1, y1, x2, y2


def _read_name_list(file: Path) -> Tuple[str, ...]:
    lines = _read_lines(file)
    for line in lines:
        if len(line.split()) != 1:
            raise UserError(f"{file}: expected one image name a line, found {line!r}")
    return tuple(bare_name(line) for line in lines)


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


def _load_revisited(file: Path) -> GroundTruth:
    try:
        content = _PlainUnpickler(io.BytesIO(file.read_bytes()), encoding="latin1").load()
        index_names = tuple(bare_name(str(name)) for name in content["imlist"])
        query_names = [bare_name(str(name)) for name in content["qimlist"]]
        truths = list(content["gnd"])
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"{file}: not a revisited ground truth (dict of imlist, qimlist, gnd): {error!r}") from error
    if len(truths) != len(query_names) or not query_names:
        raise UserError(f"{file}: qimlist names {len(query_names)} queries but gnd describes {len(truths)}")
    queries = (_revisited_query(file, name, truth, index_names) for name, truth in zip(query_names, truths))
    return GroundTruth(file.stem, "revisited", tuple(queries), index_names)


def _revisited_query(file: Path, name: str, truth: Mapping[str, Any], index_names: Sequence[str]) -> QueryTruth:
    lists: Dict[str, Tuple[str, ...]] = {}
    for label in REVISITED_LISTS:
        if label not in truth:
            raise UserError(
                f"{file}: query {name} has no {label!r} list; expected gnd_roxford5k.pkl or gnd_rparis6k.pkl"
            )
        numbers = [int(number) for number in np.asarray(truth[label]).reshape(-1)]
        if any(not 0 <= number < len(index_names) for number in numbers):
            raise UserError(f"{file}: query {name}: {label} goes past the {len(index_names)} names of imlist")
        lists[label] = tuple(index_names[number] for number in numbers)
    box = truth.get("bbx")
    if box is not None:
        box = np.asarray(box, dtype=np.float64).reshape(-1).tolist()
        if len(box) != 4:
            raise UserError(f"{file}: query {name}: bbx holds {len(box)} numbers; expected x1, y1, x2, y2")
        box = _check_box(box, f"{file}: query {name}")
    return QueryTruth(name, name, box, lists)
