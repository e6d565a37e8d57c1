"""Draw the queries of lowest average precision with the first false photo and the first one missed behind it."""

import argparse
from typing import Optional, Sequence

from ..errors import UserError
from .command_line import Command
from .judging import add_judging_arguments, judge


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_judging_arguments(parser)
    parser.add_argument("--images_path", nargs="+", required=True, help="folders with the photos of queries and index")
    parser.add_argument("--num_queries", type=int, default=8, help="queries drawn (default: %(default)s)")
    parser.add_argument("--output_image", default="worst_queries.png", help="picture to write (default: %(default)s)")


COMMAND = Command(
    __doc__,
    "--ranks ranks.npz --images_path oxford/jpg --gt_path oxford/gt --protocol classic",
    shown=("ranks", "images_path", "gt_path", "protocol", "num_queries", "output_image"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, judge, print the table and draw."""
    _, arguments = COMMAND.parse(argv)
    if arguments.num_queries < 1:
        raise UserError(f"--num_queries is {arguments.num_queries}; it must be 1 or more")
    from ..replaceable import require_picture_place
    from ..report.failures import draw_failures, format_failures, worst_queries
    from ..report.results import Judgement

    require_picture_place(arguments.output_image)
    ground_truth, ranking, evaluation, provenance = judge(arguments)
    failures = worst_queries(ranking, Judgement(ground_truth, evaluation), provenance, arguments.num_queries)
    draw_failures(failures, arguments.images_path, arguments.output_image, provenance, ranking)
    print(format_failures(failures, provenance, ranking))
    print(f"picture: {arguments.output_image}")
