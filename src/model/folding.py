"""BatchNorm folded into the convolution before it: with fixed statistics both together are one convolution.

Everything here is NumPy, so that every engine starts from the same numbers.
"""

from typing import Dict, Mapping, Tuple

import numpy as np

EPSILON = 1e-3  # Keras's, as in src/model/resnet50.py


def _units() -> Tuple[Tuple[str, int], ...]:
    sizes = {"conv2": 3, "conv3": 4, "conv4": 6}
    return tuple(
        (f"backbone.{stage}.{unit}", 2 if unit == size - 1 else 1)
        for stage, size in sizes.items()
        for unit in range(size)
    )


# Names of the bottlenecks in order, and the stride of their 3x3 convolution. In training the stride sits on the next
# stage's first 1x1 convolutions, or on the sub-sampling after conv4, which read every second row and column of a map
# only. So the last unit of a stage need not compute the others: its 3x3 convolution strides (padded by 1 on each side,
# which keeps it centred on the even cells), its shortcut is sub-sampled, and what follows has no stride left.
UNITS = _units()


def fold(weights: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """The convolutions of a network with their BatchNorm folded in.

    Args:
        weights: every parameter by name, as in a checkpoint; the BatchNorm of ``conv_a`` is ``bn_a`` beside it.

    Returns:
        ``NAME.weight`` [outputs, inputs, k, k] and ``NAME.bias`` [outputs] float32 of each convolution NAME; those
        without a BatchNorm are unchanged.
    """
    folded: Dict[str, np.ndarray] = {}
    for key in weights:
        name, _, kind = key.rpartition(".")
        if kind != "weight":
            continue
        weight, bias = (weights[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        parent, _, own = name.rpartition(".")
        normalisation = f"{parent}.{own.replace('conv', 'bn')}"
        if f"{normalisation}.gamma" in weights:
            gamma, beta, mean, variance = (
                weights[f"{normalisation}.{part}"].astype(np.float64)
                for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            factor = gamma / np.sqrt(variance + EPSILON)
            weight, bias = weight * factor[:, None, None, None], (bias - mean) * factor + beta
        folded[f"{name}.weight"], folded[f"{name}.bias"] = weight.astype(np.float32), bias.astype(np.float32)
    return folded
