"""Real ImageNet weights as they come, in every engine, and as a checkpoint; skipped where the file is not there."""

import logging
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from src.commands.make_untrained_checkpoint import main
from src.config import ModelConfig, RunConfig
from src.engines import load_network

FILE = Path(__file__).resolve().parents[3] / "shared/weights/resnet50_imagenet_conv1to4_eps1e-3.h5"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="no ImageNet weights here")


def features(path, engine="mindspore", seed=3):
    run, model = RunConfig(device_target="CPU", seed=seed), ModelConfig(checkpoint_path=str(path), engine=engine)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 65, 97)).astype(np.float32)
    return load_network(run, model)(image)


mindspore_features = lru_cache(lambda seed: features(FILE, seed=seed))  # compiled once for all tests


def test_two_runs_and_the_checkpoint_of_the_same_seed_agree_bit_for_bit(tmp_path, caplog):
    main(["--imagenet_checkpoint", str(FILE), "--seed", "3", "--output", str(tmp_path / "made.ckpt")])
    with caplog.at_level(logging.INFO):
        first = mindspore_features(3)
    assert caplog.text.count("attention, which stays untrained") == 1
    for other in (features(FILE), features(tmp_path / "made.ckpt", seed=8)):
        for found, expected in zip(other, first):
            np.testing.assert_array_equal(found, expected)
    other_seed = mindspore_features(4)
    np.testing.assert_array_equal(other_seed[0], first[0])
    assert np.abs(other_seed[1] - first[1]).max() > 1e-3


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_other_engines_agree_seed_by_seed(engine):
    """The cache holds the network of each seed."""
    pytest.importorskip("onnx")
    pytest.importorskip(engine)
    for seed in (3, 4, 3):
        for found, expected in zip(features(FILE, engine, seed), mindspore_features(seed)):
            assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
