"""A ranking as the csv of the Google Landmarks retrieval challenges: ``id,images``, up to 100 ids a query."""

import csv
import io
from pathlib import Path
from typing import Dict, List, Sequence

from ..artifacts import PathLike, atomic_write_text, require_place
from ..errors import UserError
from ..records import Ranking
from .gldv2 import COLUMNS, MAX_RETRIEVED


def write_submission(ranking: Ranking, path: PathLike, overwrite: bool = False) -> None:
    """Write it; the id of a photo is its file name without folder and extension, as in GLDv2.

    Args:
        ranking: to write.
        path: csv file.
        overwrite: replace a file.

    Raises:
        UserError: a file stands there, or two photos have one id, or an id holds a space.
    """
    require_place(path)
    if Path(path).exists() and not overwrite:
        raise UserError(f"{path}: stands there; give `overwrite`, or another `output`")
    queries, photos = _ids(ranking.query_names), _ids(ranking.index_names)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", COLUMNS["retrieval"]])
    for query, row in zip(queries, ranking.ranks[:, :MAX_RETRIEVED].tolist()):
        writer.writerow([query, " ".join(photos[number] for number in row)])
    atomic_write_text(path, text.getvalue())


def _ids(names: Sequence[str]) -> List[str]:
    ids = [name.rsplit("/", 1)[-1] for name in names]
    known: Dict[str, str] = {}
    for name, each in zip(names, ids):
        if not each.isprintable() or " " in each:
            raise UserError(f"{name!r}: its id holds a space, by which the ids of a row are divided; rename the photo")
        other = known.setdefault(each, name)
        if other != name:
            raise UserError(f"{other} and {name} have one id, {each}; rename one")
    return ids
