"""Convert a feature file to the TensorFlow reference's .delf files or to kapture, or .delf files to a feature file."""

import argparse
from typing import Optional, Sequence

from ..errors import UserError
from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", default="", help="feature file to convert")
    parser.add_argument(
        "--format",
        choices=("delf", "kapture"),
        help="with --features: .delf files, of local features alone, or a folder of kapture 1.1 (default: delf)",
    )
    parser.add_argument(
        "--feature_type", default="", help="with --format kapture: name of the features there (default: delf)"
    )
    parser.add_argument("--delf_path", default="", help="folder of .delf files to convert to a feature file")
    parser.add_argument("--output", required=True, help="folder, or feature file, to write")
    parser.add_argument(
        "--images_path",
        default="",
        help="with --delf_path: the photos, whose sizes .delf files lack; with --format kapture: photos to link",
    )
    parser.add_argument(
        "--checkpoint_sha256",
        default=None,
        help="with --delf_path: identity of the network that made them; index and queries need the same one "
        "(default: as in the features they were converted from, else '')",
    )


COMMAND = Command(
    __doc__,
    "--features features.h5 --output delf_files",
    keys=("overwrite",),
    shown=(
        "features",
        "format",
        "feature_type",
        "delf_path",
        "output",
        "images_path",
        "checkpoint_sha256",
        "overwrite",
    ),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse and convert."""
    config, arguments = COMMAND.parse(argv)
    if bool(arguments.features) == bool(arguments.delf_path):
        raise UserError("give one of --features, to convert it, and --delf_path, to make a feature file")
    kapture = arguments.format == "kapture"
    if arguments.features and (arguments.images_path and not kapture or arguments.checkpoint_sha256 is not None):
        raise UserError("--images_path and --checkpoint_sha256 go with --delf_path: leave them out")
    if arguments.format and not arguments.features or arguments.feature_type and not kapture:
        raise UserError("--format goes with --features, and --feature_type with --format kapture: leave them out")
    from ..features.convert import delf_to_features, features_to_delf
    from ..features.kapture import features_to_kapture

    overwrite = config.run.overwrite
    if kapture:
        features_to_kapture(
            arguments.features, arguments.output, arguments.feature_type or "delf", arguments.images_path, overwrite
        )
    elif arguments.features:
        features_to_delf(arguments.features, arguments.output, overwrite)
    else:
        delf_to_features(
            arguments.delf_path, arguments.output, arguments.images_path, arguments.checkpoint_sha256, overwrite
        )
