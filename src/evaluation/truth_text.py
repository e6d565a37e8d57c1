"""The text folders of Oxford and Paris; and the names, boxes and lines of other ground truths."""

import codecs
import math
import posixpath
import re
import unicodedata
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..errors import UserError, reading
from ..names import PHOTO_SUFFIXES, bare_name, require_inside
from ..outside import read_bounded
from .ground_truth import Box, GroundTruth, QueryTruth

TEXT_LISTS = ("good", "ok", "junk")
OXFORD_PREFIX = "oxc1_"  # only the query files of Oxford carry it; the photos and the lists do not
_LONGEST_NAME = 4096  # characters, as of a path
_LIST_FILE = re.compile(r"(.*)_(query|good|ok|junk)\.txt", re.IGNORECASE)
_NUMBER = r"(?:[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf))"
_NUMBERS = rf"{_NUMBER}(?:(?:\s+{_NUMBER}){{3}}|(?:\s*[,;]\s*{_NUMBER}){{3}})"  # of a box; commas are written by hand
_WITH_BOX = re.compile(rf"(.*?\S)[\s,;]+({_NUMBERS})", re.IGNORECASE)
_ENDED_NAME = re.compile(rf"({'|'.join(map(re.escape, PHOTO_SUFFIXES))})[\"\s,;]", re.IGNORECASE)


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
        fix = "give the folder of the Oxford or Paris lists, or `protocol` labelled for a folder of photos a class"
        raise UserError(f"{folder}: no *_query.txt file in this folder; {fix}")
    queries = []
    for name in sorted(files, key="{}_query.txt".format):
        found = files[name]
        if "query" not in found:
            raise UserError(f"{folder}: lists of {name}, and no {name}_query.txt; add it, or remove the lists")
        image_name, box = _read_query_line(found["query"])
        lists = {label: _read_name_list(found.get(label, folder / f"{name}_{label}.txt")) for label in TEXT_LISTS}
        queries.append(QueryTruth(unicodedata.normalize("NFC", name), image_name, box, lists))
    return GroundTruth(folder.resolve().name, "text", tuple(queries))


def read_bytes(file: Path) -> bytes:
    """The content of a ground truth's file; UserError when it cannot be read or is larger than one is."""
    with reading(file):
        return read_bounded(file, "the ground truth needs it")


def read_lines(file: Path) -> List[str]:
    """The lines of a text file (UTF-8, or UTF-16 with its mark) without spaces and quotes around; no blank ones."""
    data = read_bytes(file)
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
    lines = read_lines(file)
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
    return tuple(photo_name(line, str(file)) for line in read_lines(file))


def check_box(box: Sequence[float], origin: str) -> Box:
    """``box`` as four floats; UserError that names ``origin`` when it is not (x1, y1, x2, y2) around some pixels."""
    if len(box) != 4:
        raise UserError(f"{origin}: the box holds {len(box)} numbers; expected x1, y1, x2, y2")
    x1, y1, x2, y2 = (float(number) for number in box)
    if not (all(math.isfinite(number) for number in (x1, y1, x2, y2)) and x1 < x2 and y1 < y2):
        raise UserError(f"{origin}: box {list(box)} is empty; expected x1 < x2 and y1 < y2 in pixels")
    return x1, y1, x2, y2
