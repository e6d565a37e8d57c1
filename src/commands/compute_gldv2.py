"""Judge predictions for Google Landmarks v2 from csv files.

Recognition is judged by GAP, retrieval by mAP@100.
"""

import argparse
from typing import Optional, Sequence

from ..errors import printable
from .command_line import Command, refuse_options


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True, choices=("recognition", "retrieval"), help="what was predicted")
    parser.add_argument(
        "--predictions", required=True, help="csv: id,landmarks ('landmark score') or id,images (best first)"
    )
    parser.add_argument("--solution", required=True, help="csv: id,landmarks,Usage or id,images,Usage")
    parser.add_argument("--output", default="", help="JSON file for the unrounded figures (default: none)")


COMMAND = Command(
    __doc__,
    "--task retrieval --predictions predictions.csv --solution retrieval_solution_v2.1.csv",
    keys=("overwrite",),
    shown=("task", "predictions", "solution", "output", "overwrite"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, judge, write and print."""
    config, arguments = COMMAND.parse(argv)
    if not arguments.output:
        refuse_options(argv, ("overwrite",), "has no effect without --output: leave it out")
    from ..evaluation.gldv2 import evaluate_gldv2, save_figures  # imports pandas

    figures = evaluate_gldv2(arguments.task, arguments.predictions, arguments.solution)
    if arguments.output:
        save_figures(
            arguments.output, arguments.task, arguments.predictions, arguments.solution, figures, config.run.overwrite
        )
    for usage, values in figures.items():
        print(printable(usage))
        for name, value in values.items():
            shown = f"{value:.6f}" if isinstance(value, float) else "-" if value is None else str(value)
            print(f"  {name:34}{shown:>10}")
