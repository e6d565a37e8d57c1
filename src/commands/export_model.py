"""Export the network of a checkpoint to ONNX or MindIR.

It is one file that needs no recipe and, as ONNX, no MindSpore. It is read again, run beside the checkpoint on images
of three sizes, and kept if it agrees.
"""

import argparse
from pathlib import Path
from typing import Dict, Optional, Sequence

from ..config import Config, ExtractionConfig
from .command_line import Command


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", required=True, choices=("MINDIR", "ONNX"), help="of the file")
    parser.add_argument("--output", type=Path, help="file to write (default: the checkpoint's name, .mindir or .onnx)")
    parser.add_argument("--pca", default="", help="PCA (.npz) for the file to carry: extraction then uses it")


COMMAND = Command(
    __doc__, "--checkpoint_path delf.ckpt --format ONNX",
    keys=(
        "checkpoint_path", "architecture", "weights_style", "load_stem", "kernel_init", "kernel_init_gain",
        "attention_init", "seed", "force_pca", "overwrite",
    ),
    shown=("format", "output", "pca", "checkpoint_path", "architecture", "weights_style", "force_pca", "overwrite"),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Export, check, and print the differences."""
    config, arguments = COMMAND.parse(argv)
    from ..artifacts import require_file
    from ..engines.export import SUFFIX_OF_FORMAT, TOLERANCE, export_model

    checkpoint = require_file(config.model.checkpoint_path, "checkpoint_path")
    output = arguments.output or checkpoint.with_suffix(SUFFIX_OF_FORMAT[arguments.format])
    texts = _texts_of_pca(config, arguments.pca) if arguments.pca else {}
    differences = export_model(config.run, config.model, output, arguments.format, texts)
    print("largest difference from the checkpoint, relative to the largest number")
    for found in differences:
        print(
            f"  batch {found.batch}, {found.height:4}x{found.width:<4}  feature map {found.feature_map:.1e}, "
            f"attention {found.attention:.1e}  ({found.engine})"
        )
    worst = max(max(found.feature_map, found.attention) for found in differences)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, differs by {worst:.1e} at most ({TOLERANCE} is allowed)")


def _texts_of_pca(config: Config, pca_path: str) -> Dict[str, str]:
    """The text that carries the PCA; UserError when it is none, or was fitted on another network and is not forced."""
    from ..engines import weights_identity
    from ..features.pca import fitting_pca, pca_as_text
    from ..model.architectures import architecture_of

    wanted = ExtractionConfig(pca_path=pca_path, pca_dim=1, force_pca=config.extraction.force_pca)
    weights = weights_identity(config.run, config.model)
    channels = architecture_of(config.model).block3_channels
    return {"pca": pca_as_text(fitting_pca(wanted, config.model.checkpoint_path, weights, channels))}
