"""A checkpoint with random weights and statistics, and a cache folder of the tests' own."""

import mindspore as ms  # before onnx, which breaks it when it comes first
import numpy as np
import pytest

from src.config import ModelConfig, RunConfig
from src.device import set_up_device
from src.model.networks import DelfNet
from src.model.weights import save_weights


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The folder in which exports of checkpoints are cached during the tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "delf"


def write_checkpoint(path, **keys):
    """Write a checkpoint whose BatchNorm layers all do something; the branches of deep networks are weaker."""
    set_up_device("CPU", 0)
    generator = np.random.default_rng(11)
    network = DelfNet(ModelConfig(**keys))
    weaker = 0.3 if len(network.architecture.backbone_units) > 20 else 1.0
    for name, parameter in network.parameters_and_names():
        if parameter.ndim == 1:
            value = generator.normal(0, 0.2, parameter.shape)
            if name.endswith(("gamma", "moving_variance")):
                value = generator.uniform(0.5, 1.5, parameter.shape) * (weaker if name.endswith("bn_c.gamma") else 1.0)
            parameter.set_data(ms.Tensor(value.astype(np.float32)))
    save_weights(network, path)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Path of a checkpoint of the default architecture."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "random.ckpt")


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory):
    """A function that writes a checkpoint of an architecture, and returns its path."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def of(name, style):
        return write_checkpoint(folder / f"{name}-{style}.ckpt", architecture=name, weights_style=style)

    return of


@pytest.fixture(scope="session")
def onnx_file(checkpoint, cache):
    """Path of the checkpoint's ONNX file, without a PCA; skips where onnx is not installed."""
    pytest.importorskip("onnx")
    from src.engines.onnx_graph import cached_onnx

    path = checkpoint.with_suffix(".onnx")
    path.write_bytes(cached_onnx(RunConfig(), ModelConfig(checkpoint_path=str(checkpoint))))
    return path
