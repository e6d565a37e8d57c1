"""Propose boxes of photos from their attention scores, for indexes with regions, where there is no detector.

The boxes are squares of R-MAC's grid that hold more of a photo's attention than their share of its area; this knows
nothing of landmarks. A detector's boxes serve in the same table: photo,x1,y1,x2,y2,score.
"""

import argparse
from typing import Optional, Sequence

from ..errors import UserError
from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", required=True, help="feature file with local features (.h5)")
    parser.add_argument("--output", default="boxes.csv", help="table to write (default: %(default)s)")
    parser.add_argument(
        "--grid_levels", type=int, default=4, help="scales of squares that are looked at (default: %(default)s)"
    )
    parser.add_argument("--max_boxes", type=int, default=4, help="boxes of a photo (default: %(default)s)")
    parser.add_argument(
        "--box_iou",
        type=float,
        default=0.5,
        help="a box that overlaps a better one more is left out, intersection over union (default: %(default)s)",
    )


COMMAND = Command(
    __doc__,
    "--features photos.h5 --output boxes.csv",
    keys=("overwrite",),
    shown=("features", "output", "grid_levels", "max_boxes", "box_iou", "overwrite"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Propose, and print how many."""
    config, arguments = COMMAND.parse(argv)
    if not 1 <= arguments.grid_levels <= 20 or arguments.max_boxes < 1 or arguments.box_iou > 1:
        raise UserError("--grid_levels is 1 to 20, --max_boxes 1 or more, --box_iou 0 to 1")
    from ..features.boxes import read_boxes
    from ..features.propose_boxes import ProposalRules, propose_boxes

    rules = ProposalRules(arguments.grid_levels, arguments.max_boxes, arguments.box_iou)
    propose_boxes(arguments.features, arguments.output, rules, config.run.overwrite)
    boxes = read_boxes(arguments.output)
    print(f"{arguments.output}: {sum(map(len, boxes.values()))} boxes of {len(boxes)} photos")
