"""Fit the PCA that shortens descriptors, on a feature file extracted without one."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.command import run_command
from src.config import parse_command_line
from src.errors import UserError


def _arguments(parser) -> None:
    parser.add_argument(
        "--features", required=True, help="feature file of raw descriptors (extracted with no pca_path)"
    )
    parser.add_argument("--output", default="pca.npz", help="PCA to write (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=None, help="dimensions to keep (default: the recipe's pca_dim, 40)")


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run",), _arguments, argv)
    dim = config.pca_dim if arguments.dim is None else arguments.dim
    if dim < 1:
        raise UserError(f"--dim is {dim}; it must be above 0")
    from src.features.learn_pca import learn_pca

    learn_pca(arguments.features, arguments.output, dim, config.overwrite)


if __name__ == "__main__":
    run_command(main)
