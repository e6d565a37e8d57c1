"""Judge a ranking by a benchmark's protocol.

Prints the table, writes mAP.txt, and results.json beside it.
"""

import argparse
from typing import Optional, Sequence

from ..errors import printable
from ..evaluation.evaluate import extra_figures
from ..evaluation.results import format_extra_figures, format_table, save_results
from .command_line import Command
from .judging import add_judging_arguments, judge


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_judging_arguments(parser)
    parser.add_argument(
        "--output",
        default="mAP.txt",
        help="metrics file, results.json goes beside it; other figures there are replaced with --overwrite only "
        "(default: %(default)s)",
    )


COMMAND = Command(
    __doc__,
    "--ranks ranks.npz --gt_path oxford/gt --protocol classic",
    keys=("overwrite",),
    shown=("ranks", "gt_path", "protocol", "output", "overwrite"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, judge, write and print."""
    config, arguments = COMMAND.parse(argv)
    ground_truth, _, evaluation, provenance = judge(arguments)
    save_results(arguments.output, ground_truth, evaluation, provenance, config.run.overwrite)
    sizes = f"{len(evaluation.rows)} queries, {evaluation.index_size} photos"
    print(f"{printable(ground_truth.name)}, protocol {evaluation.protocol}: {sizes}")
    print(format_table({name: setting.means() for name, setting in evaluation.metrics.items()}))
    print(format_extra_figures(extra_figures(ground_truth, evaluation)), end="")
