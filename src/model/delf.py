"""The networks made of backbone, attention and heads: one for each training stage, one for extraction.

A network for training names the heads that it learns through in ``HEADS`` and returns the logits of each.
"""

from typing import Tuple

from mindspore import Tensor, nn, ops

from ..config import Config
from .attention import Attention
from .heads import AttentionHead, DescriptorHead
from .resnet50 import Backbone, LayerOptions


class TuningNet(nn.Cell):
    """Stage `tuning`: images [B, 3, H, W] -> (logits [B, classes],) of the descriptor head; every parameter trains."""

    HEADS = ("descriptor",)

    def __init__(self, config: Config, num_classes: int) -> None:
        super().__init__()
        self.backbone = Backbone(LayerOptions.from_config(config))
        self.descriptor_head = DescriptorHead(num_classes, LayerOptions.from_config(config))

    def construct(self, images: Tensor) -> Tuple[Tensor]:
        return (self.descriptor_head(self.backbone(images)),)


class AttentionNet(nn.Cell):
    """Stage `attn`: images [B, 3, H, W] -> (logits [B, classes],) of the attention head; the backbone is frozen.

    Frozen in full: no gradient reaches it and its BatchNorm layers use, and keep, their moving statistics.
    """

    HEADS = ("attention",)

    def __init__(self, config: Config, num_classes: int) -> None:
        super().__init__()
        self.backbone = Backbone(LayerOptions.from_config(config))
        self.attention = Attention(LayerOptions.from_config(config), config.attention_init)
        self.attention_head = AttentionHead(num_classes)
        for parameter in self.backbone.get_parameters():
            parameter.requires_grad = False

    def set_train(self, mode: bool = True) -> "AttentionNet":
        """Training mode for the attention and its head alone."""
        super().set_train(mode)
        self.backbone.set_train(False)
        return self

    def construct(self, images: Tensor) -> Tuple[Tensor]:
        block3 = ops.stop_gradient(self.backbone(images))
        return (self.attention_head(block3, self.attention(block3)),)


class JointNet(nn.Cell):
    """Stage `joint`: images [B, 3, H, W] -> logits [B, classes] of both heads, as the reference trains them at once.

    The attention's gradient stops at block3: the backbone learns through the descriptor head alone.
    """

    HEADS = ("descriptor", "attention")

    def __init__(self, config: Config, num_classes: int) -> None:
        super().__init__()
        options = LayerOptions.from_config(config)
        self.backbone = Backbone(options)
        self.descriptor_head = DescriptorHead(num_classes, options)
        self.attention = Attention(options, config.attention_init)
        self.attention_head = AttentionHead(num_classes)

    def construct(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        block3 = self.backbone(images)
        stopped = ops.stop_gradient(block3)
        return self.descriptor_head(block3), self.attention_head(stopped, self.attention(stopped))


class DelfNet(nn.Cell):
    """Extraction: images [B, 3, H, W] -> (feature map [B, 1024, h, w], attention [B, 1, h, w])."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.backbone = Backbone(LayerOptions.from_config(config))
        self.attention = Attention(LayerOptions.from_config(config), config.attention_init)

    def construct(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        block3 = self.backbone(images)
        return block3, self.attention(block3)
