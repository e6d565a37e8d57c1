"""The two classification heads that the training stages learn through; extraction needs neither."""

from mindspore import Tensor, nn

from .attention import attended_mean
from .resnet50 import BLOCK3_CHANNELS, BLOCK4_CHANNELS, LayerOptions, conv5


class DescriptorHead(nn.Cell):
    """conv5, the mean over the whole block4 map, and a dense layer: block3 [B, 1024, h, w] -> logits [B, classes]."""

    def __init__(self, num_classes: int, options: LayerOptions) -> None:
        super().__init__()
        self.conv5 = conv5(options)
        self.dense = nn.Dense(BLOCK4_CHANNELS, num_classes, weight_init="xavier_uniform", bias_init="zeros")

    def construct(self, block3: Tensor) -> Tensor:
        return self.dense(self.conv5(block3).mean((2, 3)))


class AttentionHead(nn.Cell):
    """A dense layer on the attention-pooled features: block3 [B, 1024, h, w], attention [B, 1, h, w] -> logits."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.dense = nn.Dense(BLOCK3_CHANNELS, num_classes, weight_init="xavier_uniform", bias_init="zeros")

    def construct(self, block3: Tensor, attention: Tensor) -> Tensor:
        return self.dense(attended_mean(block3, attention))
