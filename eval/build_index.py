"""Build the index of a feature file, for retrieval."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command import run_command
from src.config import parse_command_line


def _arguments(parser) -> None:
    parser.add_argument("--features", required=True, help="feature file of the index photos (.h5)")
    parser.add_argument("--output", required=True, help="index folder to make")


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "retrieval"), _arguments, argv)
    from src.retrieval.build import build_index  # imports faiss and h5py, which --help does not need

    build_index(arguments.features, arguments.output, config.index_type, config.seed, config.overwrite)


if __name__ == "__main__":
    run_command(main)
