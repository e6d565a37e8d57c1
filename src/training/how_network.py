"""HOW: local features that are learned through their weighted sum (Tolias, Jenicek & Chum, ECCV 2020)."""

import json
from typing import Dict, Iterable, List, Tuple

import numpy as np
from mindspore import Tensor, ops
from mindspore import dtype as mstype

from ..config import ModelConfig
from ..features.heads import Linear
from ..features.whitening_fit import fit_pca_of_blocks
from ..model.architectures import Convolution
from ..model.networks import BackboneNet, convolution
from ..model.own_head import DESCRIPTOR_TEXT
from .global_pooling import l2

REDUCED_CHANNELS = 128


def smoothed(maps: Tensor) -> Tensor:
    """Mean of each cell's 3x3 neighbours in [B, C, h, w]; at a border of those there are.

    Not of padded slices: on a CPU, the last bits of their gradient change after a process's first call.
    """
    return ops.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)


def norms(maps: Tensor) -> Tensor:
    """L2 norm of each cell, [B, C, h, w] -> [B, 1, h, w]: how much it counts."""
    return ops.sqrt(ops.square(maps).sum(1, keepdims=True) + 1e-10)


def weighted_sum(features: Tuple[Tensor, ...], weights: Tuple[Tensor, ...]) -> Tensor:
    """Descriptors [B, D] of the cells of all scales: l2(sum of weight / largest weight of the photo * feature).

    Args:
        features: [B, D, h, w] of each scale.
        weights: [B, 1, h, w] of each scale.
    """
    largest = ops.amax(weights[0], (1, 2, 3), True)
    for each in weights[1:]:
        largest = ops.maximum(largest, ops.amax(each, (1, 2, 3), True))
    total = ops.zeros_like(features[0][:, :, 0, 0])
    for feature, weight in zip(features, weights):
        total = total + (feature * (weight / largest)).sum((2, 3))
    return l2(total)


def fit_reduction(blocks: Iterable[np.ndarray], dim: int = REDUCED_CHANNELS) -> Linear:
    """HOW's layer of whitening, PCA with shrinkage 1, fitted on blocks of smoothed cells [N, C].

    The reference takes the 1,000 cells of largest weight of each of 5,000 photos.

    Raises:
        UserError: too few cells, or cells that vary in too few directions.
    """
    return fit_pca_of_blocks(blocks, dim, shrinkage=1.0).linear()


class HowNet(BackboneNet):
    """images [B, 3, H, W] -> descriptors [B, D], unit rows, for the contrastive loss.

    A cell of block3 weighs as its norm; it is smoothed, then whitened by a layer that never trains.

    Args:
        model: section of the recipe.
        dimension: D.
        scales: of the photo; the reference trains with 1 alone.
    """

    def __init__(
        self, model: ModelConfig, dimension: int = REDUCED_CHANNELS, scales: Tuple[float, ...] = (1.0,)
    ) -> None:
        super().__init__(model)
        self.dimension = dimension
        self.scales = tuple(scales)
        layer = Convolution("reduction", self.architecture.block3_channels, dimension, 1)
        self.reduction = convolution(layer, bias=True)
        self.reduction.weight.set_data(ops.zeros_like(self.reduction.weight))  # until it is fitted
        self.freeze([self.reduction])

    @property
    def texts(self) -> Dict[str, str]:
        """What a checkpoint says of the descriptor; ``save_weights`` stores it."""
        return {DESCRIPTOR_TEXT: json.dumps({"pooling": "how"})}

    @property
    def is_whitened(self) -> bool:
        """Whether the whitening has its numbers, from ``set_reduction`` or a file."""
        return bool(self.reduction.weight.asnumpy().any())

    def set_reduction(self, layer: Linear) -> None:
        """Give the whitening its numbers, those of ``fit_reduction``; call it before training."""
        self.reduction.weight.set_data(Tensor(layer.weight[:, :, None, None]))
        self.reduction.bias.set_data(Tensor(layer.bias))

    def weighed_cells(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        """Smoothed cells [B, C, h, w], and their weights [B, 1, h, w]: what the whitening is fitted on."""
        block3 = self.backbone(images).astype(mstype.float32)
        return smoothed(block3), norms(block3)

    def construct(self, images: Tensor) -> Tensor:
        features: List[Tensor] = []
        weights: List[Tensor] = []
        for scale in self.scales:
            level = images
            if scale != 1:
                size = (int(images.shape[2] * scale), int(images.shape[3] * scale))
                level = ops.interpolate(images, size=size, mode="bilinear", align_corners=False)
            cells, weight = self.weighed_cells(level)
            features.append(self.reduction(cells).astype(mstype.float32))
            weights.append(weight)
        return weighted_sum(tuple(features), tuple(weights))
