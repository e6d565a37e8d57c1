"""Reading a ground truth of any kind; and the gnd files that number their photos, as pickle or MATLAB's."""

import dataclasses
import logging
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError, printable
from ..images import list_images
from ..pickle_reader import load_plain
from ..pickle_values import PickleFault
from .ground_truth import BY_NAMES, KIND_LISTS, GroundTruth, QueryTruth
from .truth_labels import read_labels
from .truth_mat import read_variables
from .truth_text import check_box, photo_name, read_bytes, read_text_folder

_EXPECTED = "give a folder with *_query.txt files, a gnd_*.pkl or gnd_*.mat file, or a .csv of path,label"

logger = logging.getLogger(__name__)


def read_pickle(file: Path) -> GroundTruth:
    """Read a dictionary of imlist, qimlist and gnd; numbers count from 0.

    Raises:
        UserError: the file cannot be read, asks to run code, or is not as described.
    """
    data, fix = read_bytes(file), "give a dict of imlist, qimlist, gnd"
    try:
        content = load_plain(data)
        missing = [part for part in ("imlist", "qimlist", "gnd") if part not in content.keys()]
    except PickleFault as error:
        raise UserError(f"{file}: not a ground truth: {printable(str(error))}; {fix}") from error
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(f"{file}: not a ground truth: damaged, or of another form; {fix}") from error
    if missing:
        raise UserError(f"{file}: not a ground truth: no {missing[0]} in it; {fix}")
    return numbered_truth(str(file), file.stem, *(content[part] for part in ("imlist", "qimlist", "gnd")))


def read_mat(file: Path) -> GroundTruth:
    """Read the cell arrays imlist and qimlist and the structs gnd of a MATLAB file; numbers count from 1.

    A list that gnd has no field for is taken as empty, with a warning. A box is x1, y1, x2, y2; INSTRE's is x, y,
    width, height.

    Raises:
        UserError: the file cannot be read, is of MATLAB 7.3 (HDF5), or is not as described.
    """
    content = read_variables(file, read_bytes(file))
    truths = [_query_truth(file, fields) for fields in content["gnd"]]
    _fill_lists(file, truths)
    return numbered_truth(str(file), file.stem, content["imlist"], content["qimlist"], truths)


def _query_truth(file: Path, fields: List[Tuple[str, List[float]]]) -> Dict[str, List[float]]:
    """One query's fields, named and counted as ``numbered_truth`` takes them."""
    values = {name: [number - (name != "bbx") for number in numbers] for name, numbers in fields}
    if {"easy", "hard", "junk"} & set(values):
        return values
    if len(fields) < 2 or len(fields[1][1]) != 4:
        raise UserError(f"{file}: gnd holds neither the fields easy, hard or ok, junk nor INSTRE's positives and box")
    (_, positive), (_, (x, y, width, height)) = fields[:2]  # INSTRE, whose readers go by the place of a field
    return {"positive": [number - 1 for number in positive], "bbx": [x, y, x + width, y + height]}


def _fill_lists(file: Path, truths: List[Dict[str, List[float]]]) -> None:
    """Add empty lists for those that no struct, or not every struct, has a field for."""
    if any("positive" in truth for truth in truths):
        return
    graded = any({"easy", "hard"} & set(truth) for truth in truths)
    for label in KIND_LISTS["revisited" if graded else "classic"]:
        lacking = [truth for truth in truths if label not in truth]
        for truth in lacking:
            truth[label] = []
        if lacking:
            logger.warning("%s: %d queries have no field %s: taken as empty", file, len(lacking), label)


_READERS = {".pkl": read_pickle, ".mat": read_mat, ".csv": read_labels, ".tsv": read_labels, ".txt": read_labels}


def load_ground_truth(
    path: PathLike, protocol: Optional[str] = None, photo_names: Optional[Sequence[str]] = None
) -> GroundTruth:
    """Read a folder of Oxford / Paris text files, a ``gnd_*.pkl`` or ``gnd_*.mat``, or a table of labelled photos.

    Protocols holidays and ukbench need none: their photos' names are the ground truth. So they are for labelled where
    each class has a folder.

    Args:
        path: the folder or file; for protocols of ``BY_NAMES`` the folder of photos, or '' for ``photo_names``.
        protocol: the protocol asked for, if any.
        photo_names: photos of the index.

    Raises:
        UserError: nothing there, no query in it, or a file that is not as expected.
    """
    by_names = protocol in BY_NAMES and (Path(path).is_dir() or Path(path).suffix.lower() not in _READERS)
    if by_names and (str(path) or photo_names is not None):
        truth = BY_NAMES[protocol](list_images(path) if str(path) else photo_names)
        own_name = protocol == "labelled" and bool(str(path))  # a person's folder; the benchmarks have their names
        return dataclasses.replace(truth, name=Path(path).resolve().name) if own_name else truth
    if not str(path):
        raise UserError(f"`gt_path` is not set: {_EXPECTED} (only `protocol` holidays, ukbench and labelled need none)")
    truth = _read(Path(path))
    boxless = sum(query.box is None for query in truth.queries)
    if boxless and truth.kind != "labelled":
        logger.info("%s: %d of %d queries have no box: the whole photo searches", path, boxless, len(truth.queries))
    return truth


def _read(path: Path) -> GroundTruth:
    if path.is_dir():
        return read_text_folder(path)
    if not path.exists():
        raise UserError(f"{path}: no such ground truth; {_EXPECTED}")
    if path.suffix.lower() not in _READERS:
        raise UserError(f"{path}: unknown ground truth; {_EXPECTED}")
    return _READERS[path.suffix.lower()](path)


def numbered_truth(
    file_name: str, name: str, index: Sequence[Any], queries: Sequence[Any], truths: Sequence[Mapping[str, Any]]
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
    for part, values in (("imlist", index), ("qimlist", queries), ("gnd", truths)):
        if not isinstance(values, list):
            raise UserError(
                f"{file_name}: {part} is a {type(values).__name__}, whose places count nothing; give a list"
            )
    index_names = tuple(photo_name(image, f"{file_name}: imlist") for image in index)
    query_names = [photo_name(image, f"{file_name}: qimlist") for image in queries]
    if len(truths) != len(query_names) or not query_names:
        raise UserError(f"{file_name}: qimlist names {len(query_names)} queries but gnd describes {len(truths)}")
    if len(set(query_names)) < len(query_names):
        twice = next(each for each, count in Counter(query_names).items() if count > 1)
        raise UserError(f"{file_name}: qimlist names {twice} twice; results are told apart by it, so give it two names")
    kind = _kind_of(file_name, truths)
    built = []
    for image, truth in zip(query_names, truths):
        origin = f"{file_name}: query {image}"
        lists: Dict[str, Tuple[str, ...]] = {}
        for label in KIND_LISTS[kind]:
            if label not in truth:
                raise UserError(f"{origin} has no list {label!r}; add it, empty if there is nothing to list")
            numbers = _check_numbers(truth[label], len(index_names), f"{origin}: {label}")
            lists[label] = tuple(index_names[number] for number in numbers)
        box = truth.get("bbx")
        if box is not None:
            box = check_box(_numbers(box, f"{origin}: bbx").tolist(), origin)
        built.append(QueryTruth(image, image, box, lists))
    return GroundTruth(name, kind, tuple(built), index_names)


def _kind_of(file_name: str, truths: Sequence[Mapping[str, Any]]) -> str:
    if not all(isinstance(truth, dict) for truth in truths):
        raise UserError(f"{file_name}: gnd must be a list of dictionaries, one for each query")
    labels = {label for truth in truths for label in truth}
    for kind, lists in KIND_LISTS.items():
        if labels & set(lists) - {"junk"}:
            return kind
    raise UserError(f"{file_name}: its queries have no list 'easy', 'hard' or 'ok'; expected gnd_roxford5k or the like")


def _numbers(values: Any, origin: str) -> np.ndarray:
    """[n] float64 of a list of any shape, or of a set."""
    try:
        values = np.asarray(sorted(values) if isinstance(values, set) else values)
        if values.dtype == bool:  # a mask of imlist, which would be taken for the places 0 and 1
            raise UserError(f"{origin} holds true and false; give the places in imlist, counted from 0")
        return values.astype(np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{origin} holds something that is no number") from error


def _check_numbers(values: Any, size: int, origin: str) -> List[int]:
    numbers = _numbers(values, origin)
    if (numbers != np.floor(numbers)).any():
        raise UserError(f"{origin} holds numbers that are not whole")
    if ((numbers < 0) | (numbers >= size)).any():
        raise UserError(f"{origin} goes past the {size} names of imlist")
    return numbers.astype(np.int64).tolist()
