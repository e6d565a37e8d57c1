"""A network that needs no MindSpore: pooled colours of each cell, projected at random; and encoders that use one."""

import functools
import os
import signal

import numpy as np

from src.config import Config
from src.errors import UserError
from src.features.delf_encoder import DelfEncoder
from src.model.architectures import architecture_of

CHANNELS, RAW_DIMENSION = 12, 1024


def fake_network(level: np.ndarray, channels: int = CHANNELS):
    """[1, 3, h, w] -> feature map [rows, columns, channels], attention [rows, columns]; one cell each 32 pixels."""
    _, _, height, width = level.shape
    weights = np.random.default_rng(7).normal(size=(8, channels))
    feature_map = np.zeros((-(-height // 32), -(-width // 32), channels), np.float32)
    attention = np.zeros(feature_map.shape[:2], np.float32)
    for row in range(feature_map.shape[0]):
        for column in range(feature_map.shape[1]):
            cell = level[0, :, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32].astype(np.float64)
            pooled = np.concatenate([cell.mean(axis=(1, 2)), cell.std(axis=(1, 2)), [row / 9, column / 9]])
            feature_map[row, column] = np.tanh(pooled @ weights)
            attention[row, column] = np.log1p(np.exp(3 * pooled[0] - pooled[1] + 0.3 * pooled[2]))
    return feature_map, attention


def load_fake_network(run, model, device_id=0, threads=0):
    """As src.engines.load_network; some device ids are broken on purpose."""
    if device_id == 8:
        raise UserError("device 8 is on fire")
    if device_id == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return functools.partial(fake_network, channels=RAW_DIMENSION)


def load_deadly_network(run, model, device_id=0, threads=0):
    """The network of RAW_DIMENSION channels, but a white photo kills the process."""

    def network(level):
        if level.min() == 127 / 128:
            os.kill(os.getpid(), signal.SIGKILL)
        return fake_network(level, RAW_DIMENSION)

    return network


def load_network_that_dies_once(flag, run, model, device_id=0, threads=0):
    """The network of RAW_DIMENSION channels, but the first process that comes to a third photo is killed."""
    network, seen = load_fake_network(run, model), []

    def run_network(level):
        seen.append(1)
        if len(seen) == 3 and not os.path.exists(flag):
            open(flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return network(level)

    return run_network


def encoder_of(network=fake_network, pca=None, **keys):
    """DELF with ``network`` and the recipe's keys, without a checkpoint."""
    config = Config(**keys)
    return DelfEncoder(config.extraction, architecture_of(config.model), pca, network=network)


def sections(config):
    """What extraction receives of a recipe."""
    return config.run, config.model, config.extraction
