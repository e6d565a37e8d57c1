"""Photos of the same place in a folder of one's own, as groups: a page, and a table group,photo,copy_of.

Two photos are linked where each finds the other with enough inliers: as many as a yes takes by the calibration beside
the checkpoint or in the index, or else --least_inliers. What links connect is a group.
"""

import argparse
import csv
import io
import logging
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..config import Config, MatchingConfig, RetrievalConfig, keys_of
from ..errors import UserError
from ..retrieval_config import GLOBAL_KEYS
from .command_line import Command, refuse_unused_tests

_LEAST_INLIERS = 50  # right for every link of 363 photos of landmarks with a thousand features each
_LEAST_SHARE = 0.7

logger = logging.getLogger(__name__)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", required=True, help="folder made by build_photo_index")
    parser.add_argument("--images_path", default="", help="the indexed photos, where they have moved")
    parser.add_argument("--output", default="groups.csv", help="table to write (default: %(default)s)")
    parser.add_argument("--page", default="groups.html", help="page to write; '' = none (default: %(default)s)")
    parser.add_argument(
        "--least_inliers",
        type=int,
        default=0,
        help=f"of a link; 0 = as many as a yes takes, without a calibration {_LEAST_INLIERS} (default: 0)",
    )
    parser.add_argument(
        "--copy_share",
        type=float,
        default=_LEAST_SHARE,
        help="photos that share so much of their features are copies (default: %(default)s)",
    )
    parser.add_argument("--same_place", default="", help="calibration to take instead (.json)")


COMMAND = Command(
    __doc__, "--index photo_index",
    keys=(
        *keys_of(RetrievalConfig, MatchingConfig, but=("index_type", "keep_matches", "match_distance", *GLOBAL_KEYS)),
        "seed",
    ),
    shown=("index", "images_path", "output", "page", "least_inliers", "copy_share", "same_place", "num_rerank"),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Find the groups, write table and page, and print how many there are."""
    config, arguments = COMMAND.parse(argv)
    refuse_unused_tests(argv, config.retrieval.correspondences)
    if not 0 < arguments.copy_share <= 1:
        raise UserError(f"--copy_share is {arguments.copy_share}; it must be above 0 and at most 1")
    from ..artifacts import atomic_write_text, require_folder, require_place
    from ..replaceable import require_page_place
    from ..report.groups_page import write_groups_page
    from ..retrieval.photo_groups import copies_in, groups_of
    from ..retrieval.photo_index import load_photo_index

    require_place(arguments.output)
    if arguments.page:
        require_page_place(arguments.page, "page")
    made = load_photo_index(arguments.index)
    least, why = _least_inliers(made, config, arguments)
    names, links = _find(made, config, least)
    groups = [[names[photo] for photo in group] for group in groups_of(links)]
    copies = {names[photo]: names[other] for photo, other in copies_in(links, arguments.copy_share).items()}
    atomic_write_text(arguments.output, _table(groups, copies))
    grouped = sum(map(len, groups))
    counts = f"{grouped} of {len(names)} photos in {len(groups)} groups, {len(copies)} near copies; {why}."
    if arguments.page:
        images_path = require_folder(arguments.images_path or made.images_path, "images_path")
        title = f"Groups of {Path(arguments.index).resolve().name}"
        write_groups_page(arguments.page, title, counts, groups, copies, images_path)
    print(f"{arguments.output}: {counts}")


def _least_inliers(made: Any, config: Config, arguments: argparse.Namespace) -> Tuple[int, str]:
    """Inliers of a link, and why so many."""
    from ..matching.same_place import conditions, find_calibration
    from ..retrieval.rerank import search_settings

    if arguments.least_inliers:
        if arguments.same_place:
            raise UserError("--same_place and --least_inliers both choose the links: give one of them")
        return arguments.least_inliers, f"links have {arguments.least_inliers} inliers or more"
    wanted = conditions(made.provenance, search_settings(config.retrieval, config.matching, config.run.seed))
    folders = (made.checkpoint_path.parent, made.folder)
    calibration, reason = find_calibration(wanted, folders, arguments.same_place)
    if calibration is not None and calibration.yes_from is not None:
        return calibration.yes_from, f"links are a yes, from {calibration.yes_from} inliers on"
    logger.info("%s", reason or "the calibration has no yes: no number of inliers is certain enough")
    return _LEAST_INLIERS, f"links have {_LEAST_INLIERS} inliers or more"


def _find(made: Any, config: Config, least: int) -> Tuple[List[str], List[Any]]:
    """Names of the photos, and their links."""
    from ..retrieval.index_folder import read_names, read_sources
    from ..retrieval.index_search import open_index_search
    from ..retrieval.photo_groups import find_links

    if not made.index.is_dir():
        raise UserError(f"{made.folder}: half-made; run the command build_photo_index again")
    names, sources = read_names(made.index), read_sources(made.index)
    with open_index_search(made.index, config.retrieval, config.matching, config.run.seed) as search:
        return names, find_links(search, len(names), lambda photo: sources.read(names[photo]), least)


def _table(groups: Sequence[Sequence[str]], copies: Dict[str, str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", "photo", "copy_of"])
    writer.writerows([number, name, copies.get(name, "")] for number, group in enumerate(groups, 1) for name in group)
    return text.getvalue()
