"""Tables of outside (csv): named columns, as text, in chunks, so that memory does not grow with the file."""

import codecs
import csv
import re
import warnings
from itertools import accumulate
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

import pandas as pd

from .artifacts import PathLike, require_file
from .errors import UserError, reading

CHUNK = 100_000  # rows
SEPARATORS = ",;\t|"
_LONGEST_HEADER = 2**16  # characters
_EXCESS = "\0excess"  # name of the column that catches a field too many; no header can hold it


def read_table(
    path: PathLike, columns: Sequence[str], name: str, errors: str = "strict", optional: Sequence[str] = ()
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a csv file, ``CHUNK`` at a time, blank lines left out.

    Args:
        path: UTF-8 file with a header, with or without byte order mark, or UTF-16 with one; its fields are separated
            by the first of ``SEPARATORS`` by which the header has all columns.
        columns: those wanted; the header may hold others, in any order, upper or lower case, with spaces around.
        name: of the argument that gave ``path``, for messages.
        errors: what bytes that are no text lead to, as of ``open``.
        optional: further columns that are wanted where the header has them.

    Returns:
        Frames with ``columns``, and what there is of ``optional``, as stripped text ('' where a field is empty or
        missing) and with the number of the line on which each row ends as index.

    Raises:
        UserError: no such file, a column missing, a row with more fields than the header, or no csv file.
    """
    file = require_file(path, name)
    with reading(path, "give a csv file"):
        try:
            yield from _chunks(file, columns, name, errors, optional)
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise UserError(f"{path}{_place_of(error)}: no valid csv: {_reason_of(error)}") from error


def _header_of(file: Path, encoding: str, columns: Sequence[str], name: str, errors: str) -> Tuple[int, str, List[str]]:
    """Lines up to the header's end, the separator, and the name of each column: as in ``columns`` if one of them."""
    with open(file, newline="", encoding=encoding, errors=errors) as stream:
        line, lines = stream.readline(_LONGEST_HEADER), 1
        if re.fullmatch(r'"?sep=."?', line.strip("\r\n")):  # for Excel, which takes it for no row
            line, lines = stream.readline(_LONGEST_HEADER), 2
    headers: Dict[str, List[str]] = {}
    for separator in SEPARATORS:
        fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        headers[separator] = _named([field.strip() for field in fields], columns)
        if all(headers[separator].count(column) == 1 for column in columns):
            return lines, separator, headers[separator]
    doubled = [column for header in headers.values() for column in columns if header.count(column) > 1]
    missing = [column for column in columns if column not in headers[max(SEPARATORS, key=line.count)]]
    problem = f"two columns {doubled[0]!r}" if doubled else f"no column {missing[0]!r}"
    raise UserError(f"{file}: {problem}: the header is {line.strip()[:60]!r}; `{name}` needs {','.join(columns)}")


def _named(header: List[str], columns: Sequence[str]) -> List[str]:
    """``header`` with the wanted ``columns`` in their own case, unless they are there as they are."""
    wanted = {column.lower(): column for column in columns if column not in header}
    return [wanted.get(field.lower(), field) for field in header]


def _chunks(
    file: Path, columns: Sequence[str], name: str, errors: str, optional: Sequence[str]
) -> Iterator[pd.DataFrame]:
    with open(file, "rb") as stream:
        mark = stream.read(2)
    encoding = "utf-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    skipped, separator, header = _header_of(file, encoding, columns, name, errors)
    header = _named(header, optional)
    doubled = [column for column in optional if header.count(column) > 1]
    if doubled:
        raise UserError(f"{file}: two columns {doubled[0]!r}; `{name}` takes one")
    columns = [*columns, *(column for column in optional if column in header)]
    frames = pd.read_csv(
        file, sep=separator, header=None, skiprows=skipped, names=[*range(len(header)), _EXCESS], index_col=False,
        dtype=str, keep_default_na=False, skip_blank_lines=False, skipinitialspace=True, encoding=encoding,
        encoding_errors=errors, compression=None, chunksize=CHUNK,
    )  # fmt: skip
    with frames:
        last = skipped
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # fields are lost
                frame = next(frames, None)
            if frame is None:
                return
            frame = frame.fillna("")
            frame.index = pd.Index(_line_numbers(frame, last), name="line")
            last = frame.index[-1] if len(frame) else last
            excess = frame.index[frame[_EXCESS] != ""]
            if len(excess):
                raise UserError(f"{file}, line {excess[0]}: more fields than the header has")
            written = (frame != "").any(axis=1)
            wanted = frame.loc[written, [header.index(column) for column in columns]]
            yield wanted.set_axis(list(columns), axis=1).apply(lambda column: column.str.strip())


def _line_numbers(frame: pd.DataFrame, last: int) -> List[int]:
    """The line on which each row ends; ``last`` is that of the row before. A quoted field may hold line breaks."""
    if not any("\n" in "\0".join(frame[column]) for column in frame):
        return list(range(last + 1, last + 1 + len(frame)))
    breaks = sum(frame[column].str.count("\n") for column in frame)
    return list(accumulate((1 + breaks).tolist(), initial=last))[1:]


def _place_of(error: Exception) -> str:
    """', line N' as far as pandas says it."""
    at_line = re.search(r"in line (\d+)", str(error))
    at_row = re.search(r"starting at row (\d+)", str(error))  # counts from 0
    if isinstance(error, pd.errors.ParserWarning):
        return ", line 2"
    return f", line {at_line[1]}" if at_line else f", line {int(at_row[1]) + 1}" if at_row else ""


def _reason_of(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "saw" in text or isinstance(error, pd.errors.ParserWarning):
        return "more fields than the header has"
    return "a quote that is never closed" if "EOF inside string" in text else text
