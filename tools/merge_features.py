"""Merge feature files: the shards of one extraction, or different folders extracted alike."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command


def _arguments(parser) -> None:
    parser.add_argument("--features", required=True, nargs="+", metavar="FILE", help="feature files to merge")
    parser.add_argument("--output", required=True, help="feature file to write")


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run",), _arguments, argv)
    from src.features.merge import merge_features

    merge_features(arguments.features, arguments.output, config.overwrite)


if __name__ == "__main__":
    run_command(main)
