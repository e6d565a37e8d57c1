"""The network of extraction, as it is trained: it gives the maps that local and global descriptors are made of."""

from typing import Sequence, Tuple

from mindspore import Tensor, nn, ops

from ..config import ModelConfig
from .architectures import Architecture, Convolution, architecture_of
from .networks import Attention, Backbone, convolution, stage

CODE_CHANNELS = 128  # of DELG's autoencoder


class Conv5(nn.Cell):
    """What a ``DescriptorHead`` has before its mean: block3 [B, C, h, w] -> block4 [B, C', h', w']."""

    def __init__(self, architecture: Architecture, initial: ModelConfig = ModelConfig()) -> None:  # noqa: B008
        super().__init__()
        self.conv5 = stage(5, architecture, initial)

    def construct(self, block3: Tensor) -> Tensor:
        return self.conv5(block3)


class Autoencoder(nn.Cell):
    """DELG's: features [B, C, h, w] -> (codes [B, 128, h, w], features decoded from them [B, C, h, w]).

    A 1x1 convolution, then another and ReLU. A code is a local descriptor; the attention sees what is decoded.
    """

    def __init__(self, channels: int, code_channels: int = CODE_CHANNELS) -> None:
        super().__init__()
        self.encoder = convolution(Convolution("encoder", channels, code_channels, 1), bias=True)
        self.decoder = convolution(Convolution("decoder", code_channels, channels, 1), bias=True)

    def construct(self, features: Tensor) -> Tuple[Tensor, Tensor]:
        codes = self.encoder(features)
        return codes, ops.relu(self.decoder(codes))


class MapsNet(nn.Cell):
    """Extraction: images [B, 3, H, W] -> those asked for of feature map, attention and block4, in this order.

    Args:
        model: section of the recipe.
        outputs: names of what to give: "feature_map" [B, C, h, w], "attention" [B, 1, h, w], "block4" [B, C', h', w'].
            It has no attention, or no conv5, where that is not among them.
        decodes: whether the attention sees decoded features, as in DELG.
    """

    def __init__(self, model: ModelConfig, outputs: Sequence[str], decodes: bool = False) -> None:
        super().__init__()
        self.architecture = architecture_of(model)
        self.backbone = Backbone(self.architecture, model)
        self.gives_block3 = "feature_map" in outputs
        self.gives_attention, self.gives_block4 = "attention" in outputs, "block4" in outputs
        self.decodes = decodes and self.gives_attention
        if self.gives_attention:
            self.attention = Attention(self.architecture, model)
        if self.decodes:
            self.autoencoder = Autoencoder(self.architecture.block3_channels)
        if self.gives_block4:
            self.descriptor_head = Conv5(self.architecture, model)

    def construct(self, images: Tensor) -> Tuple[Tensor, ...]:
        block3, maps = self.backbone(images), ()
        if self.gives_block3:
            maps = (*maps, block3)
        if self.gives_attention:
            maps = (*maps, self.attention(self.autoencoder(block3)[1] if self.decodes else block3))
        if self.gives_block4:
            maps = (*maps, self.descriptor_head(block3))
        return maps
