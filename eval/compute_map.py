"""Judge a ranking by a benchmark's protocol: prints the table, writes mAP.txt and results.json."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.commands.judging import add_judging_arguments, judge
from src.evaluation.result_files import format_table, save_results
from src.evaluation.summaries import format_summary, summarise


def _arguments(parser) -> None:
    add_judging_arguments(parser)
    parser.add_argument(
        "--output",
        default="mAP.txt",
        help="metrics file, results.json goes beside it; other figures there are replaced with --overwrite only "
        "(default: %(default)s)",
    )


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, (), _arguments, argv)
    ground_truth, _, evaluation, provenance = judge(arguments)
    save_results(arguments.output, ground_truth, evaluation, provenance, config.overwrite)
    sizes = f"{len(evaluation.rows)} queries, {evaluation.index_size} photos"
    print(f"{ground_truth.name}, protocol {evaluation.protocol}: {sizes}")
    print(format_table({name: setting.means() for name, setting in evaluation.metrics.items()}))
    print(format_summary(summarise(ground_truth, evaluation)), end="")


if __name__ == "__main__":
    run_command(main)
