"""Export the network of a checkpoint to ONNX or MindIR.

It is one file that needs no recipe and, as ONNX, no MindSpore. It is read again, run beside the checkpoint on images
of three sizes, and kept if it agrees. For global descriptors it carries how their maps are pooled.
"""

import argparse
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple

from ..config import Config, ExtractionConfig
from ..features.kinds import BOTH, GLOBAL, KINDS, LOCAL
from .command_line import Command, refuse_options
from .global_options import refuse_idle_options

_POOLING_KEYS = ("pooling", "gem_p", "rmac_levels", "descriptor_layer", "head")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", required=True, choices=("MINDIR", "ONNX"), help="of the file")
    parser.add_argument("--output", type=Path, help="file to write (default: the checkpoint's name, .mindir or .onnx)")
    parser.add_argument(
        "--features", default=LOCAL, choices=KINDS, help="what it will be used to extract (default: %(default)s)"
    )
    parser.add_argument("--pca", default="", help="PCA (.npz) for the file to carry: extraction then uses it")


COMMAND = Command(
    __doc__, "--checkpoint_path delf.ckpt --format ONNX",
    keys=(
        "checkpoint_path", "architecture", "weights_style", "load_stem", "kernel_init", "kernel_init_gain",
        "attention_init", "seed", "force_pca", "overwrite", *_POOLING_KEYS,
    ),
    shown=(
        "format", "features", "output", "pca", "checkpoint_path", "architecture", "weights_style", "force_pca",
        "pooling", "descriptor_layer", "overwrite",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Export, check, and print the differences."""
    config, arguments = COMMAND.parse(argv)
    kind = arguments.features
    refuse_idle_options(argv, kind, config.descriptor)
    if kind == GLOBAL:
        refuse_options(argv, ("pca",), "is of local features: leave it out, or give --features local or both")
    from ..artifacts import require_file
    from ..engines.export import SUFFIX_OF_FORMAT, TOLERANCE, export_model

    checkpoint = require_file(config.model.checkpoint_path, "checkpoint_path")
    output = arguments.output or checkpoint.with_suffix(SUFFIX_OF_FORMAT[arguments.format])
    texts = _texts_of_pca(config, arguments.pca) if arguments.pca else {}
    if kind != GLOBAL:
        texts.update(_texts_of_layer(str(checkpoint)))
    outputs, pooling = _outputs_and_pooling(config, kind)
    differences = export_model(config.run, config.model, output, arguments.format, {**texts, **pooling}, outputs)
    print("largest difference from the checkpoint, relative to the largest number")
    for found in differences:
        values = ", ".join(f"{name.replace('_', ' ')} {getattr(found, name):.1e}" for name in outputs)
        print(f"  batch {found.batch}, {found.height:4}x{found.width:<4}  {values}  ({found.engine})")
    worst = max(found.worst for found in differences)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, differs by {worst:.1e} at most ({TOLERANCE} is allowed)")


def _outputs_and_pooling(config: Config, kind: str) -> Tuple[Tuple[str, ...], Dict[str, str]]:
    """What the network is to give for a kind of features, and the text that carries the pooling of global ones."""
    from ..engines import DELF_OUTPUTS

    if kind == LOCAL:
        return DELF_OUTPUTS, {}
    from ..features.global_settings import EXPORT_TEXT, decide

    settings = decide(config.descriptor, config.model)
    return settings.outputs(kind == BOTH), {EXPORT_TEXT: settings.as_text()}


def _texts_of_layer(checkpoint: str) -> Dict[str, str]:
    """The text that carries the layer which makes DELG's local descriptors."""
    from ..features.local_layer import LAYER_TEXT, layer_text, local_layer

    layer = local_layer(checkpoint)
    return {LAYER_TEXT: layer_text(layer)} if layer else {}


def _texts_of_pca(config: Config, pca_path: str) -> Dict[str, str]:
    """The text that carries the PCA; UserError when it is none, or was fitted on another network and is not forced."""
    from ..engines import weights_identity
    from ..features.local_layer import local_layer
    from ..features.pca import fitting_pca, pca_as_text
    from ..model.architectures import architecture_of

    wanted = ExtractionConfig(pca_path=pca_path, pca_dim=1, force_pca=config.extraction.force_pca)
    weights = weights_identity(config.run, config.model)
    layer = local_layer(config.model.checkpoint_path)
    channels = len(layer.bias) if layer else architecture_of(config.model).block3_channels
    return {"pca": pca_as_text(fitting_pca(wanted, config.model.checkpoint_path, weights, channels))}
