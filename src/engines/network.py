"""What a network is to whoever runs it."""

from typing import Callable, Tuple

import numpy as np

# What a network can give, in this order: block3's map, DELF's attention on it, and block4's map through conv5
OUTPUTS = ("feature_map", "attention", "block4")
DELF_OUTPUTS = ("feature_map", "attention")
# [1, 3, h, w] float32 -> the outputs asked for: maps [rows, columns, C] and attention [rows, columns], float32; the
# arrays are the caller's to keep: a later call must not write into them
Network = Callable[[np.ndarray], Tuple[np.ndarray, ...]]
# images [B, 3, H, W] -> the same, maps [B, C, h, w] and attention [B, 1, h, w] after its softplus, float32
BatchedNetwork = Callable[[np.ndarray], Tuple[np.ndarray, ...]]
