"""Search one's own photos: a table or JSON of the best ones for each query photo, and a page with the matches drawn."""

import argparse
import dataclasses
import json
import logging
from pathlib import Path
from typing import Any, Optional, Sequence

from ..config import MatchingConfig, RetrievalConfig, keys_of
from ..errors import UserError, printable
from ..matching.same_place import NO
from ..retrieval_config import GLOBAL_KEYS
from .command_line import Command, refuse_unused_tests

logger = logging.getLogger(__name__)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", required=True, help="folder made by build_photo_index")
    parser.add_argument("--query", required=True, help="a photo, or a folder of photos")
    parser.add_argument("--top_k", type=int, default=10, help="results of each query (default: %(default)s)")
    parser.add_argument("--images_path", default="", help="the indexed photos, where they have moved")
    parser.add_argument(
        "--output",
        default="search.html",
        help="page to write, in place of an older one; '' = none (default: %(default)s)",
    )
    parser.add_argument(
        "--same_place",
        default="",
        help="calibration made by calibrate_same_place, for the answers yes, perhaps and no (default: the one beside "
        "the checkpoint, or in the index)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


COMMAND = Command(
    __doc__, "--index photo_index --query photo.jpg",
    keys=(
        *keys_of(RetrievalConfig, MatchingConfig, but=("index_type", "keep_matches", "match_distance", *GLOBAL_KEYS)),
        "checkpoint_path", "engine", "device_target", "seed",
    ),
    shown=("index", "query", "top_k", "images_path", "output", "json", "same_place", "checkpoint_path", "num_rerank"),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Search, print each query's results, and write the page."""
    config, arguments = COMMAND.parse(argv)
    refuse_unused_tests(argv, config.retrieval.correspondences)
    if arguments.top_k < 1:
        raise UserError(f"--top_k is {arguments.top_k}; it must be above 0")
    from ..artifacts import require_folder
    from ..replaceable import require_page_place
    from ..report.search_page import SearchPage
    from ..retrieval import photo_search
    from ..retrieval.photo_index import load_photo_index

    if arguments.output:  # found out now that a page cannot stand there
        require_page_place(arguments.output)
    moved = require_folder(arguments.images_path, "images_path") if arguments.images_path else None
    photo_index, queries = load_photo_index(arguments.index), photo_search.query_photos(arguments.query)
    if moved:
        photo_index = dataclasses.replace(photo_index, images_path=moved)
    sections = (config.run, config.model, config.matching, config.retrieval)
    answers = []
    with photo_search.PhotoSearch(photo_index, *sections, same_place=arguments.same_place) as search:
        page = SearchPage(search.index, photo_index.images_path, search.no_verdict)
        for found in search.find_all(queries, arguments.top_k):
            answers.append(found.as_json())
            if not arguments.json:
                _print_table(found)
            if arguments.output:
                page.add(found)
        if search.no_verdict:
            logger.info("%s", search.no_verdict)
    if not answers:
        raise UserError(f"{arguments.query}: no query could be searched with")
    if arguments.json:
        print(json.dumps(answers, indent=2, ensure_ascii=False))
    if arguments.output:
        page.write(arguments.output, f"Search of {Path(arguments.index).resolve().name}")


def _print_table(found: Any) -> None:
    print(f"{printable(found.query.name)}: {len(found.features)} features")
    rows = [{**result.as_row(), "photo": printable(result.name)} for result in found.results]
    width = max([len(row["photo"]) for row in rows] + [5])
    if rows:
        print(f"  rank  {'photo':<{width}}  inliers  correspondences{'  same place' if found.judged else ''}")
    for row, result in zip(rows, found.results):
        inliers = row["inliers"] if row["score"] >= 0 else "-"
        answer = str(result.verdict or "-") if found.judged else ""
        line = f"  {row['rank']:>4}  {row['photo']:<{width}}  {inliers:>7}  {row['correspondences']:>15}  {answer}"
        print(line.rstrip())
    if not rows:
        print("  nothing in the index resembles it")
    elif found.answer == NO:
        print("  nothing here is the same place")
    if found.left_out:
        print(f"  left out: {printable(found.left_out)}, the query itself")
