"""Build the index of one or several feature files, for retrieval, or add photos to an index."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.errors import UserError


def _arguments(parser) -> None:
    parser.add_argument(
        "--features", required=True, nargs="+", help="feature files (.h5) of the index photos, all of the same settings"
    )
    parser.add_argument("--output", required=True, help="index folder to make, or with --add to add to")
    parser.add_argument("--add", action="store_true", help="add the photos to the index that stands at --output")


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "retrieval"), _arguments, argv)
    if arguments.add and (config.index_type or config.overwrite):
        raise UserError("--add keeps the index and its type; leave out --index_type and --overwrite")
    from src.retrieval.build import add_to_index, build_index  # imports faiss and h5py, which --help does not need
    from src.retrieval.index import describe_size

    if arguments.add:
        add_to_index(arguments.features, arguments.output)
    else:
        build_index(arguments.features, arguments.output, config.index_type, config.seed, config.overwrite)
    print(f"{arguments.output}: {describe_size(arguments.output)}")


if __name__ == "__main__":
    run_command(main)
