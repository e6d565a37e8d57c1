"""The csv files of Google Landmarks v2: solutions and predictions of recognition and retrieval."""

import csv
import math
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple

from ..artifacts import PathLike, require_file
from ..errors import UserError
from .gldv2_metrics import Recognized

COLUMNS = {"recognition": "landmarks", "retrieval": "images"}
USAGES = ("Public", "Private", "Ignored")
_LONGEST_FIELD = 2**28  # a list of 17 characters a photo may be longer than the 131072 that Python's csv allows


def read_solution(path: PathLike, task: str) -> Tuple[Dict[str, Dict[str, Set[str]]], Set[str]]:
    """Read ``id,landmarks,Usage`` (recognition) or ``id,images,Usage`` (retrieval).

    Returns:
        For Public and Private, the landmarks or photos of each query (none for a photo that shows no landmark); and the
        queries that are Ignored.

    Raises:
        UserError: not such a file, a Usage of another name, or a query twice.
    """
    solution: Dict[str, Dict[str, Set[str]]] = {"Public": {}, "Private": {}}
    ignored: Set[str] = set()
    seen: Set[str] = set()
    for line, query, values, usage in _rows(path, "solution", ("id", COLUMNS[task], "Usage"), seen):
        if usage not in USAGES:
            raise UserError(f"{path}: line {line}: Usage is {usage!r}; it must be one of {', '.join(USAGES)}")
        if usage == "Ignored":
            ignored.add(query)
        else:
            solution[usage][query] = set(values.split()) - {"None"}
    return solution, ignored


def read_predictions(path: PathLike, task: str) -> Dict[str, Any]:
    """Read ``id,landmarks`` ('landmark score', or nothing) or ``id,images`` (photos, best first).

    Returns:
        By query, ``Recognized`` (recognition; a query without prediction is left out) or the photos (retrieval).

    Raises:
        UserError: not such a file, a malformed prediction, or a query twice.
    """
    parse: Callable[[str], Any] = _parse_recognized if task == "recognition" else str.split
    predictions = {}
    for line, query, values in _rows(path, "predictions", ("id", COLUMNS[task]), set()):
        try:
            predicted = parse(values)
        except ValueError as error:
            raise UserError(
                f"{path}: line {line}: landmarks is {values!r}; expected one landmark and its score, or nothing"
            ) from error
        if predicted is not None:
            predictions[query] = predicted
    return predictions


def _parse_recognized(text: str) -> Any:
    if not text.split():
        return None
    landmark, number = text.split()
    score = float(number)
    if math.isnan(score):
        raise ValueError("the score is NaN")
    return Recognized(landmark, score)


def _rows(path: PathLike, option: str, columns: Tuple[str, ...], seen: Set[str]) -> Iterator[Tuple[Any, ...]]:
    """Line number and the wanted columns of each row; a query may come once."""
    csv.field_size_limit(_LONGEST_FIELD)
    with open(require_file(path, option), newline="", encoding="utf-8-sig") as stream:
        try:
            reader = csv.DictReader(stream)
            lacking = [column for column in columns if column not in (reader.fieldnames or ())]
            if lacking:
                raise UserError(f"{path}: no column {lacking[0]!r}; expected {','.join(columns)} ({option})")
            for row in reader:
                values: List[str] = [(row[column] or "").strip() for column in columns]
                if values[0] in seen or not values[0]:
                    raise UserError(f"{path}: line {reader.line_num}: query {values[0]!r} is empty or was there before")
                seen.add(values[0])
                yield (reader.line_num, *values)
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a csv file ({error})") from error
