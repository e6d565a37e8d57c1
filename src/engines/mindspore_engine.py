"""The network run by MindSpore: folded, as trained, or from a MindIR file."""

from typing import Dict, Mapping, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ..artifacts import PathLike
from ..config import ModelConfig, RunConfig
from ..device import set_up_device
from ..errors import reading
from ..model.architectures import Architecture, architecture_of, fold
from ..model.maps import Autoencoder, Conv5, MapsNet
from ..model.networks import Attention, Backbone
from ..model.own_head import ENCODER
from ..model.weight_files import holds
from ..model.weights import load_weights
from .identity import export_texts, is_export
from .network import DELF_OUTPUTS, BatchedNetwork
from .outputs import export_outputs

_PARTS = {"feature_map": "backbone", "attention": "attention", "block4": "descriptor_head"}
ANY_SIZE = [None, 3, None, None]


def trained_cell(run: RunConfig, model: ModelConfig, outputs: Sequence[str] = DELF_OUTPUTS) -> MapsNet:
    """The network as trained, with the weights of ``model.checkpoint_path``.

    What weights of ImageNet lack, the attention, has the initial values of the recipe and its seed: the same in each
    process.

    Raises:
        UserError: no checkpoint there, or it holds no backbone, or lacks what gives one of ``outputs``.
    """
    ms.set_seed(run.seed)
    network = MapsNet(model, outputs, holds(model.checkpoint_path, ENCODER))
    parts = dict.fromkeys(("backbone", *(_PARTS[name] for name in outputs), *(["autoencoder"] * network.decodes)))
    load_weights(network, model.checkpoint_path, tuple(parts), model.load_stem)
    return network


def folded_weights(run: RunConfig, model: ModelConfig, outputs: Sequence[str] = DELF_OUTPUTS) -> Dict[str, np.ndarray]:
    """The weights of ``trained_cell`` as ``fold`` returns them; UserError as there."""
    parameters = trained_cell(run, model, outputs).parameters_and_names()
    weights = {name: parameter.asnumpy() for name, parameter in parameters}
    return fold(weights, architecture_of(model).style.epsilon)


class FoldedNet(nn.Cell):
    """``MapsNet`` for inference: images [B, 3, H, W] -> its outputs, float32.

    Args:
        weights: of ``fold``.
        architecture: of the weights before they were folded.
        outputs: what it gives, in this order.
    """

    def __init__(
        self, weights: Mapping[str, np.ndarray], architecture: Architecture, outputs: Sequence[str] = DELF_OUTPUTS
    ) -> None:
        super().__init__()
        folded = architecture.folded()
        self.backbone = Backbone(folded)
        self.gives_block3, self.gives_attention, self.gives_block4 = (name in outputs for name in _PARTS)
        if self.gives_attention:
            self.attention = Attention(folded)
        self.decodes = ENCODER in weights and self.gives_attention
        if self.decodes:
            self.autoencoder = Autoencoder(folded.block3_channels, len(weights[ENCODER]))
        if self.gives_block4:
            self.descriptor_head = Conv5(folded)
        for name, parameter in self.parameters_and_names():
            parameter.set_data(Tensor(weights[name]))
        self.set_train(False)
        self.set_inputs(Tensor(shape=ANY_SIZE, dtype=ms.float32))  # one compilation for all sizes

    def use_bfloat16(self) -> None:
        """Run the convolutions, and what lies between them, in bfloat16; the outputs stay float32."""
        for _, cell in self.cells_and_names():
            if isinstance(cell, nn.Conv2d):
                cell.to_float(ms.bfloat16)

    def construct(self, images: Tensor) -> Tuple[Tensor, ...]:
        block3, maps = self.backbone(images), ()
        if self.gives_block3:
            maps = (*maps, ops.cast(block3, ms.float32))
        if self.gives_attention:
            seen = self.autoencoder(block3)[1] if self.decodes else block3
            maps = (*maps, softplus(ops.cast(self.attention.logits(seen), ms.float32)))
        if self.gives_block4:
            maps = (*maps, ops.cast(self.descriptor_head(block3), ms.float32))
        return maps


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), written so that a cell's value depends on nothing but x.

    `ops.softplus` on a CPU rounds by the place of a cell in its thread's share of the map, and MindSpore changes the
    shares while a process runs; nor does it resolve small values. log(1 + e) is 2 atanh(e / (2 + e)).
    """
    e = ops.exp(-ops.abs(x))
    return ops.relu(x) + 2.0 * ops.atanh(e / (2.0 + e))


def mindspore_network(
    run: RunConfig, model: ModelConfig, device_id: int = 0, outputs: Sequence[str] = DELF_OUTPUTS
) -> BatchedNetwork:
    """The network of ``model.checkpoint_path`` (checkpoint or MindIR), compiled once for all image sizes.

    Args:
        run, model: sections of the recipe.
        device_id: which of several GPUs or Ascends.
        outputs: what it gives, in this order.

    Raises:
        UserError: a device that is not there, or a file that cannot be used.
    """
    set_up_device(run.device_target, run.seed, device_id)
    if is_export(model.checkpoint_path):
        own = export_outputs(model.checkpoint_path)
        return _some_of(on_arrays(load_mindir(model.checkpoint_path)), [own.index(name) for name in outputs])
    network = FoldedNet(folded_weights(run, model, outputs), architecture_of(model), outputs)
    if model.precision == "bfloat16":
        network.use_bfloat16()
    return on_arrays(network)


def trained_network(run: RunConfig, model: ModelConfig, outputs: Sequence[str] = DELF_OUTPUTS) -> BatchedNetwork:
    """The network of a checkpoint with its BatchNorm apart, as trained: slower, and what others are measured against.

    Raises:
        UserError: as ``mindspore_network``.
    """
    set_up_device(run.device_target, run.seed)
    network = trained_cell(run, model, outputs)
    network.set_train(False)
    network.set_inputs(Tensor(shape=ANY_SIZE, dtype=ms.float32))
    return on_arrays(network)


def load_mindir(path: PathLike) -> nn.Cell:
    """The network of a MindIR file; UserError when it is none."""
    export_texts(path)
    with reading(path, f"export it again for MindSpore {ms.__version__}"):
        return nn.GraphCell(ms.load(str(path)))


def on_arrays(network: nn.Cell) -> BatchedNetwork:
    """A network that takes and returns arrays instead of tensors."""

    def run(images: np.ndarray) -> Tuple[np.ndarray, ...]:
        found = network(Tensor(images))
        return tuple(output.asnumpy() for output in (found if isinstance(found, tuple) else (found,)))

    return run


def _some_of(network: BatchedNetwork, places: Sequence[int]) -> BatchedNetwork:
    """The network that gives its outputs at ``places`` alone."""

    def run(images: np.ndarray) -> Tuple[np.ndarray, ...]:
        found = network(images)
        return tuple(found[place] for place in places)

    return run
