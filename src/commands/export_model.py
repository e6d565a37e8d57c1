"""Export the network of a checkpoint to ONNX or MindIR.

It is one file that needs no recipe and, as ONNX, no MindSpore. It is read again, run beside the checkpoint on images
of three sizes, and kept if it agrees. For global descriptors it carries how their maps are pooled. --precision int8
gives its convolutions 8-bit numbers, whose ranges are measured on photos like those it will be used on.
"""

import argparse
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple

from ..config import Config, ExtractionConfig
from ..errors import UserError
from ..features.kinds import BOTH, GLOBAL, KINDS, LOCAL
from .command_line import Command, refuse_options
from .global_options import refuse_idle_options

_CALIBRATION_KEYS = ("max_image_size", "min_image_size", "resize_factor", "image_scales")
_POOLING_KEYS = ("pooling", "gem_p", "rmac_levels", "descriptor_layer", "head")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", required=True, choices=("MINDIR", "ONNX"), help="of the file")
    parser.add_argument("--output", type=Path, help="file to write (default: the checkpoint's name, .mindir or .onnx)")
    parser.add_argument(
        "--features", default=LOCAL, choices=KINDS, help="what it will be used to extract (default: %(default)s)"
    )
    parser.add_argument("--pca", default="", help="PCA (.npz) for the file to carry: extraction then uses it")
    parser.add_argument(
        "--calibration_images", default="", help="--precision int8: folder of photos, every third is for the comparison"
    )
    parser.add_argument("--num_images", type=int, help="of them, drawn at random (default: 90; 0 = all)")


COMMAND = Command(
    __doc__, "--checkpoint_path delf.ckpt --format ONNX",
    keys=(
        "checkpoint_path", "architecture", "weights_style", "load_stem", "kernel_init", "kernel_init_gain",
        "attention_init", "seed", "force_pca", "overwrite", "precision", *_CALIBRATION_KEYS, *_POOLING_KEYS,
    ),
    shown=(
        "format", "features", "output", "pca", "precision", "calibration_images", "checkpoint_path", "architecture",
        "weights_style", "pooling", "descriptor_layer", "overwrite",
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
    _refuse_senseless(argv, config.model.precision, arguments)
    from ..artifacts import require_file
    from ..engines.export import SUFFIX_OF_FORMAT
    from ..features.local_layer import local_texts

    checkpoint = require_file(config.model.checkpoint_path, "checkpoint_path")
    output = arguments.output or checkpoint.with_suffix(SUFFIX_OF_FORMAT[arguments.format])
    texts = _texts_of_pca(config, arguments.pca) if arguments.pca else {}
    if kind != GLOBAL:
        texts.update(local_texts(str(checkpoint)))
    outputs, pooling = _outputs_and_pooling(config, kind)
    texts.update(pooling)
    if config.model.precision == "int8":
        _export_int8(config, arguments, output, texts, outputs)
    else:
        _export_exact(config, arguments.format, output, texts, outputs)


def _refuse_senseless(argv: Optional[Sequence[str]], precision: str, arguments: argparse.Namespace) -> None:
    if precision in ("bfloat16", "auto"):
        raise UserError(f"--precision {precision} has no file of its own: give it to the command that runs the network")
    if precision != "int8":
        keys = ("calibration_images", "num_images", *_CALIBRATION_KEYS)
        refuse_options(argv, keys, "has no effect without --precision int8: leave it out")
    elif arguments.format != "ONNX":
        raise UserError("--precision int8 is for --format ONNX")
    elif not arguments.calibration_images:
        raise UserError("--precision int8 needs --calibration_images: photos like those it will be used on")
    elif (arguments.num_images or 0) < 0 or arguments.num_images in (1, 2):
        raise UserError("--num_images is 0, for all, or at least 3")


def _export_exact(
    config: Config, file_format: str, output: Path, texts: Dict[str, str], outputs: Sequence[str]
) -> None:
    from ..engines.export import TOLERANCE, export_model

    differences = export_model(config.run, config.model, output, file_format, texts, outputs)
    print("largest difference from the checkpoint, relative to the largest number")
    for found in differences:
        values = ", ".join(f"{name.replace('_', ' ')} {getattr(found, name):.1e}" for name in outputs)
        print(f"  batch {found.batch}, {found.height:4}x{found.width:<4}  {values}  ({found.engine})")
    worst = max(found.worst for found in differences)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, differs by {worst:.1e} at most ({TOLERANCE} is allowed)")


def _export_int8(
    config: Config, arguments: argparse.Namespace, output: Path, texts: Dict[str, str], outputs: Sequence[str]
) -> None:
    from ..engines.export import export_int8
    from ..features.extraction import photos_of_folder
    from ..features.network_inputs import NetworkInputs
    from ..model.architectures import architecture_of

    count = 90 if arguments.num_images is None else arguments.num_images
    photos = photos_of_folder(arguments.calibration_images, count, config.run.seed)
    if len(photos) < 3:
        raise UserError(f"{arguments.calibration_images}: {len(photos)} photos; give 3 at least, better 50 to 100")
    scales = config.descriptor.global_scales if arguments.features == GLOBAL else config.extraction.image_scales
    architecture = architecture_of(config.model)
    calibration, checked = (
        NetworkInputs(part, config.extraction, scales, architecture)
        for part in ([photo for place, photo in enumerate(photos) if place % 3 != 2], photos[2::3])
    )
    found = export_int8(config.run, config.model, output, calibration, checked, texts, outputs)
    print(f"compared with the checkpoint on {len(checked)} photos that did not give the ranges")
    for each in found:
        print(f"  {each}")
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, ranges of {len(calibration)} photos")


def _outputs_and_pooling(config: Config, kind: str) -> Tuple[Tuple[str, ...], Dict[str, str]]:
    """What the network is to give for a kind of features, and the text that carries the pooling of global ones."""
    from ..features.local_layer import local_outputs

    if kind == LOCAL:
        return local_outputs(config.model.checkpoint_path), {}
    from ..features.global_settings import EXPORT_TEXT, decide

    settings = decide(config.descriptor, config.model)
    return settings.outputs(kind == BOTH), {EXPORT_TEXT: settings.as_text()}


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
