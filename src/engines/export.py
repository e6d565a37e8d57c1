"""Write a checkpoint's network as ONNX or MindIR, and check what was written against the network as it was trained."""

import logging
import os
from pathlib import Path
from types import MappingProxyType
from typing import Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

from ..artifacts import atomic_path, is_made
from ..config import ModelConfig, RunConfig
from ..errors import UserError
from ..model.architectures import architecture_of
from ..records import Provenance
from .choose import NAMES, installed_engines, load_batched_network, resolve_engine
from .identity import PRECISION_TEXT, WEIGHTS_TEXT, describe_export, export_texts, is_export, sealed, weights_identity
from .int8 import Agreement, Inputs, agreement, quantised, require_agreement
from .network import DELF_OUTPUTS, OUTPUTS, BatchedNetwork
from .onnx_graph import build_onnx
from .outputs import require_outputs

logger = logging.getLogger(__name__)

SUFFIX_OF_FORMAT = {"ONNX": ".onnx", "MINDIR": ".mindir"}
SIZES = ((97, 129), (321, 321), (768, 1024))  # height, width: odd and even sides
BATCHES = (1, 2)
TOLERANCE = 1e-3  # of the largest number of an output


class Difference(NamedTuple):
    """The largest differences between an export and the trained network, relative to the largest number."""

    engine: str
    batch: int
    height: int
    width: int
    feature_map: float = 0.0
    attention: float = 0.0
    block4: float = 0.0

    @property
    def worst(self) -> float:
        """The largest of all outputs."""
        return max(getattr(self, name) for name in OUTPUTS)


def export_model(
    run: RunConfig,
    model: ModelConfig,
    output: Path,
    file_format: str,
    texts: Mapping[str, str] = MappingProxyType({}),
    outputs: Sequence[str] = DELF_OUTPUTS,
) -> List[Difference]:
    """Write ``output`` and return how far it is from the network as trained; a finished one is only checked.

    Args:
        run: ``overwrite`` and ``seed`` are used.
        model: ``checkpoint_path`` is a checkpoint.
        output: file to write, with the suffix of the format.
        file_format: "ONNX" or "MINDIR".
        texts: for the file to carry besides those that describe it, such as a PCA under "pca".
        outputs: what the network gives, some of ``OUTPUTS`` in their order.

    Raises:
        UserError: unusable checkpoint, another export at ``output``, nothing that could run it, or a difference above
            ``TOLERANCE``, in which case nothing is written.
    """
    _require_exportable(model, output, file_format, outputs)
    all_texts = {**describe_export(weights_identity(run, model), architecture_of(model), outputs), **texts}
    made = is_made(output, _provenance(all_texts), lambda path: _provenance(export_texts(path)), run.overwrite)
    from .mindspore_engine import trained_network

    trained = trained_network(run.replace(device_target="CPU"), model, outputs)
    if made:
        return _check(output, model, trained, outputs)
    with atomic_path(output) as temporary:
        _write(run, model, temporary, file_format, outputs)
        temporary.write_bytes(sealed(temporary.read_bytes(), all_texts))
        return _check(temporary, model, trained, outputs)


def export_int8(
    run: RunConfig,
    model: ModelConfig,
    output: Path,
    calibration: Inputs,
    checked: Inputs,
    texts: Mapping[str, str] = MappingProxyType({}),
    outputs: Sequence[str] = DELF_OUTPUTS,
) -> List[Agreement]:
    """Write ``output``, an ONNX file of 8-bit convolutions, and return how near it is to the network as trained.

    Args:
        run, model, output, texts, outputs: as of ``export_model``.
        calibration: inputs whose activations give the ranges.
        checked: other inputs, on which it is compared.

    Raises:
        UserError: as ``export_model``, nncf is missing, or the maps differ too much, in which case nothing is written.
    """
    _require_exportable(model, output, "ONNX", outputs)
    own = {PRECISION_TEXT: "int8", "calibration": calibration.identity}
    all_texts = {**describe_export(weights_identity(run, model), architecture_of(model), outputs), **texts, **own}
    made = is_made(output, _provenance(all_texts), lambda path: _provenance(export_texts(path)), run.overwrite)
    from .mindspore_engine import folded_weights, trained_network

    trained = trained_network(run.replace(device_target="CPU"), model, outputs)

    def check(path: Path) -> List[Agreement]:
        network = next(iter(_reload(path, model, outputs).values()))
        found = agreement(trained, network, checked, outputs)
        require_agreement(found, model.checkpoint_path)
        return found

    if made:
        return check(output)
    content = quantised(build_onnx(folded_weights(run, model, outputs), architecture_of(model), outputs), calibration)
    with atomic_path(output) as temporary:
        temporary.write_bytes(sealed(content, all_texts))
        return check(temporary)


def _require_exportable(model: ModelConfig, output: Path, file_format: str, outputs: Sequence[str]) -> None:
    """UserError for another suffix than the format's, for an export, and for outputs that the checkpoint lacks."""
    if output.suffix.lower() != SUFFIX_OF_FORMAT[file_format]:
        raise UserError(
            f"`output` {output}: the name of the {file_format} file ends in {SUFFIX_OF_FORMAT[file_format]}"
        )
    if is_export(model.checkpoint_path):
        raise UserError(f"{model.checkpoint_path}: an export already; give the checkpoint it was made from")
    require_outputs(model, outputs)


def _provenance(texts: Dict[str, str]) -> Provenance:
    return Provenance(texts.get(WEIGHTS_TEXT, ""), settings={k: v for k, v in texts.items() if k != WEIGHTS_TEXT})


def _write(run: RunConfig, model: ModelConfig, path: Path, file_format: str, outputs: Sequence[str]) -> None:
    import mindspore as ms

    from .mindspore_engine import ANY_SIZE, FoldedNet, folded_weights

    weights, architecture = folded_weights(run, model, outputs), architecture_of(model)
    if file_format == "ONNX":
        path.write_bytes(build_onnx(weights, architecture, outputs))
        return
    image = ms.Tensor(shape=ANY_SIZE, dtype=ms.float32)
    ms.export(FoldedNet(weights, architecture, outputs), image, file_name=str(path), file_format="MINDIR")
    os.chmod(path, 0o644)  # MindSpore leaves it read-only, and unreadable for others


def _check(path: Path, model: ModelConfig, trained: BatchedNetwork, outputs: Sequence[str]) -> List[Difference]:
    """Run the file on random images; UserError when it differs."""
    images = np.random.default_rng(0).uniform(-1, 1, (max(BATCHES), 3, *SIZES[-1])).astype(np.float32)
    networks = _reload(path, model, outputs)
    differences = []
    for batch in BATCHES:
        for height, width in SIZES:
            image = np.ascontiguousarray(images[:batch, :, :height, :width])
            expected = trained(image)
            for engine, network in networks.items():
                pairs = zip(network(image), expected)
                relative = [float(np.abs(value - true).max() / np.abs(true).max()) for value, true in pairs]
                differences.append(Difference(engine, batch, height, width, **dict(zip(outputs, relative))))
    for found in differences:
        if not all(getattr(found, name) <= TOLERANCE for name in outputs):  # NaN is not either
            figures = f"{' and '.join(f'{getattr(found, name):.1e}' for name in outputs)} in {found.engine}"
            fact = f"its export differs from the checkpoint by more than {TOLERANCE} ({figures})"
            raise UserError(f"{model.checkpoint_path}: {fact}; use the other `format`")
    return differences


def _reload(path: Path, model: ModelConfig, outputs: Sequence[str]) -> Dict[str, BatchedNetwork]:
    """The file in every installed engine that runs it, by the engine's name."""
    run = RunConfig(device_target="CPU")
    own = model.replace(checkpoint_path=str(path), engine="auto", precision="float32")
    engines = installed_engines(run, own) or [resolve_engine(run, own).engine]  # which says what to install
    return {NAMES[engine]: load_batched_network(run, own.replace(engine=engine), outputs=outputs) for engine in engines}
