"""The learned matcher of local descriptors in NumPy: how many descriptors of two photos find their partner.

ELViS (ICLR 2026): a projection, cosine similarities, a dust-bin for descriptors without a partner, ten iterations of
Sinkhorn, and a small network that makes a soft vote of each descriptor's best probability. Positions play no part.
``training.matcher_network`` is the same in MindSpore, by which it is trained.
"""

from dataclasses import dataclass, field
from typing import Dict, Mapping, NamedTuple, Tuple

import numpy as np

from ..features.heads import numbers, unit
from ..records import Matches, Provenance

WIDTH = 128  # numbers of a projected descriptor
HIDDEN = 16  # of the network that makes votes
ITERATIONS = 10
TEMPERATURE = 0.1
NORM_EPSILON = 1e-5  # of both layer norms
LEAST_PROBABILITY = 0.5  # of a pair that is drawn; no two such pairs share a descriptor


def weight_shapes(dimension: int) -> Dict[str, Tuple[int, ...]]:
    """The shape of each weight of a matcher for descriptors of ``dimension`` numbers, by its name."""
    return {
        "project.weight": (WIDTH, dimension),
        "project.bias": (WIDTH,),
        "norm.gamma": (WIDTH,),
        "norm.beta": (WIDTH,),
        "bin_hidden.weight": (WIDTH, WIDTH),
        "bin_hidden.bias": (WIDTH,),
        "bin_score.weight": (1, WIDTH),
        "bin_score.bias": (1,),
        "corner": (1,),
        "vote_hidden.weight": (HIDDEN, 1),
        "vote_hidden.bias": (HIDDEN,),
        "vote_norm.gamma": (HIDDEN,),
        "vote_norm.beta": (HIDDEN,),
        "vote_score.weight": (1, HIDDEN),
        "vote_score.bias": (1,),
    }


class Projected(NamedTuple):
    """The descriptors of a photo as the matcher compares them.

    Attributes:
        vectors: [N, 128] float32 of unit norm.
        bins: [N] float32, from -1 to 1: similarity to having no partner.
    """

    vectors: np.ndarray
    bins: np.ndarray


@dataclass(frozen=True, eq=False)
class Matcher:
    """A trained matcher.

    Attributes:
        weights: arrays by the names of ``weight_shapes``.
        num_descriptors: best-scored descriptors of a photo that take part, as many as in training at most.
        provenance: ``weights`` and ``encoder`` are those of the descriptors it is for.

    Raises:
        ValueError: a weight is missing, has another shape, or a number in it is not finite.
    """

    weights: Mapping[str, np.ndarray]
    num_descriptors: int
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        found = numbers(self.weights["project.weight"], "project.weight", (WIDTH, -1))
        shapes = weight_shapes(found.shape[1])
        checked = {name: numbers(self.weights[name], name, shape) for name, shape in shapes.items()}
        object.__setattr__(self, "weights", checked)
        if type(self.num_descriptors) is not int or self.num_descriptors < 1:
            raise ValueError(f"num_descriptors is {self.num_descriptors}, not a number above 0")

    @property
    def dimension(self) -> int:
        """Numbers of a descriptor."""
        return self.weights["project.weight"].shape[1]

    def project(self, descriptors: np.ndarray) -> Projected:
        """The first ``num_descriptors`` of a photo's descriptors [N, C], which stand best first."""
        rows = np.asarray(descriptors[: self.num_descriptors], np.float32)
        vectors = unit(self._norm("norm", self._linear("project", rows)))
        hidden = np.maximum(self._linear("bin_hidden", vectors), 0)
        return Projected(vectors, np.tanh(self._linear("bin_score", hidden))[:, 0])

    def probabilities(self, a: Projected, b: Projected) -> np.ndarray:
        """[m, n] that two descriptors of photos A and B are partners; a row or a column adds up to 1 at most."""
        return transport(a.vectors @ b.vectors.T, a.bins, b.bins, float(self.weights["corner"][0]))

    def soft_votes(self, probabilities: np.ndarray) -> float:
        """The sum of the votes of the descriptors of both photos, from 0 to m + n; 0 where a photo has none."""
        if not probabilities.size:
            return 0.0
        best = np.concatenate([probabilities.max(axis=1), probabilities.max(axis=0)])
        hidden = gelu(self._norm("vote_norm", self._linear("vote_hidden", best[:, None])))
        return float((1 / (1 + np.exp(-self._linear("vote_score", hidden)))).sum(dtype=np.float64))

    def _linear(self, name: str, rows: np.ndarray) -> np.ndarray:
        return rows @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, name: str, rows: np.ndarray) -> np.ndarray:
        centred = rows - rows.mean(axis=1, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + NORM_EPSILON)
        return centred / deviation * self.weights[f"{name}.gamma"] + self.weights[f"{name}.beta"]


def transport(similarities: np.ndarray, bins_a: np.ndarray, bins_b: np.ndarray, corner: float) -> np.ndarray:
    """Sinkhorn's iterations with a dust-bin on both sides.

    Each descriptor has the mass 1, the bin of A's side as much as B has descriptors, and the other way round. The
    scales of rows and columns are kept, not their logarithms: similarities and bins lie in [-1, 1], so nothing
    overflows, and an iteration is two products of a matrix and a vector.

    Args:
        similarities: [m, n].
        bins_a: [m]; bins_b: [n].
        corner: similarity of the two bins.

    Returns:
        [m, n] float32.
    """
    m, n = similarities.shape
    if not m or not n:
        return np.zeros((m, n), np.float32)
    kernel = np.empty((m + 1, n + 1), np.float32)
    kernel[:m, :n], kernel[:m, n], kernel[m, :n], kernel[m, n] = similarities, bins_a, bins_b, corner
    kernel -= kernel.max()
    kernel *= 1 / TEMPERATURE
    np.exp(kernel, out=kernel)
    mass_a, mass_b = (np.append(np.ones(own, np.float32), np.float32(other)) for own, other in ((m, n), (n, m)))
    of_b = np.ones(n + 1, np.float32)
    for _ in range(ITERATIONS):
        of_a = mass_a / (kernel @ of_b)
        of_b = mass_b / (of_a @ kernel)
    kernel *= of_a[:, None]
    kernel *= of_b
    return kernel[:m, :n]


def gelu(values: np.ndarray) -> np.ndarray:
    """x times the normal distribution function of x."""
    from scipy.special import erf  # takes a second to import

    return values * (0.5 * (1 + erf(values * np.float32(0.5**0.5))))


def drawn_pairs(probabilities: np.ndarray) -> Tuple[Matches, np.ndarray]:
    """The pairs of descriptors above ``LEAST_PROBABILITY``, all of them inliers, and the probability of each [M]."""
    indices = np.argwhere(probabilities > LEAST_PROBABILITY)
    strengths = probabilities[tuple(indices.T)]
    return Matches(indices, 1 - strengths, np.ones(len(indices), bool)), strengths
