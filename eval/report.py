"""Make a page to look at a ranking: its figures, and each query with its first results, worst query first."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.commands.judging import add_judging_arguments, judge
from src.errors import UserError
from src.retrieval.ranking_file import load_ranking


def _arguments(parser) -> None:
    add_judging_arguments(parser)
    parser.add_argument("--images_path", nargs="+", required=True, help="folders with the photos of queries and index")
    parser.add_argument(
        "--index_features", nargs="+", default=[], help="feature files of the index: draws the inliers of each result"
    )
    parser.add_argument("--query_features", default="", help="feature file of the queries, together with the other")
    parser.add_argument("--num_results", type=int, default=10, help="results of each query (default: %(default)s)")
    parser.add_argument(
        "--output",
        default="report.html",
        help="HTML file; another report there is replaced with --overwrite only (default: %(default)s)",
    )


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, (), _arguments, argv)
    if bool(arguments.index_features) != bool(arguments.query_features):
        raise UserError("the inliers need both --index_features and --query_features")
    if arguments.num_results < 1:
        raise UserError(f"--num_results is {arguments.num_results}; it must be 1 or more")
    from src.report.report import FeatureFiles, Judgement, write_report  # imports OpenCV and h5py

    judgement = features = None
    if arguments.gt_path or arguments.protocol:
        ground_truth, ranking, evaluation, provenance = judge(arguments)
        judgement = Judgement(ground_truth, evaluation)
    else:  # a plain gallery
        ranking, provenance = load_ranking(arguments.ranks)
    if arguments.index_features:
        settings = {**vars(config), **provenance.get("retrieval", {})}  # a ranking of another program has none
        features = FeatureFiles(arguments.index_features, arguments.query_features, settings)
    made = write_report(
        arguments.output, ranking, arguments.images_path, judgement, features, provenance,
        arguments.num_results, config.overwrite,
    )  # fmt: skip
    print(made)


if __name__ == "__main__":
    run_command(main)
