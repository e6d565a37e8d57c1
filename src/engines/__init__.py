"""What runs the network: MindSpore, ONNX Runtime or OpenVINO behind one function, and the files they run."""

from typing import Callable, Tuple

import numpy as np

# images [B, 3, H, W] -> feature maps [B, 1024, h, w] and attention [B, 1, h, w] after its softplus, float32
Model = Callable[[np.ndarray], Tuple[np.ndarray, np.ndarray]]
