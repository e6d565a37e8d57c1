"""Readers of ground truth: text folders of Oxford and Paris, gnd files as pickle or MATLAB's; checks they share."""

import codecs
import logging
import math
import posixpath
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError, printable, reading
from ..images import list_images
from ..names import PHOTO_SUFFIXES, bare_name, require_inside
from ..outside import read_bounded
from .ground_truth import BY_NAMES, KIND_LISTS, Box, GroundTruth, QueryTruth
from .pickle_values import PickleFault
from .truth_mat import read_variables
from .truth_pickle import load_plain

TEXT_LISTS = ("good", "ok", "junk")
OXFORD_PREFIX = "oxc1_"  # only the query files of Oxford carry it; the photos and the lists do not
_EXPECTED = "give a folder with *_query.txt files, or a gnd_*.pkl or gnd_*.mat file"
_LONGEST_NAME = 4096  # characters, as of a path
_LIST_FILE = re.compile(r"(.*)_(query|good|ok|junk)\.txt", re.IGNORECASE)
_NUMBER = r"(?:[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf))"
_NUMBERS = rf"{_NUMBER}(?:(?:\s+{_NUMBER}){{3}}|(?:\s*[,;]\s*{_NUMBER}){{3}})"  # of a box; commas are written by hand
_WITH_BOX = re.compile(rf"(.*?\S)[\s,;]+({_NUMBERS})", re.IGNORECASE)
_ENDED_NAME = re.compile(rf"({'|'.join(map(re.escape, PHOTO_SUFFIXES))})[\"\s,;]", re.IGNORECASE)

logger = logging.getLogger(__name__)


def read_text_folder(folder: Path) -> GroundTruth:
    """Read ``<query>_query.txt``, ``_good.txt``, ``_ok.txt`` and ``_junk.txt``; a list may be empty, as Paris' good.

    Raises:
        UserError: no query in the folder, or a file that is missing or malformed.
    """
    files: Dict[str, Dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        ending = _LIST_FILE.fullmatch(file.name)
        if ending and not file.name.startswith("."):  # those are macOS's
            files.setdefault(require_inside(ending[1], file), {})[ending[2].lower()] = file
    if not any("query" in lists for lists in files.values()):
        raise UserError(f"{folder}: no *_query.txt file in this folder; give the folder of the Oxford or Paris lists")
    queries = []
    for name in sorted(files, key="{}_query.txt".format):
        found = files[name]
        if "query" not in found:
            raise UserError(f"{folder}: lists of {name}, and no {name}_query.txt; add it, or remove the lists")
        image_name, box = _read_query_line(found["query"])
        lists = {label: _read_name_list(found.get(label, folder / f"{name}_{label}.txt")) for label in TEXT_LISTS}
        queries.append(QueryTruth(unicodedata.normalize("NFC", name), image_name, box, lists))
    return GroundTruth(folder.resolve().name, "text", tuple(queries))


def _read_bytes(file: Path) -> bytes:
    with reading(file):
        return read_bounded(file, "the ground truth needs it")


def _read_lines(file: Path) -> List[str]:
    data = _read_bytes(file)
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: cannot be read as text; save it as UTF-8") from error
    if "\0" in text:  # UTF-16 without its mark
        raise UserError(f"{file}: holds zero bytes, as UTF-16 without its mark does; save it as UTF-8")
    return [_unquoted(line.strip()) for line in text.splitlines() if line.strip()]


def _unquoted(name: str) -> str:
    """A name without the quotes that people put around one with spaces."""
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name


def photo_name(name: Any, origin: str) -> str:
    """A photo's name as a ground truth writes it, without extension, in Unicode's composed form.

    What leads to the folder of an absolute path is dropped: a photo is found by the end of its path.

    Raises:
        UserError: it is no text, too long, or leads out of any folder; the message names ``origin``.
    """
    if not isinstance(name, str):
        raise UserError(f"{origin}: a photo's name is {type(name).__name__}; give texts such as 'all_souls_000013'")
    if len(name) > _LONGEST_NAME:
        raise UserError(f"{origin}: a photo's name of {len(name)} characters; paths have {_LONGEST_NAME} at most")
    path = posixpath.normpath(unicodedata.normalize("NFC", bare_name(name.strip())))
    return require_inside(re.sub("^([A-Za-z]:)?/+", "", path), origin)


def _read_query_line(file: Path) -> Tuple[str, Optional[Box]]:
    """Name, which may hold spaces, and box of a query; without a box its whole photo searches."""
    lines = _read_lines(file)
    line = lines[0] if len(lines) == 1 and len(lines[0]) <= _LONGEST_NAME else ""
    with_box = _WITH_BOX.fullmatch(line)
    numbers = sum(re.fullmatch(_NUMBER, field, re.IGNORECASE) is not None for field in line.split()[-4:])
    if with_box:
        sides = [float(number) for number in re.findall(r"[^\s,;]+", with_box[2])]
        image, box = _unquoted(with_box[1]), check_box(sides, str(file))
    elif line and (line.lower().endswith(PHOTO_SUFFIXES) or numbers < 2 and not _ENDED_NAME.search(line)):
        image, box = line, None
    else:
        raise UserError(f"{file}: expected one line '<image> x1 y1 x2 y2', or '<image>' for a whole photo")
    return photo_name(image[len(OXFORD_PREFIX) :] if image.startswith(OXFORD_PREFIX) else image, str(file)), box


def _read_name_list(file: Path) -> Tuple[str, ...]:
    return tuple(photo_name(line, str(file)) for line in _read_lines(file))


def read_pickle(file: Path) -> GroundTruth:
    """Read a dictionary of imlist, qimlist and gnd; numbers count from 0.

    Raises:
        UserError: the file cannot be read, asks to run code, or is not as described.
    """
    data, fix = _read_bytes(file), "give a dict of imlist, qimlist, gnd"
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
    content = read_variables(file, _read_bytes(file))
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
    truth = _read(Path(path))
    boxless = sum(query.box is None for query in truth.queries)
    if boxless:
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


def check_box(box: Sequence[float], origin: str) -> Box:
    """``box`` as four floats; UserError that names ``origin`` when it is not (x1, y1, x2, y2) around some pixels."""
    if len(box) != 4:
        raise UserError(f"{origin}: the box holds {len(box)} numbers; expected x1, y1, x2, y2")
    x1, y1, x2, y2 = (float(number) for number in box)
    if not (all(math.isfinite(number) for number in (x1, y1, x2, y2)) and x1 < x2 and y1 < y2):
        raise UserError(f"{origin}: box {list(box)} is empty; expected x1 < x2 and y1 < y2 in pixels")
    return x1, y1, x2, y2


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
