"""Tables of outside (csv): named columns, as text, in chunks, so that memory does not grow with the file."""

import csv
import re
import warnings
from itertools import accumulate
from pathlib import Path
from typing import Iterator, List, Sequence

import pandas as pd

from .artifacts import PathLike, require_file
from .errors import UserError

CHUNK = 100_000  # rows
_EXCESS = "\0excess"  # name of the column that catches a field too many; no header can hold it


def read_table(
    path: PathLike, columns: Sequence[str], name: str, separators: str = ",", errors: str = "strict"
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a csv file, ``CHUNK`` at a time, blank lines left out.

    Args:
        path: UTF-8 file with a header, with or without byte order mark.
        columns: those wanted; the header may hold others, in any order.
        name: of the argument that gave ``path``, for messages.
        separators: characters that may separate the fields; the first one of them in the header does.
        errors: what bytes that are no UTF-8 lead to, as of ``open``.

    Returns:
        Frames with ``columns`` as stripped text ('' where a field is empty or missing) and with the number of the line
        on which each row ends as index.

    Raises:
        UserError: no such file, a column missing, a row with more fields than the header, or no csv file.
    """
    file = require_file(path, name)
    try:
        yield from _chunks(file, columns, name, separators, errors)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a csv file ({error})") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise UserError(f"{path}{_place_of(error)}: no valid csv: {_reason_of(error)}") from error


def _chunks(file: Path, columns: Sequence[str], name: str, separators: str, errors: str) -> Iterator[pd.DataFrame]:
    with open(file, newline="", encoding="utf-8-sig", errors=errors) as stream:
        line = stream.readline()
    separator = next((character for character in line if character in separators), separators[0])
    header = [field.strip() for field in next(csv.reader([line], delimiter=separator), [])]
    for column in columns:
        if header.count(column) != 1:
            problem = "two columns" if column in header else "no column"
            expected = separators[0].join(columns)
            raise UserError(
                f"{file}: {problem} {column!r}: the header is {line.strip()[:60]!r}; `{name}` needs {expected}"
            )
    frames = pd.read_csv(
        file, sep=separator, header=None, skiprows=1, names=[*range(len(header)), _EXCESS], index_col=False, dtype=str,
        keep_default_na=False, skip_blank_lines=False, encoding_errors=errors, compression=None, chunksize=CHUNK,
    )  # fmt: skip
    with frames:
        last = 1
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
