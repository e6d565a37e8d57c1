"""Ground truth of Oxford5k and Paris6k: a folder of text files, four a query."""

from pathlib import Path
from typing import Sequence, Tuple

from ..errors import UserError
from ..names import bare_name
from .truth import Box, GroundTruth, QueryTruth, check_box

TEXT_LISTS = ("good", "ok", "junk")
OXFORD_PREFIX = "oxc1_"  # only the query files of Oxford carry it; the photos and the lists do not


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
    return bare_name(name), check_box((x1, y1, x2, y2), str(file))


def _read_name_list(file: Path) -> Tuple[str, ...]:
    lines = _read_lines(file)
    for line in lines:
        if len(line.split()) != 1:
            raise UserError(f"{file}: expected one image name a line, found {line!r}")
    return tuple(bare_name(line) for line in lines)
