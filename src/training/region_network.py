"""Regional attention: how much a region counts, learned on a frozen network (Kim & Yoon, BMVC 2018)."""

import json
from typing import Dict, List, Tuple

from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from ..config import ModelConfig, TrainingConfig
from ..model.networks import BackboneNet, Block3Head, DescriptorHead
from ..model.own_head import DESCRIPTOR_TEXT
from .global_pooling import photo_regions

HIDDEN = 64


class RegionalAttention(nn.Cell):
    """softplus(w2 . f(w1 [mean of the region, mean of the map] + b1) + b2): means [B, R, C], [B, C] -> [B, R].

    With C = 2048 these are 262,273 numbers.

    Args:
        channels: C.
        nonlinearity: f, "softplus" as in the reference's training, or "tanh" as in its extraction.
        hidden: length of b1.
    """

    def __init__(self, channels: int, nonlinearity: str = "softplus", hidden: int = HIDDEN) -> None:
        super().__init__()
        self.nonlinearity = nonlinearity
        self.hidden = nn.Dense(2 * channels, hidden)
        self.score = nn.Dense(hidden, 1)

    def construct(self, regions: Tensor, whole: Tensor) -> Tensor:
        context = ops.concat((regions, ops.broadcast_to(ops.expand_dims(whole, 1), regions.shape)), 2)
        hidden = self.hidden(context).astype(mstype.float32)
        hidden = ops.tanh(hidden) if self.nonlinearity == "tanh" else ops.softplus(hidden)
        return ops.softplus(self.score(hidden).astype(mstype.float32))[:, :, 0]


class RegionalAttentionNet(BackboneNet):
    """images [B, 3, H, W] -> (logits [B, classes] of the frozen dense layer of stage `tuning`, descriptors [B, C]).

    The descriptor is the mean over regions of attention times maximum, as in extraction but for its L2. Nothing trains
    but the attention; start it with the weights of `backbone` and `descriptor_head` of a checkpoint of stage `tuning`.

    Args:
        model: section of the recipe.
        num_classes: of the training set.
        training: ``tuning_head``: which map is pooled, block4 or block3.
        levels: of the grid of regions; 5 is published.
        nonlinearity: of ``RegionalAttention``; extraction uses the same.
    """

    HEADS = ("attention",)

    def __init__(
        self,
        model: ModelConfig,
        num_classes: int,
        training: TrainingConfig = TrainingConfig(),  # noqa: B008
        levels: int = 5,
        nonlinearity: str = "softplus",
    ) -> None:
        super().__init__(model)
        self.levels = levels
        self.is_block4 = training.tuning_head != "block3"
        if self.is_block4:
            self.descriptor_head = DescriptorHead(num_classes, self.architecture, model)
            channels, self.stride = self.architecture.block4_channels, self.architecture.block4_stride
        else:
            self.descriptor_head = Block3Head(num_classes, self.architecture)
            channels, self.stride = self.architecture.block3_channels, self.architecture.receptive_field.stride
        self.regional_attention = RegionalAttention(channels, nonlinearity)
        self.freeze([self.backbone, self.descriptor_head])

    @property
    def texts(self) -> Dict[str, str]:
        """What a checkpoint says of the descriptor beside its numbers; ``save_weights`` stores it."""
        said = {
            "pooling": "regional_attention",
            "rmac_levels": self.levels,
            "descriptor_layer": "block4" if self.is_block4 else "block3",
            "nonlinearity": self.regional_attention.nonlinearity,
        }
        return {DESCRIPTOR_TEXT: json.dumps(said)}

    def construct(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        maps = self.backbone(images)
        maps = self.descriptor_head.conv5(maps) if self.is_block4 else maps
        maps = ops.stop_gradient(maps).astype(mstype.float32)
        maxima, means = _of_regions(maps, self.levels, self.stride, images.shape[2], images.shape[3])
        weights = self.regional_attention(means, maps.mean((2, 3)))
        vectors = (ops.expand_dims(weights, 2) * maxima).mean(1)
        return self.descriptor_head.dense(vectors), vectors


def _of_regions(maps: Tensor, levels: int, stride: int, height: int, width: int) -> Tuple[Tensor, Tensor]:
    """Maxima and means [B, R, C] of the regions of a photo of height x width."""
    maxima: List[Tensor] = []
    means: List[Tensor] = []
    for left, top, right, bottom in photo_regions(maps.shape[2], maps.shape[3], levels, stride, height, width):
        cells = maps[:, :, top:bottom, left:right]
        maxima.append(ops.amax(cells, (2, 3)))
        means.append(cells.mean((2, 3)))
    return ops.stack(maxima, 1), ops.stack(means, 1)
