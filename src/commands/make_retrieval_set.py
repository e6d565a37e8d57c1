"""Make an evaluation set out of one's own labelled folder: some classes are held out, their photos are retrieved.

The other classes stay to train on, so that settings can be chosen on landmarks that training has not seen.
"""

import argparse
from typing import Optional, Sequence

from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image_folder", required=True, metavar="FOLDER", help="one sub-folder for each landmark")
    parser.add_argument("--output", required=True, metavar="FOLDER",
                        help="folder to make: jpg/ and gt/ to evaluate on, train/ to train on")  # fmt: skip
    parser.add_argument("--every", type=int, default=9, metavar="N",
                        help="hold out every N-th landmark, 1 = all (default: %(default)s)")  # fmt: skip
    parser.add_argument("--queries", type=int, default=5, metavar="N",
                        help="queries of each landmark at most (default: %(default)s)")  # fmt: skip


COMMAND = Command(
    __doc__,
    "--image_folder photos --output held_out",
    keys=("seed", "overwrite"),
    shown=("image_folder", "output", "every", "queries", "seed", "overwrite"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Make the set that the arguments describe."""
    config, arguments = COMMAND.parse(argv)
    from ..errors import UserError
    from ..evaluation.retrieval_set import make_retrieval_set

    for name in ("every", "queries"):
        if getattr(arguments, name) < 1:
            raise UserError(f"`{name}` is {getattr(arguments, name)}; it must be 1 or more")
    run = config.run
    make_retrieval_set(
        arguments.image_folder, arguments.output, arguments.every, arguments.queries, run.seed, run.overwrite
    )
