"""Export the network of a checkpoint to ONNX or MindIR: one file that needs no recipe and, as ONNX, no MindSpore.

The file is read again, run beside the checkpoint on images of three sizes, and kept if it agrees.
"""

import argparse
import sys
from pathlib import Path
from typing import List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", required=True, choices=("MINDIR", "ONNX"), help="of the file")
    parser.add_argument("--output", type=Path, help="file to write (default: the checkpoint's name, .mindir or .onnx)")
    parser.add_argument("--pca", default="", help="PCA (.npz) for the file to carry: extraction then uses it")


def main(argv: Optional[List[str]] = None) -> None:
    """Export, check, and print the differences."""
    config, arguments = parse_command_line(__doc__, ("run", "model"), _add_arguments, argv)
    from src.artifacts import require_file
    from src.engines.export import SUFFIX_OF_FORMAT, TOLERANCE, export_model

    checkpoint = require_file(config.checkpoint_path, "checkpoint_path")
    output = arguments.output or checkpoint.with_suffix(SUFFIX_OF_FORMAT[arguments.format])
    differences = export_model(config, output, arguments.format, arguments.pca)
    print("largest difference from the checkpoint, relative to the largest number")
    for found in differences:
        print(
            f"  batch {found.batch}, {found.height:4}x{found.width:<4}  feature map {found.feature_map:.1e}, "
            f"attention {found.attention:.1e}  ({found.engine})"
        )
    worst = max(max(found.feature_map, found.attention) for found in differences)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, differs by {worst:.1e} at most ({TOLERANCE} is allowed)")


if __name__ == "__main__":
    run_command(main)
