"""BatchNorm folded into the convolution before it: with fixed statistics both together are one convolution.

Everything here is NumPy, so that every engine starts from the same numbers.
"""

from typing import Dict, Mapping

import numpy as np


def fold(weights: Mapping[str, np.ndarray], epsilon: float) -> Dict[str, np.ndarray]:
    """The convolutions of a network with their BatchNorm folded in.

    Args:
        weights: every parameter by name, as in a checkpoint; the BatchNorm of ``conv_a`` is ``bn_a`` beside it.
        epsilon: of BatchNorm.

    Returns:
        ``NAME.weight`` [outputs, inputs, k, k] and ``NAME.bias`` [outputs] float32 of each convolution NAME; those
        without a BatchNorm are unchanged.
    """
    folded: Dict[str, np.ndarray] = {}
    for key in weights:
        name, _, kind = key.rpartition(".")
        if kind != "weight":
            continue
        weight = weights[key].astype(np.float64)
        bias = weights.get(f"{name}.bias", np.zeros(len(weight))).astype(np.float64)
        parent, _, own = name.rpartition(".")
        normalisation = f"{parent}.{own.replace('conv', 'bn')}"
        if f"{normalisation}.gamma" in weights:
            gamma, beta, mean, variance = (
                weights[f"{normalisation}.{part}"].astype(np.float64)
                for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            factor = gamma / np.sqrt(variance + epsilon)
            weight, bias = weight * factor[:, None, None, None], (bias - mean) * factor + beta
        folded[f"{name}.weight"], folded[f"{name}.bias"] = weight.astype(np.float32), bias.astype(np.float32)
    return folded
