"""One training step as a compiled graph: loss, gradients, clipping, update."""

from typing import Tuple

import mindspore as ms
from mindspore import Tensor, nn, ops

from src.config import Config
from src.training.schedule import LinearToZero


class Loss(nn.Cell):
    """(images, labels) -> (weighted loss, loss, accuracy): the mean softmax cross-entropy of a network's logits."""

    def __init__(self, network: nn.Cell, weight: float) -> None:
        super().__init__()
        self.network = network
        self.weight = weight

    def construct(self, images: Tensor, labels: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        logits = self.network(images)
        loss = ops.cross_entropy(logits, labels)
        accuracy = (logits.argmax(1) == labels).astype(ms.float32).mean()
        return loss * self.weight, loss, accuracy


def clip_by_global_norm(gradients: Tuple[Tensor, ...], clip_norm: float) -> Tuple[Tuple[Tensor, ...], Tensor]:
    """The gradients, scaled down together when their joint L2 norm exceeds ``clip_norm``, and that norm."""
    squares = ()
    for gradient in gradients:
        squares += (ops.square(gradient).sum(),)
    norm = ops.sqrt(ops.addn(squares))
    scale = clip_norm / ops.maximum(norm, clip_norm)
    clipped = ()
    for gradient in gradients:
        clipped += (gradient * scale,)
    return clipped, norm


class TrainStep(nn.Cell):
    """(images [B, 3, S, S], labels [B] int32) -> (loss, accuracy, gradient norm before clipping), and the update.

    SGD with momentum, no weight decay (the reference declares one and never applies it).
    """

    def __init__(self, network: nn.Cell, config: Config) -> None:
        super().__init__()
        weight = config.attention_loss_weight if config.train_state == "attn" else 1.0
        self.loss = Loss(network, weight)
        self.clip_norm = config.clip_norm
        schedule = LinearToZero(config.initial_lr, config.max_iters)
        self.optimizer = nn.Momentum(network.trainable_params(), schedule, config.momentum)
        self.loss_and_gradients = ops.value_and_grad(self.loss, None, self.optimizer.parameters, has_aux=True)

    def construct(self, images: Tensor, labels: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        (_, loss, accuracy), gradients = self.loss_and_gradients(images, labels)
        gradients, norm = clip_by_global_norm(gradients, self.clip_norm)
        loss = ops.depend(loss, self.optimizer(gradients))
        return loss, accuracy, norm
