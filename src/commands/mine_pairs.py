"""Find pairs of photos of one label that show the same place: positives to train with, and to learn a whitening from.

Photos of one label are matched and verified by their local features; a pair has at least --min_inliers inliers. How
many are enough depends on the network: the last figure says how often photos of different labels pass. A run that was
stopped goes on where it was.
"""

import argparse
import os
from typing import Optional, Sequence

from ..config import MatchingConfig, keys_of
from ..errors import UserError
from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", required=True, help="feature file with local features (.h5)")
    parser.add_argument(
        "--labels", default="",
        help="labels of its photos: a .csv of path,label, a folder with a sub-folder for each label, or a data set "
        "(default: the first folder of a photo's name)",
    )  # fmt: skip
    parser.add_argument("--output", default="pairs.csv", help="table photo_a,photo_b,inliers (default: %(default)s)")
    parser.add_argument("--min_inliers", type=int, default=20, help="inliers of a pair at least (default: 20)")
    parser.add_argument(
        "--max_pairs_a_class", type=int, default=100, help="pairs sought of each label; 0 = all (default: 100)"
    )
    parser.add_argument(
        "--max_tries_a_class", type=int, default=1000,
        help="pairs of each label that are looked at, drawn by --seed; 0 = all (default: 1000)",
    )  # fmt: skip


COMMAND = Command(
    __doc__, "--features train.h5 --output pairs.csv",
    keys=(*keys_of(MatchingConfig), "search_threads", "seed", "overwrite"),
    shown=(
        "features", "labels", "output", "min_inliers", "max_pairs_a_class", "max_tries_a_class", "match_distance",
        "mutual_check", "ransac_residual", "search_threads", "overwrite",
    ),
    add_arguments=_arguments,
    defaults={"mutual_check": True},  # else many features of one photo may agree with one of the other
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, read the labels, mine and print the counts."""
    config, arguments = COMMAND.parse(argv)
    from ..data.photo_labels import label_photos
    from ..features.feature_file import FeatureFile
    from ..matching.mine_pairs import MiningRules, mine_pairs
    from ..retrieval.votes import num_cores

    if arguments.labels and os.path.realpath(arguments.labels) == os.path.realpath(arguments.output):
        raise UserError(f"{arguments.output}: is the table of --labels; give another --output")
    with FeatureFile(arguments.features, "features") as source:
        classes = label_photos(source.names, arguments.labels)
    rules = MiningRules(arguments.min_inliers, arguments.max_pairs_a_class, arguments.max_tries_a_class)
    counts = mine_pairs(
        arguments.features, classes, arguments.output, config.matching, rules, config.run.seed,
        config.retrieval.search_threads or num_cores(), config.run.overwrite,
    )  # fmt: skip
    print(f"{arguments.output}: {counts}")
