"""Draw a demo data set in the layouts of GLDv2 and Oxford, so that nothing need be downloaded.

It holds photos of drawn buildings: gldv2/ to train on, oxford/ to match and retrieve with its ground truth.
"""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Optional, Sequence

from ..demo.settings import DemoSettings
from .command_line import Command

_SHOWN = ("output", "seed", "num_classes", "photos_per_class", "num_eval_landmarks", "num_distractors", "workers")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder to make")
    for field in fields(DemoSettings):
        parser.add_argument(
            f"--{field.name}",
            type=int,
            default=field.default,
            metavar="PIXELS" if field.name.endswith("_size") else "N",
            help=f"{field.metadata['help']} (default: %(default)s)",
        )
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N",
        help="processes; the files do not depend on them (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="make again a data set of other settings")


COMMAND = Command(__doc__, "--output=demo --seed=0", shown=(*_SHOWN, "overwrite"), add_arguments=_arguments)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Make the data set that the arguments describe."""
    _, arguments = COMMAND.parse(argv)
    from ..demo.dataset import make_demo_dataset

    values = vars(arguments)
    output, workers, overwrite = (values.pop(name) for name in ("output", "workers", "overwrite"))
    make_demo_dataset(output, DemoSettings(**values), workers, overwrite)
