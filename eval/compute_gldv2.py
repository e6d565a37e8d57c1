"""Judge predictions for Google Landmarks v2 from csv files: recognition by GAP, retrieval by mAP@100."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.artifacts import atomic_write_json
from src.commands.command_line import parse_command_line, run_command
from src.errors import UserError
from src.evaluation.gldv2 import TASKS, evaluate_gldv2


def _arguments(parser) -> None:
    parser.add_argument("--task", required=True, choices=TASKS, help="what was predicted")
    parser.add_argument(
        "--predictions", required=True, help="csv: id,landmarks ('landmark score') or id,images (best first)"
    )
    parser.add_argument("--solution", required=True, help="csv: id,landmarks,Usage or id,images,Usage")
    parser.add_argument("--output", default="", help="JSON file for the unrounded figures (default: none)")


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, (), _arguments, argv)
    if arguments.output and Path(arguments.output).exists() and not config.overwrite:
        raise UserError(f"{arguments.output}: exists; give --overwrite to replace it, or another --output")
    figures = evaluate_gldv2(arguments.task, arguments.predictions, arguments.solution)
    for usage, values in figures.items():
        print(usage)
        for name, value in values.items():
            shown = f"{value:.6f}" if isinstance(value, float) else "-" if value is None else str(value)
            print(f"  {name:34}{shown:>10}")
    if arguments.output:
        atomic_write_json(arguments.output, {"task": arguments.task, "figures": figures})


if __name__ == "__main__":
    run_command(main)
