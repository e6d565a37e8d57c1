"""Losses of descriptors through a classification: ArcFace, or a softmax over a dense layer; and those of DELG."""

from typing import Tuple

import mindspore as ms
from mindspore import Tensor, nn, ops

from ..config import MetricConfig, TrainingConfig
from .global_network import ClassHead
from .metric_losses import arcface_logits
from .vector_losses import margin_of


class ClassLosses(nn.Cell):
    """(images, labels, factor) -> (factor * mean loss, figures [2, B]): the interface of ``step.Losses``.

    The weights of the classes are no part of the network, and of no checkpoint: they are kept with the state of a run.

    Args:
        network: images -> unit vectors [B, D].
        dimension: D.
        num_classes: of the data set.
        metric: section of the recipe.
    """

    HEADS = ("descriptor",)

    def __init__(self, network: nn.Cell, dimension: int, num_classes: int, metric: MetricConfig) -> None:
        super().__init__()
        self.network = network
        self.is_arcface = metric.loss == "arcface"
        self.margin = margin_of(metric)
        self.scale = metric.logit_scale
        dense = nn.Dense(dimension, num_classes, weight_init="xavier_uniform", bias_init="zeros")
        self.class_head = ClassHead(num_classes, dimension) if self.is_arcface else dense
        # Not ops.cross_entropy, see ``step.Losses``
        self.cross_entropy = nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="none")

    def construct(self, images: Tensor, labels: Tensor, factor: Tensor) -> Tuple[Tensor, Tensor]:
        vectors = self.network(images)
        if self.is_arcface:
            answers = self.class_head(vectors)
            logits = arcface_logits(answers, labels, self.scale, self.margin)
        else:
            answers = logits = self.class_head(self.scale * vectors)
        losses = self.cross_entropy(logits, labels)
        hits = (answers.argmax(1) == labels).astype(ms.float32)
        return losses.mean() * factor, ops.stack((losses, hits))


class DelgLosses(nn.Cell):
    """(images, labels, factor) -> (factor * total, figures [4, B]): the interface of ``step.Losses``.

    ArcFace of the global descriptor + ``attention_loss_weight`` * softmax cross-entropy of the attention + 10 * the
    autoencoder's reconstruction error. The figure of the attention's loss holds the weighed error too.

    Args:
        network: images -> what ``DelgNet`` gives.
        training, metric: sections of the recipe.
    """

    HEADS = ("descriptor", "attention")
    RECONSTRUCTION = 10.0

    def __init__(self, network: nn.Cell, training: TrainingConfig, metric: MetricConfig) -> None:
        super().__init__()
        self.network = network
        self.margin = margin_of(metric)
        self.scale = metric.logit_scale
        self.weight = training.attention_loss_weight
        self.cross_entropy = nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="none")

    def construct(self, images: Tensor, labels: Tensor, factor: Tensor) -> Tuple[Tensor, Tensor]:
        cosines, logits, errors, _ = self.network(images)
        logits = logits.astype(ms.float32)
        of_descriptor = self.cross_entropy(arcface_logits(cosines, labels, self.scale, self.margin), labels)
        of_attention = self.cross_entropy(logits, labels)
        reconstruction = self.RECONSTRUCTION * errors
        total = of_descriptor.mean() + self.weight * of_attention.mean() + reconstruction.mean()
        hits = [(answers.argmax(1) == labels).astype(ms.float32) for answers in (cosines, logits)]
        return total * factor, ops.stack((of_descriptor, of_attention + reconstruction, hits[0], hits[1]))
