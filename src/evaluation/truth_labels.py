"""One's own labels as a ground truth: a table path,label[,query], or dirtorch's lists of 'path label' lines."""

from pathlib import Path
from typing import Dict, Iterator, Set, Tuple

from ..errors import UserError
from ..names import PHOTO_SUFFIXES
from ..values import short
from .ground_truth import GroundTruth, truth_of_labels
from .truth_text import photo_name, read_lines

_YES = ("1", "1.0", "true", "yes", "y", "x")
_NO = ("0", "0.0", "false", "no", "n", "")


def read_labels(file: Path) -> GroundTruth:
    """Read a table (.csv, .tsv) with the columns ``path`` and ``label``, or lines 'path label' (.txt).

    A table may have a column ``query``: only the rows that say yes search then (1, true, yes, y, x; the others 0,
    false, no, n or nothing). Without it all search. Every photo listed is in the index. Paths are those of the index,
    or longer ones that end in them.

    Raises:
        UserError: no such file, other columns, a row that is not one, a photo with two labels; see ``truth_of_labels``.
    """
    labels: Dict[str, str] = {}
    chosen: Set[str] = set()
    for origin, path, label, is_query in _lines(file) if file.suffix.lower() == ".txt" else _rows(file):
        name = photo_name(path, origin)
        if labels.setdefault(name, label) != label:
            raise UserError(f"{origin}: {name} has the label {short(label)} and {short(labels[name])} before; keep one")
        if is_query:
            chosen.add(name)
    if labels and not chosen:
        raise UserError(f"{file}: no row is a query; put 1 into the column query of those that search, or leave it out")
    return truth_of_labels(file.stem, f"{file}: the photos", labels, chosen)


def _rows(file: Path) -> Iterator[Tuple[str, str, str, bool]]:
    """(place for messages, path, label, whether it searches) of each row."""
    from ..tables import read_table  # pandas: not for --help

    for rows in read_table(file, ("path", "label"), "gt_path", "surrogateescape", optional=("query",)):
        marked = "query" in rows.columns
        for line, path, label, *query in rows.itertuples():
            origin = f"{file}, line {line}"
            if not path or not label:
                raise UserError(f"{origin}: a row is one path and one label")
            if any(map(_is_no_text, (path, label))):
                raise UserError(f"{origin}: cannot be read as text; save it as UTF-8")
            if marked and query[0].lower() not in _YES + _NO:
                raise UserError(f"{origin}: query is {short(query[0])}; write 1 for a photo that searches, or 0")
            yield origin, path, label, not marked or query[0].lower() in _YES


def _is_no_text(field: str) -> bool:
    """Whether bytes of it were not UTF-8; they are kept as surrogates."""
    return any("\ud800" <= letter <= "\udfff" for letter in field)


def _lines(file: Path) -> Iterator[Tuple[str, str, str, bool]]:
    """As ``_rows``; the label is what follows the last space, so paths may hold some."""
    for number, line in enumerate(read_lines(file), start=1):
        path, _, label = line.replace("\t", " ").rpartition(" ")
        if not path.strip() or label.lower().endswith(PHOTO_SUFFIXES):
            raise UserError(f"{file}, entry {number}: {short(line)} is no 'path label'")
        yield f"{file}, entry {number}", path.strip(), label, True
