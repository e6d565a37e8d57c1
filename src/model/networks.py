"""The networks made of backbone, attention and heads: one for each training stage, one for extraction.

A network for training names the heads that it learns through in ``HEADS`` and returns the logits of each.
"""

from typing import Tuple

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from ..config import ModelConfig
from .architectures import Architecture, Convolution, architecture_of
from .resnet import Backbone, batch_norm, convolution, stage

ATTENTION_CHANNELS = 512


class Attention(nn.Cell):
    """Which places of the feature map are worth a local feature (Noh et al., section 3.2): 1x1, ReLU, 1x1, softplus.

    ``construct``: block3 [B, C, h, w] -> attention [B, 1, h, w], above 0.

    Args:
        architecture: gives C, and BatchNorm's epsilon.
        initial: ``attention_init`` "glorot" (the reference) or "normal" (the MindSpore model zoo's numbers).
    """

    def __init__(self, architecture: Architecture, initial: ModelConfig = ModelConfig()) -> None:  # noqa: B008
        super().__init__()
        self.conv1 = convolution(Convolution("1", architecture.block3_channels, ATTENTION_CHANNELS, 1), bias=True)
        self.bn1 = batch_norm(ATTENTION_CHANNELS, architecture, initial)
        self.conv2 = convolution(Convolution("2", ATTENTION_CHANNELS, 1, 1), bias=True)
        if initial.attention_init == "normal":
            self._initialise_as_model_zoo()

    def _initialise_as_model_zoo(self) -> None:
        for parameter, sigma, mean in (
            (self.conv1.weight, 0.05, 0.0),
            (self.conv1.bias, 1.5, -1.0),
            (self.bn1.beta, 0.17, -0.15),
            (self.conv2.weight, 0.5, 1.0),
            (self.conv2.bias, 0.0, -0.6666),
        ):
            parameter.set_data(initializer(Normal(sigma, mean), parameter.shape, parameter.dtype))

    def logits(self, block3: Tensor) -> Tensor:
        """What the softplus is taken of, [B, 1, h, w]."""
        return self.conv2(ops.relu(self.bn1(self.conv1(block3))))

    def construct(self, block3: Tensor) -> Tensor:
        return ops.softplus(self.logits(block3))


def attended_mean(block3: Tensor, attention: Tensor) -> Tensor:
    """Spatial mean of L2-normalised features times attention: [B, C, h, w], [B, 1, h, w] -> [B, C].

    The mean divides by h * w, not by the sum of the attention (reference TF DELF); epsilon 1e-12 is TF's.
    """
    squared = ops.square(block3).sum(1, keepdims=True)
    normalised = block3 * ops.rsqrt(ops.maximum(squared, 1e-12))
    return (normalised * attention).mean((2, 3))


def _dense(inputs: int, num_classes: int) -> nn.Dense:
    return nn.Dense(inputs, num_classes, weight_init="xavier_uniform", bias_init="zeros")


class DescriptorHead(nn.Cell):
    """conv5, the mean over the whole block4 map, and a dense layer: block3 [B, C, h, w] -> logits [B, classes]."""

    def __init__(self, num_classes: int, architecture: Architecture, initial: ModelConfig) -> None:
        super().__init__()
        self.conv5 = stage(5, architecture, initial)
        self.dense = _dense(architecture.block4_channels, num_classes)

    def construct(self, block3: Tensor) -> Tensor:
        return self.dense(self.conv5(block3).mean((2, 3)))


class AttentionHead(nn.Cell):
    """A dense layer on the attention-pooled features: block3 [B, C, h, w], attention [B, 1, h, w] -> logits."""

    def __init__(self, num_classes: int, architecture: Architecture) -> None:
        super().__init__()
        self.dense = _dense(architecture.block3_channels, num_classes)

    def construct(self, block3: Tensor, attention: Tensor) -> Tensor:
        return self.dense(attended_mean(block3, attention))


class _Network(nn.Cell):
    """What all networks have: ``architecture`` and ``backbone``."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.architecture = architecture_of(model)
        self.backbone = Backbone(self.architecture, model)


class TuningNet(_Network):
    """Stage `tuning`: images [B, 3, H, W] -> (logits [B, classes],) of the descriptor head; every parameter trains."""

    HEADS = ("descriptor",)

    def __init__(self, model: ModelConfig, num_classes: int) -> None:
        super().__init__(model)
        self.descriptor_head = DescriptorHead(num_classes, self.architecture, model)

    def construct(self, images: Tensor) -> Tuple[Tensor]:
        return (self.descriptor_head(self.backbone(images)),)


class AttentionNet(_Network):
    """Stage `attn`: images [B, 3, H, W] -> (logits [B, classes],) of the attention head; the backbone is frozen.

    Frozen in full: no gradient reaches it and its BatchNorm layers use, and keep, their moving statistics.
    """

    HEADS = ("attention",)

    def __init__(self, model: ModelConfig, num_classes: int) -> None:
        super().__init__(model)
        self.attention = Attention(self.architecture, model)
        self.attention_head = AttentionHead(num_classes, self.architecture)
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


class JointNet(_Network):
    """Stage `joint`: images [B, 3, H, W] -> logits [B, classes] of both heads, as the reference trains them at once.

    The attention's gradient stops at block3: the backbone learns through the descriptor head alone.
    """

    HEADS = ("descriptor", "attention")

    def __init__(self, model: ModelConfig, num_classes: int) -> None:
        super().__init__(model)
        self.descriptor_head = DescriptorHead(num_classes, self.architecture, model)
        self.attention = Attention(self.architecture, model)
        self.attention_head = AttentionHead(num_classes, self.architecture)

    def construct(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        block3 = self.backbone(images)
        stopped = ops.stop_gradient(block3)
        return self.descriptor_head(block3), self.attention_head(stopped, self.attention(stopped))


class DelfNet(_Network):
    """Extraction: images [B, 3, H, W] -> (feature map [B, C, h, w], attention [B, 1, h, w])."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__(model)
        self.attention = Attention(self.architecture, model)

    def construct(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        block3 = self.backbone(images)
        return block3, self.attention(block3)
