"""The pairs of photos that a ranking proposes: each query with its best photos."""

from typing import Iterator, Tuple

from ..artifacts import PathLike
from .ranking_file import load_ranking


def ranked_pairs(path: PathLike, num_matched: int) -> Iterator[Tuple[str, str, str]]:
    """(origin, query, photo) of each query's best photos, as names without extension.

    Args:
        path: ranking file.
        num_matched: photos of each query; the query itself is one of them where the index has it.

    Raises:
        UserError: no ranking file, or a damaged one.
    """
    ranking, _ = load_ranking(path)
    for query, row in zip(ranking.query_names, ranking.ranks[:, :num_matched].tolist()):
        for number in row:
            yield str(path), query, ranking.index_names[number]
