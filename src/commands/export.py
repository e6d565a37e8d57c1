"""Features, matches and rankings as files of other programs: hloc, kapture, COLMAP, GLDv2's csv, NumPy.

Pairs are those of --pairs, or each query of --ranks with its best photos; matches are verified by RANSAC. hloc reads
the feature file itself as it is.
"""

import argparse
from typing import Any, List, Optional, Sequence

from ..config import Config, MatchingConfig, keys_of
from ..errors import UserError
from .command_line import Command, refuse_options

FORMATS = ("hloc", "kapture", "colmap", "gldv2", "npy")
_OF_MATCHES = ("pairs", "ranks", "num_matched", "least_inliers", "seed", *keys_of(MatchingConfig))
_OF_KAPTURE = ("feature_type", "images_path")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    parser.add_argument("--features", default="", help="feature file (.h5); all but gldv2 want one")
    parser.add_argument(
        "--pairs", default="", help="pairs of its photos: hloc's text of two names a line, or the csv of mine_pairs"
    )
    parser.add_argument("--ranks", default="", help="ranking (.npz); of gldv2, or in place of --pairs")
    parser.add_argument(
        "--num_matched", type=int, default=20, help="with --ranks: photos of each query (default: %(default)s)"
    )
    parser.add_argument(
        "--least_inliers", type=int, default=15, help="pairs with fewer are left out (default: %(default)s)"
    )
    parser.add_argument("--feature_type", default="", help="of kapture: name of the features there (default: delf)")
    parser.add_argument("--images_path", default="", help="of kapture: photos to link")
    parser.add_argument("--output", required=True, help="folder to write; of gldv2 a csv file")


COMMAND = Command(
    __doc__, "--format colmap --features features.h5 --pairs pairs.txt --output colmap",
    keys=(*keys_of(MatchingConfig), "seed", "overwrite"),
    shown=(
        "format", "features", "pairs", "ranks", "num_matched", "least_inliers", "feature_type", "images_path", "output",
        "match_distance", "overwrite",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse and write."""
    config, arguments = COMMAND.parse(argv)
    _refuse_idle(argv, arguments)
    if arguments.format == "gldv2":
        from ..evaluation.gldv2_submission import write_submission
        from ..retrieval.ranking_file import load_ranking

        write_submission(load_ranking(arguments.ranks)[0], arguments.output, config.run.overwrite)
    elif arguments.format == "npy":
        from ..features.global_arrays import features_to_npy

        features_to_npy(arguments.features, arguments.output, config.run.overwrite)
    else:
        _export_matches(config, arguments)


def _export_matches(config: Config, arguments: argparse.Namespace) -> None:
    from ..features.kapture import features_to_kapture
    from ..matching.export_files import export_matches, matched_pairs

    given, overwrite = bool(arguments.pairs or arguments.ranks), config.run.overwrite
    how = (config.matching, arguments.least_inliers, config.run.seed)
    if arguments.format == "kapture":
        pairs = matched_pairs(_pairs(arguments), *how) if given else None
        kind = arguments.feature_type or "delf"
        features_to_kapture(arguments.features, arguments.output, kind, arguments.images_path, overwrite, pairs)
    else:
        export_matches(arguments.features, _pairs(arguments), arguments.output, arguments.format, *how, overwrite)


def _pairs(arguments: argparse.Namespace) -> List[Any]:
    from ..features.feature_file import FeatureFile
    from ..matching.export_pairs import find_pairs, read_pairs
    from ..retrieval.ranked_pairs import ranked_pairs

    with FeatureFile(arguments.features, "features") as source:
        names = source.names
    if arguments.pairs:
        return read_pairs(arguments.pairs, names)
    return find_pairs(ranked_pairs(arguments.ranks, arguments.num_matched), names, arguments.ranks)


def _refuse_idle(argv: Optional[Sequence[str]], arguments: argparse.Namespace) -> None:
    """UserError for what is missing, and for options that the format has no use for."""
    format = arguments.format
    why = f"has no effect with --format {format}: leave it out"
    if format != "kapture":
        refuse_options(argv, _OF_KAPTURE, why)
    if format in ("gldv2", "npy"):
        refuse_options(argv, [name for name in _OF_MATCHES if (format, name) != ("gldv2", "ranks")], why)
    if format == "gldv2":
        refuse_options(argv, ("features",), why)
    wanted = "ranks" if format == "gldv2" else "features"
    if not getattr(arguments, wanted):
        raise UserError(f"--format {format} wants --{wanted}")
    if format in ("hloc", "colmap", "kapture"):
        if arguments.pairs and arguments.ranks:
            raise UserError("--pairs and --ranks both choose the pairs: give one of them")
        if not (arguments.pairs or arguments.ranks):
            if format != "kapture":
                raise UserError(f"--format {format} wants pairs of photos: give --pairs or --ranks")
            refuse_options(argv, _OF_MATCHES, "has no effect without --pairs or --ranks: leave it out")
    if not arguments.ranks:
        refuse_options(argv, ("num_matched",), "goes with --ranks: leave it out")
    for name in ("num_matched", "least_inliers"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} is {getattr(arguments, name)}; it must be above 0")
