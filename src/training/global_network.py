"""Networks that learn global descriptors: any pooling and head, and DELG's, which learns local features beside them.

Parameters have the names under which extraction looks for them (``model/own_head.py``), and what has no parameters,
such as the pooling's name, is a text of the checkpoint: see ``VectorHead.texts``.
"""

import json
from typing import Dict, Tuple

from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from ..config import ModelConfig
from ..model.architectures import Architecture
from ..model.maps import Autoencoder
from ..model.networks import Attention, AttentionHead, BackboneNet, stage
from ..model.own_head import DESCRIPTOR_TEXT
from .global_pooling import l2, make_pooling_cell


class VectorHead(nn.Cell):
    """Descriptor of a map: block3 [B, C, h, w] -> [B, D], unit rows, as extraction gives them.

    Args:
        architecture: of the backbone.
        model: initial values.
        pooling, gem_p, gem_power, rmac_levels: see ``make_pooling_cell``.
        head: "none", "fc" (dirtorch's linear layer), or "whiten" (cirtorch's, whose input has unit length).
        head_dim: D of a head; 0 = the map's channels.
        layer: "block4" = through conv5, or "block3".
        is_unit: False leaves the rows as long as they are, for a loss that is not of unit rows.
    """

    def __init__(
        self,
        architecture: Architecture,
        model: ModelConfig,
        pooling: str = "gem",
        gem_p: float = 3.0,
        gem_power: str = "learned",
        rmac_levels: int = 3,
        head: str = "none",
        head_dim: int = 0,
        layer: str = "block4",
        is_unit: bool = True,
    ) -> None:
        super().__init__()
        is_block4 = layer == "block4"
        channels = architecture.block4_channels if is_block4 else architecture.block3_channels
        self.conv5 = stage(5, architecture, model) if is_block4 else nn.Identity()
        self.pooling = make_pooling_cell(pooling, channels, gem_p, gem_power, rmac_levels)
        self.head = head
        self.is_unit = is_unit
        self.dimension = (head_dim or channels) if head != "none" else channels
        if head != "none":
            dense = nn.Dense(channels, self.dimension, weight_init="xavier_uniform", bias_init="zeros")
            setattr(self, head, dense)
        self._said = {"pooling": pooling, "rmac_levels": rmac_levels, "descriptor_layer": layer}

    @property
    def texts(self) -> Dict[str, str]:
        """What a checkpoint says of the descriptor beside its numbers; ``save_weights`` stores it."""
        return {DESCRIPTOR_TEXT: json.dumps(self._said)}

    def construct(self, block3: Tensor) -> Tensor:
        vectors = self.pooling(self.conv5(block3).astype(mstype.float32))
        if self.head == "fc":
            vectors = self.fc(vectors)
        elif self.head == "whiten":
            vectors = self.whiten(l2(vectors))
        vectors = vectors.astype(mstype.float32)
        return l2(vectors) if self.is_unit else vectors


class GlobalNet(BackboneNet):
    """Stage `global`: images [B, 3, H, W] -> descriptors [B, ``dimension``], unit rows.

    Args:
        model: section of the recipe.
        settings: of ``VectorHead``, from ``pooling`` on.
    """

    def __init__(self, model: ModelConfig, **settings: object) -> None:
        super().__init__(model)
        self.descriptor_head = VectorHead(self.architecture, model, **settings)
        self.dimension = self.descriptor_head.dimension

    def construct(self, images: Tensor) -> Tensor:
        return self.descriptor_head(self.backbone(images))


class ClassHead(nn.Cell):
    """Cosines of descriptors and the classes' weights, for ``arcface_logits``: unit rows [B, D] -> [B, classes].

    As a network's ``class_head`` it starts anew where a checkpoint is of another number of classes.
    """

    def __init__(self, num_classes: int, dimension: int) -> None:
        super().__init__()
        self.dense = nn.Dense(dimension, num_classes, weight_init="xavier_uniform", has_bias=False)

    def construct(self, vectors: Tensor) -> Tensor:
        return ops.matmul(vectors, l2(self.dense.weight).T)


def reconstruction_errors(features: Tensor, decoded: Tensor) -> Tensor:
    """Mean squared difference of each photo's features [B, C, h, w] and those decoded, [B]. DELG weighs it by 10."""
    return ops.square(features - decoded.astype(mstype.float32)).mean((1, 2, 3))


class DelgNet(BackboneNet):
    """DELG (Cao et al., ECCV 2020): global descriptor, attention and autoencoder at once.

    images [B, 3, H, W] -> (cosines [B, classes] for ``arcface_logits``, logits [B, classes] of the attention,
    reconstruction errors [B], global descriptors [B, ``dimension``], unit rows). The backbone learns through the
    cosines alone: the gradients of the attention and of the reconstruction stop at block3. The
    attention sees the decoded features and weighs block3's own, as in the TensorFlow code, so that its loss moves the
    autoencoder too.

    Args:
        model: section of the recipe.
        num_classes: of the training set.
        settings: of ``VectorHead``; the published network has gem_power fixed at 3 and head fc.
    """

    def __init__(self, model: ModelConfig, num_classes: int, **settings: object) -> None:
        super().__init__(model)
        self.descriptor_head = VectorHead(self.architecture, model, **settings)
        self.dimension = self.descriptor_head.dimension
        self.class_head = ClassHead(num_classes, self.dimension)
        self.autoencoder = Autoencoder(self.architecture.block3_channels)
        self.attention = Attention(self.architecture, model)
        self.attention_head = AttentionHead(num_classes, self.architecture)

    def construct(self, images: Tensor) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        block3 = self.backbone(images)
        vectors = self.descriptor_head(block3)
        cosines = self.class_head(vectors)
        features = ops.stop_gradient(block3.astype(mstype.float32))
        _, decoded = self.autoencoder(features)
        logits = self.attention_head(features, self.attention(decoded))
        return cosines, logits, reconstruction_errors(features, decoded), vectors
