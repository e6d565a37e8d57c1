"""What a network is to whoever runs it."""

from typing import Callable, Tuple

import numpy as np

# [1, 3, h, w] float32 -> feature map [rows, columns, C] and attention [rows, columns], float32; the arrays are the
# caller's to keep: a later call must not write into them
Network = Callable[[np.ndarray], Tuple[np.ndarray, np.ndarray]]
# images [B, 3, H, W] -> feature maps [B, C, h, w] and attention [B, 1, h, w] after its softplus, float32
BatchedNetwork = Callable[[np.ndarray], Tuple[np.ndarray, np.ndarray]]
