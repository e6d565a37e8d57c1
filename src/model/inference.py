"""The network as extraction sees it: a function from an image to its feature map and attention."""

from typing import Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.config import Config
from src.device import set_up_device
from src.files import sha256_of
from src.model.checkpoint import load_weights
from src.model.delf import DelfNet


class InferenceNetwork:
    """conv1..conv4 and the attention of a checkpoint, compiled once for all image sizes.

    Attributes:
        checkpoint_sha256: identity of the weights, in hex.
    """

    def __init__(self, config: Config, device_id: int = 0) -> None:
        """Load ``config.checkpoint_path`` on the device; UserError when it holds no backbone or no attention."""
        set_up_device(config.device_target, config.seed, device_id)
        network = DelfNet(config)
        load_weights(network, config.checkpoint_path, ["backbone", "attention"])
        network.set_train(False)
        network.set_inputs(Tensor(shape=[None, 3, None, None], dtype=ms.float32))
        self._network = network
        self.checkpoint_sha256 = sha256_of(config.checkpoint_path)

    def __call__(self, image: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """[1, 3, H, W] float32, RGB as (x - 128) / 128 -> feature map [h, w, 1024] and attention [h, w], float32."""
        feature_map, attention = self._network(Tensor(image))
        return feature_map.asnumpy()[0].transpose(1, 2, 0), attention.asnumpy()[0, 0]


def load_network(config: Config, device_id: int = 0) -> InferenceNetwork:
    """The network of ``config.checkpoint_path``, ready to be called."""
    return InferenceNetwork(config, device_id)
