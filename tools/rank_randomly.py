"""Rank the photos of an index at random for every query: the baseline that any retrieval must beat."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command


def _arguments(parser) -> None:
    parser.add_argument("--index", required=True, help="index folder made by eval/build_index.py")
    parser.add_argument("--query_features", required=True, help="feature file of the queries (.h5)")
    parser.add_argument("--output", default="ranks_random.npz", help="ranking file to write (default: %(default)s)")


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run",), _arguments, argv)
    from src.retrieval.baseline import rank_randomly  # imports faiss and h5py, which --help does not need

    rank_randomly(arguments.index, arguments.query_features, arguments.output, config)


if __name__ == "__main__":
    run_command(main)
