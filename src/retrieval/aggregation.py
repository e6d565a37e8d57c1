"""Local features aggregated by visual words: VLAD, ASMK and ASMK*, in pure NumPy.

A word is a centroid of a codebook. Each descriptor is assigned to its nearest words; for each word of a photo the
residuals (descriptor - word) are summed. VLAD (Jegou et al. 2010) is all sums as one vector; ASMK (Tolias et al. 2013)
compares the sums word by word, ASMK* their signs. Two programs define what ASMK is in numbers, and differ:

==================== =================================== ==========================================
``family``           ``tf_delf`` (TensorFlow's DELF)     ``jenicek`` (github.com/jenicek/asmk; HOW)
==================== =================================== ==========================================
sums of norm <= 1e-6 left out                            kept
kernel of x          sign(x) |x|^alpha where x > tau     x^alpha where x >= tau
bits of a code       min(D, 8) for each byte             32 for each 32 dimensions begun
==================== =================================== ==========================================

In both a similarity is divided by the square root of the number of words of either photo.
"""

from typing import NamedTuple, Optional, Sequence

import numpy as np

from ..errors import UserError
from ..retrieval_config import ASMK_FAMILIES

TF_DELF, JENICEK = ASMK_FAMILIES
_LEAST_NORM = 1e-6  # of a sum of residuals that tf_delf keeps
_EPSILON = 1e-12  # of the squared norm of a VLAD vector, as tf.math.l2_normalize


class Words(NamedTuple):
    """What a photo has in its words.

    Attributes:
        numbers: [W] int64, rising.
        vectors: [W, D], a sum of residuals, a unit vector or a code for each.
    """

    numbers: np.ndarray
    vectors: np.ndarray


class Kernel(NamedTuple):
    """How similarities of two photos' words are weighed: ``asmk_family``, ``asmk_alpha``, ``asmk_threshold``."""

    family: str = TF_DELF
    alpha: float = 3.0
    threshold: float = 0.0

    def require_defined(self) -> None:
        """UserError for a power of negative similarities that is no number."""
        if self.family == JENICEK and self.threshold < 0 and self.alpha != int(self.alpha):
            fact = f"similarities from {self.threshold:g} on have no power {self.alpha:g}"
            raise UserError(f"`asmk_threshold`: {fact}; give 0 or more, or a whole `asmk_alpha`")

    def __call__(self, similarities: np.ndarray) -> np.ndarray:
        """The weights of similarities in [-1, 1]; 0 for those that do not count."""
        if self.family == TF_DELF:
            powers = np.sign(similarities) * np.abs(similarities) ** self.alpha
            return np.where(similarities > self.threshold, powers, 0.0)
        counts = similarities >= self.threshold
        return np.where(counts, np.power(np.where(counts, similarities, 0.0), self.alpha), 0.0)


def nearest_words(descriptors: np.ndarray, words: np.ndarray, count: int = 1) -> np.ndarray:
    """[N, A] int64, the ``count`` words [K, D] nearest to each descriptor [N, D] by L2, nearest first; A <= K."""
    squared = (words * words).sum(axis=1) - 2 * descriptors @ words.T
    return np.argsort(squared, axis=1, kind="stable")[:, :count]


def sum_residuals(descriptors: np.ndarray, words: np.ndarray, assigned: np.ndarray) -> Words:
    """The sum of residuals of each word that has a descriptor.

    Args:
        descriptors: [N, D] of a photo; N may be 0.
        words: [K, D] of the codebook.
        assigned: [N, A] words of each descriptor, which counts in each of them.
    """
    order = np.argsort(assigned, axis=None, kind="stable")
    numbers, starts = np.unique(assigned.ravel()[order], return_index=True)
    if not len(numbers):
        return Words(np.zeros(0, np.int64), np.zeros((0, words.shape[1]), np.float32))
    residuals = descriptors[order // assigned.shape[1]] - words[assigned.ravel()[order]]
    return Words(numbers.astype(np.int64), np.add.reduceat(residuals, starts, axis=0))


def join_regions(regions: Sequence[Words]) -> Words:
    """The sums of a photo from those of its regions, by R-VLAD of Teichmann et al. (CVPR 2019), TensorFlow's DELF.

    The sums of each region, all its words as one vector, are divided by their L2 norm; the mean over the regions is
    what ``vlad``, ``asmk`` and ``asmk_star`` make their regional forms of.

    Args:
        regions: sums of residuals of each region; one without any counts in the mean.
    """
    numbers = np.concatenate([region.numbers for region in regions])
    norms = [np.sqrt(max(float(np.square(region.vectors).sum()), _EPSILON)) for region in regions]
    vectors = np.concatenate([region.vectors / norm for region, norm in zip(regions, norms)])
    order = np.argsort(numbers, kind="stable")
    words, starts = np.unique(numbers[order], return_index=True)
    if not len(words):
        return regions[0]
    return Words(words, np.add.reduceat(vectors[order], starts, axis=0) / len(regions))


def vlad(sums: Words, num_words: int) -> np.ndarray:
    """[K * D] float32, the sums of all words one after the other, of unit L2 norm; zeros where there is no word."""
    vector = np.zeros((num_words, sums.vectors.shape[1]), np.float32)
    vector[sums.numbers] = sums.vectors
    return vector.ravel() / np.sqrt(max(float(np.square(vector).sum()), _EPSILON))


def asmk(sums: Words, family: str = TF_DELF) -> Words:
    """The words of a photo with the directions of their sums, unit vectors [W, D]; a zero sum stays zero."""
    sums = _kept(sums, family)
    norms = np.linalg.norm(sums.vectors, axis=1, keepdims=True)
    return Words(sums.numbers, sums.vectors / np.where(norms > 0, norms, 1))


def asmk_star(sums: Words, family: str = TF_DELF) -> Words:
    """The words of a photo with the signs of their sums, uint8 [W, ceil(D / 8)]: bit = number > 0, first bit high."""
    sums = _kept(sums, family)
    return Words(sums.numbers, np.packbits(sums.vectors > 0, axis=1))


def code_bits(dimension: int, family: str = TF_DELF, asmk_bits: int = 0) -> int:
    """Bits that a Hamming distance of codes is divided by: ``asmk_bits``, or with 0 what the family takes.

    Raises:
        UserError: fewer than the code has.
    """
    if 0 < asmk_bits < dimension:
        raise UserError(f"`asmk_bits` is {asmk_bits}; the codes have {dimension}: give that or more, or 0")
    per_byte = min(dimension, 8) * -(-dimension // 8)
    return asmk_bits or (per_byte if family == TF_DELF else 32 * -(-dimension // 32))


def similarities_by_distance(bits: int, kernel: Kernel) -> np.ndarray:
    """[bits + 1] float64, the weight of two codes by their Hamming distance h: the kernel of 1 - 2 h / bits."""
    return kernel(1 - 2 * np.arange(bits + 1) / bits)


def hamming(codes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[W] int64, bits in which codes [W, B] uint8 differ from ``others`` [W, B] or [B]."""
    return np.unpackbits(codes ^ others, axis=1).sum(axis=1, dtype=np.int64)


def idf(photos_of_words: np.ndarray, num_photos: int) -> np.ndarray:
    """[K] float64, log(photos / photos that have the word), and 1 for a word that none has, as jenicek/asmk."""
    counts = np.asarray(photos_of_words)
    return np.where(counts > 0, np.log(num_photos / np.maximum(counts, 1)), 1.0)


def similarity(
    ours: Words, theirs: Words, kernel: Kernel, bits: int = 0, weights: Optional[np.ndarray] = None
) -> float:
    """The similarity of two photos by ASMK, or by ASMK* with the ``bits`` of its codes: -1 where one has no word.

    Args:
        ours, theirs: of ``asmk`` or ``asmk_star``.
        kernel: of the common words.
        bits: as ``code_bits``; 0 for ASMK.
        weights: [K] of the words, as ``idf``; None = all 1. Each enters once for a common word, and as the number of
            words that either photo has in the square roots that normalise.
    """
    if not len(ours.numbers) or not len(theirs.numbers):
        return -1.0
    common, first, second = np.intersect1d(ours.numbers, theirs.numbers, return_indices=True)
    a, b = ours.vectors[first], theirs.vectors[second]
    alike = kernel(1 - 2 * hamming(a, b) / bits if bits else (a * b).sum(axis=1))
    a_weights, b_weights, both = (
        np.ones(len(numbers)) if weights is None else weights[numbers]
        for numbers in (ours.numbers, theirs.numbers, common)
    )
    norm = np.sqrt(a_weights.sum() * b_weights.sum())
    return float((both * alike).sum() / norm) if norm else 0.0


def _kept(sums: Words, family: str) -> Words:
    if family == JENICEK:
        return sums
    kept = np.linalg.norm(sums.vectors, axis=1) > _LEAST_NORM
    return Words(sums.numbers[kept], sums.vectors[kept])
