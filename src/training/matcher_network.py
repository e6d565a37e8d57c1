"""The learned matcher in MindSpore, and what it learns by; see ``matching.matcher`` for the same in NumPy."""

from typing import Tuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from ..matching.matcher import HIDDEN, ITERATIONS, NORM_EPSILON, TEMPERATURE, WIDTH

_HEAD = 64  # hidden numbers of the network that makes a logit of the soft votes
_FIRST_BIN = 0.85  # initial bias of a bin, whose tanh is 0.69: descriptors that are less alike have no partner
_FIRST_VOTE = 4.0  # initial logit of the vote of a descriptor that is sure of its partner; one without has its negative
_LEAST_VARIANCE = 1e-6  # of the soft votes of a batch


class MatcherNet(nn.Cell):
    """Pairs of photos [B, 2, K, C] -> logits ([B],) of showing the same place.

    Descriptors have unit norm; a row of zeros is no descriptor. The soft votes are standardised among the pairs of a
    batch, half of which show the same place, before the head that only training has: on the votes themselves it finds
    no signal in 400 steps, and all votes become alike.
    """

    HEADS = ("match",)

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.project = nn.Dense(dimension, WIDTH)
        self.norm = nn.LayerNorm((WIDTH,), epsilon=NORM_EPSILON)
        self.bin_hidden = nn.Dense(WIDTH, WIDTH)
        self.bin_score = nn.Dense(WIDTH, 1, bias_init=_FIRST_BIN)
        self.corner = Parameter(np.ones(1, np.float32), "corner")
        self.vote_hidden = nn.Dense(1, HIDDEN)
        self.vote_norm = nn.LayerNorm((HIDDEN,), epsilon=NORM_EPSILON)
        self.vote_score = nn.Dense(HIDDEN, 1)
        self._count_partners()
        self.head_hidden = nn.Dense(1, _HEAD)
        self.head_score = nn.Dense(_HEAD, 1)

    def _count_partners(self) -> None:
        """Initial votes: near 1 for a probability of 1, near 0 for one of 0. Chance would take long to find that."""
        none, sure = self._vote_features(Tensor(np.array([[0], [1]], np.float32))).asnumpy()
        weight = (sure - none) * 2 * _FIRST_VOTE / np.square(sure - none).sum()
        self.vote_score.weight.set_data(Tensor(weight[None]))
        self.vote_score.bias.set_data(Tensor(np.array([-_FIRST_VOTE - weight @ none], np.float32)))

    def construct(self, pairs: Tensor) -> Tuple[Tensor]:
        votes = self.soft_votes(pairs)
        centred = votes - votes.mean()
        votes = centred / ops.sqrt(ops.square(centred).mean() + _LEAST_VARIANCE)
        return (self.head_score(ops.relu(self.head_hidden(votes.expand_dims(1))))[:, 0],)

    def soft_votes(self, pairs: Tensor) -> Tensor:
        """[B]; see ``Matcher.soft_votes``."""
        there = (ops.square(pairs).sum(-1) > 0).astype(ms.float32)  # [B, 2, K]
        probabilities = self.probabilities(pairs, there)
        best = ops.stack((ops.amax(probabilities, 2), ops.amax(probabilities, 1)), 1).expand_dims(-1)
        votes = ops.sigmoid(self.vote_score(self._vote_features(best)))[..., 0]
        return (votes * there).sum((1, 2))

    def _vote_features(self, best: Tensor) -> Tensor:
        """[.., 1] probabilities -> [.., 16]."""
        hidden = self.vote_norm(self.vote_hidden(best))
        return hidden * (0.5 * (1 + ops.erf(hidden * 0.5**0.5)))

    def probabilities(self, pairs: Tensor, there: Tensor) -> Tensor:
        """[B, K, K]; see ``Matcher.probabilities``."""
        vectors = self.norm(self.project(pairs))
        vectors = vectors / ops.sqrt(ops.square(vectors).sum(-1, keepdims=True) + 1e-12)
        bins = ops.tanh(self.bin_score(ops.relu(self.bin_hidden(vectors))))  # [B, 2, K, 1]
        similarities = ops.bmm(vectors[:, 0], vectors[:, 1].swapaxes(1, 2))
        corner = ops.broadcast_to(self.corner.reshape(1, 1, 1), (pairs.shape[0], 1, 1))
        upper = ops.cat((similarities, bins[:, 0]), 2)
        lower = ops.cat((bins[:, 1].swapaxes(1, 2), corner), 2)
        return transport(ops.cat((upper, lower), 1), there[:, 0], there[:, 1])


def transport(scores: Tensor, there_a: Tensor, there_b: Tensor) -> Tensor:
    """Sinkhorn's iterations with dust-bins; see ``matching.matcher.transport``.

    Args:
        scores: [B, K + 1, K + 1], the last row and column are the bins'.
        there_a, there_b: [B, K], 1 where a place holds a descriptor, else 0.

    Returns:
        [B, K, K], 0 where a row or a column holds none.
    """
    count_a, count_b = there_a.sum(1, keepdims=True), there_b.sum(1, keepdims=True)
    one = ops.ones_like(count_a)
    rows, columns = (ops.cat((there, one), 1).expand_dims(2) for there in (there_a, there_b))  # [B, K + 1, 1]
    mass_a, mass_b = (ops.cat(parts, 1).expand_dims(2) for parts in ((there_a, count_b), (there_b, count_a)))
    present = rows * columns.swapaxes(1, 2)
    kernel = ops.exp((scores - 1) / TEMPERATURE) * present
    turned = kernel.swapaxes(1, 2)
    of_a, of_b = rows, columns
    for _ in range(ITERATIONS):
        of_a = mass_a / (ops.bmm(kernel, of_b) + (1 - rows))
        of_b = mass_b / (ops.bmm(turned, of_a) + (1 - columns))
    return (kernel * of_a * of_b.swapaxes(1, 2))[:, :-1, :-1]


class MatchLosses(nn.Cell):
    """(pairs [B, 2, K, C], labels [B] 1 = same place, factor) -> (factor * mean loss, figures [2, B]).

    The loss is the binary cross-entropy of the logits. The figures are each pair's loss, and whether its answer is
    right; see ``step.Losses``.
    """

    def __init__(self, network: MatcherNet) -> None:
        super().__init__()
        self.HEADS = network.HEADS
        self.network = network

    def construct(self, pairs: Tensor, labels: Tensor, factor: Tensor) -> Tuple[Tensor, Tensor]:
        (logits,) = self.network(pairs)
        signs = 2 * labels.astype(ms.float32) - 1
        losses = ops.relu(-signs * logits) + ops.log1p(ops.exp(-ops.abs(logits)))
        hits = (signs * logits > 0).astype(ms.float32)
        return losses.mean() * factor, ops.stack((losses, hits))
