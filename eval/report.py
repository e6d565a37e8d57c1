"""Make a page to look at: the figures, and each query with its first ten results, worst query first."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command import run_command
from src.config import parse_command_line
from src.evaluation.ground_truth import load_ground_truth
from src.evaluation.protocols import PROTOCOLS, choose_protocol, evaluate
from src.evaluation.report import write_report
from src.retrieval.ranking_file import load_ranking


def _arguments(parser) -> None:
    parser.add_argument("--ranks", required=True, help="ranking made by eval/perform_retrieval.py (.npz)")
    parser.add_argument("--gt_path", required=True, help="folder of *_query.txt ... files, or a gnd_r*.pkl file")
    parser.add_argument("--images_path", required=True, help="folder with the photos of queries and index")
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="how positives are defined (default: revisited for a pickle, modelzoo for a folder)",
    )
    parser.add_argument(
        "--output",
        default="report.html",
        help="HTML file; another report there is replaced with --overwrite only (default: %(default)s)",
    )


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, (), _arguments, argv)
    ground_truth = load_ground_truth(arguments.gt_path)
    ranking, _ = load_ranking(arguments.ranks)
    evaluation = evaluate(ground_truth, ranking, choose_protocol(ground_truth, arguments.protocol))
    print(write_report(arguments.output, ground_truth, ranking, evaluation, arguments.images_path, config.overwrite))


if __name__ == "__main__":
    run_command(main)
