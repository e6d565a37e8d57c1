"""Convert a feature file to the TensorFlow reference's .delf files, or a folder of those to a feature file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.errors import UserError


def _arguments(parser) -> None:
    parser.add_argument("--features", default="", help="feature file to convert to .delf files")
    parser.add_argument("--delf_path", default="", help="folder of .delf files to convert to a feature file")
    parser.add_argument("--output", required=True, help="folder of .delf files, or feature file, to write")
    parser.add_argument("--images_path", default="", help="with --delf_path: the photos, whose sizes .delf files lack")
    parser.add_argument(
        "--checkpoint_sha256",
        default=None,
        help="with --delf_path: identity of the network that made them; index and queries need the same one "
        "(default: as in the features they were converted from, else '')",
    )


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run",), _arguments, argv)
    if bool(arguments.features) == bool(arguments.delf_path):
        raise UserError("give one of --features, to make .delf files, and --delf_path, to make a feature file")
    from src.features.convert import delf_to_features, features_to_delf

    if arguments.features:
        features_to_delf(arguments.features, arguments.output, config.overwrite)
    else:
        delf_to_features(
            arguments.delf_path, arguments.output, arguments.images_path, arguments.checkpoint_sha256, config.overwrite
        )


if __name__ == "__main__":
    run_command(main)
