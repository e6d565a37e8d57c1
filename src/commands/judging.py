"""What the commands that judge a ranking share: their options, and the way from these to an Evaluation."""

from argparse import ArgumentParser, Namespace
from typing import NamedTuple

from ..evaluation.evaluate import Evaluation, evaluate
from ..evaluation.ground_truth import GroundTruth
from ..evaluation.protocols import PROTOCOLS, choose_protocol, of_index
from ..records import Provenance, Ranking
from ..retrieval.ranking_file import load_ranking


class Judged(NamedTuple):
    """A ranking file judged: ``evaluation`` of ``ranking`` by ``ground_truth``, and how the ranking was made."""

    ground_truth: GroundTruth
    ranking: Ranking
    evaluation: Evaluation
    provenance: Provenance


def add_judging_arguments(parser: ArgumentParser) -> None:
    """Add --ranks, --gt_path and --protocol."""
    parser.add_argument("--ranks", required=True, help="ranking made by the command perform_retrieval (.npz)")
    parser.add_argument(
        "--gt_path",
        default="",
        help="folder of *_query.txt ... files, a gnd_*.pkl or gnd_*.mat file, or a table path,label[,query] (.csv); "
        "holidays, ukbench and labelled need none: the index photos' names and folders say it",
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="how positives are defined (default: modelzoo for a text folder, for a file the one it belongs to: "
        "revisited, classic, instre or labelled)",
    )


def judge(arguments: Namespace) -> Judged:
    """Judge the ranking that ``add_judging_arguments``' options name.

    Raises:
        UserError: ranking, ground truth and protocol do not go together, or one cannot be read.
    """
    from ..evaluation.ground_truth_files import load_ground_truth  # imports OpenCV

    ranking, provenance = load_ranking(arguments.ranks)
    ground_truth = load_ground_truth(arguments.gt_path, arguments.protocol, ranking.index_names)
    ground_truth = of_index(ground_truth, ranking.index_names)
    evaluation = evaluate(ground_truth, ranking, choose_protocol(ground_truth, arguments.protocol))
    return Judged(ground_truth, ranking, evaluation, provenance)
