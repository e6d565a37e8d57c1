"""Matchers made of random numbers, and the same computation once more, slowly, on logarithms in float64."""

import math

import numpy as np

from src.matching.matcher import Matcher, weight_shapes
from src.records import Provenance


def random_matcher(dimension, num_descriptors=1000, seed=0, **provenance):
    generator = np.random.default_rng(seed)
    weights = {name: 0.3 * generator.normal(size=shape) for name, shape in weight_shapes(dimension).items()}
    for name in ("norm.gamma", "vote_norm.gamma", "corner"):
        weights[name] = 1 + weights[name]
    return Matcher(weights, num_descriptors, Provenance(**provenance))


def unit_rows(generator, *shape):
    rows = generator.normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def _logsumexp(values):
    return values.max() + math.log(np.exp(values - values.max()).sum())


def slow_transport(similarities, bins_a, bins_b, corner):
    """Log-Sinkhorn: row masses 1 / (m + n), bin masses n / (m + n) and m / (m + n), temperature 1/10."""
    m, n = similarities.shape
    z = 10 * np.block([[similarities, np.reshape(bins_a, (m, 1))], [np.reshape(bins_b, (1, n)), np.array([[corner]])]])
    log_a = np.log(np.append(np.ones(m), n) / (m + n))
    log_b = np.log(np.append(np.ones(n), m) / (m + n))
    u, v = np.zeros(m + 1), np.zeros(n + 1)
    for _ in range(10):
        u = np.array([log_a[i] - _logsumexp(z[i] + v) for i in range(m + 1)])
        v = np.array([log_b[j] - _logsumexp(z[:, j] + u) for j in range(n + 1)])
    return np.exp(z + u[:, None] + v + math.log(m + n))[:m, :n]


def slow_votes(weights, a, b):
    """(soft votes, probabilities [m, n]) of descriptors a [m, C] and b [n, C], one descriptor at a time."""
    w = {name: np.asarray(array, np.float64) for name, array in weights.items()}

    def norm(x, name):
        return (x - x.mean()) / math.sqrt(x.var() + 1e-5) * w[f"{name}.gamma"] + w[f"{name}.beta"]

    def project(x):
        x = norm(w["project.weight"] @ x + w["project.bias"], "norm")
        x = x / math.sqrt(x @ x)
        hidden = np.maximum(w["bin_hidden.weight"] @ x + w["bin_hidden.bias"], 0)
        return x, math.tanh(w["bin_score.weight"][0] @ hidden + w["bin_score.bias"][0])

    def vote(probability):
        x = norm(w["vote_hidden.weight"][:, 0] * probability + w["vote_hidden.bias"], "vote_norm")
        x = np.array([value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x])
        return 1 / (1 + math.exp(-(w["vote_score.weight"][0] @ x + w["vote_score.bias"][0])))

    (vectors_a, bins_a), (vectors_b, bins_b) = (zip(*map(project, np.float64(side))) for side in (a, b))
    table = slow_transport(np.array(vectors_a) @ np.array(vectors_b).T, bins_a, bins_b, w["corner"][0])
    return sum(map(vote, [*table.max(axis=1), *table.max(axis=0)])), table
