"""Make a page to look at a ranking, one HTML file.

It shows the figures, and each query with its first results, the worst query first, and behind them the first positive
that was missed. An opened result shows the matches that retrieval verified, where they were kept with the ranking.
"""

import argparse
from typing import Optional, Sequence

from ..errors import UserError
from ..retrieval.ranking_file import load_ranked_matches, load_ranking
from .command_line import Command
from .judging import add_judging_arguments, judge


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_judging_arguments(parser)
    parser.add_argument("--images_path", nargs="+", required=True, help="folders with the photos of queries and index")
    parser.add_argument("--num_results", type=int, default=10, help="results of each query (default: %(default)s)")
    parser.add_argument(
        "--output",
        default="report.html",
        help="HTML file; another report there is replaced with --overwrite only (default: %(default)s)",
    )
    parser.add_argument("--title", default="", help="of the page (default: the ground truth's name and the protocol)")
    parser.add_argument(
        "--same_place",
        default="",
        help="calibration made by calibrate_same_place for rankings like this one: verified pairs say yes, "
        "perhaps or no",
    )


COMMAND = Command(
    __doc__,
    "--ranks ranks.npz --images_path oxford/jpg --gt_path oxford/gt --protocol classic",
    keys=("overwrite",),
    shown=("ranks", "images_path", "gt_path", "protocol", "num_results", "output", "title", "same_place", "overwrite"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, judge, write the page and print where it is."""
    config, arguments = COMMAND.parse(argv)
    if arguments.num_results < 1:
        raise UserError(f"--num_results is {arguments.num_results}; it must be 1 or more")
    from ..evaluation.same_place import conditions_of_ranking
    from ..matching.same_place import find_calibration
    from ..report.report import write_report  # imports OpenCV
    from ..report.results import Judgement

    judgement = None
    if arguments.gt_path or arguments.protocol:
        ground_truth, ranking, evaluation, provenance = judge(arguments)
        judgement = Judgement(ground_truth, evaluation)
    else:  # photos alone
        ranking, provenance = load_ranking(arguments.ranks)
    matches, calibration = load_ranked_matches(arguments.ranks), None
    if arguments.same_place:
        wanted = conditions_of_ranking(provenance, arguments.ranks)
        calibration, _ = find_calibration(wanted, (), arguments.same_place)
    made = write_report(
        arguments.output, ranking, arguments.images_path, judgement, matches, provenance,
        arguments.num_results, config.run.overwrite, arguments.title, calibration,
    )  # fmt: skip
    print(made)
