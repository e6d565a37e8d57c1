"""The attention head: which places of the feature map are worth a local feature (Noh et al., section 3.2)."""

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from .resnet50 import BLOCK3_CHANNELS, LayerOptions, batch_norm, convolution


class Attention(nn.Cell):
    """1x1 to 512, BatchNorm, ReLU, 1x1 to 1, softplus.

    ``construct``: block3 [B, 1024, h, w] -> attention [B, 1, h, w], above 0.

    Args:
        options: see ``LayerOptions``; the head's kernels always are Glorot's.
        init: "glorot" (the reference) or "normal" (the MindSpore model zoo's numbers).
    """

    def __init__(self, options: LayerOptions, init: str = "glorot") -> None:
        super().__init__()
        self.conv1 = convolution(BLOCK3_CHANNELS, 512, 1)
        self.bn1 = batch_norm(512, options)
        self.conv2 = convolution(512, 1, 1)
        if init == "normal":
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

    def construct(self, block3: Tensor) -> Tensor:
        return ops.softplus(self.conv2(ops.relu(self.bn1(self.conv1(block3)))))


def attended_mean(block3: Tensor, attention: Tensor) -> Tensor:
    """Spatial mean of L2-normalised features times attention: [B, C, h, w], [B, 1, h, w] -> [B, C].

    The mean divides by h * w, not by the sum of the attention (reference TF DELF); epsilon 1e-12 is TF's.
    """
    squared = ops.square(block3).sum(1, keepdims=True)
    normalised = block3 * ops.rsqrt(ops.maximum(squared, 1e-12))
    return (normalised * attention).mean((2, 3))
