"""Global descriptors of a small real network: every engine gives the same one, from checkpoint and export."""

import mindspore as ms
import numpy as np
import pytest

from src.commands.export_model import main as export_command
from src.config import Config
from src.device import set_up_device
from src.engines import export
from src.engines.network import OUTPUTS
from src.features.encoder import load_encoder
from src.model.maps import MapsNet
from src.model.weights import save_weights

pytest.importorskip("onnx")
PIXELS = np.random.default_rng(3).integers(0, 256, (70, 90, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def one_size(monkeypatch):
    monkeypatch.setattr(export, "SIZES", ((65, 70),))
    monkeypatch.setattr(export, "BATCHES", (1,))


@pytest.fixture(scope="module")
def checkpoint_of(tmp_path_factory):
    """A function that gives the path of a resnet18 of a style with conv5, and the keys of its recipe."""
    folder = tmp_path_factory.mktemp("global")

    def of(style):
        path, keys = folder / f"{style}.ckpt", {"architecture": "resnet18", "weights_style": style}
        if not path.exists():
            set_up_device("CPU", 0)
            generator = np.random.default_rng(11)
            network = MapsNet(Config(**keys).model, OUTPUTS)
            for name, parameter in network.parameters_and_names():
                if parameter.ndim == 1:
                    value = generator.normal(0, 0.2, parameter.shape)
                    if name.endswith(("gamma", "moving_variance")):
                        value = generator.uniform(0.5, 1.5, parameter.shape)
                    parameter.set_data(ms.Tensor(value.astype(np.float32)))
            save_weights(network, path)
        return path, keys

    return of


def _encoder(path, kind="global", **keys):
    config = Config(checkpoint_path=str(path), device_target="CPU", global_scales=(1, 0.7071), **keys)
    return load_encoder(config.run, config.model, config.extraction, kind=kind, descriptor=config.descriptor)


def _export(path, keys, output, kind, pooling):
    named = [item for name, value in keys.items() for item in (f"--{name}", value)]
    export_command(["--checkpoint_path", str(path), *named, "--format", output.suffix[1:].upper(),
                    "--output", str(output), "--features", kind, "--pooling", pooling])  # fmt: skip
    return output


def test_every_engine_gives_one_descriptor_from_checkpoint_and_export(checkpoint_of, tmp_path):
    """Style keras; the export itself is checked against the network as trained, block4 too."""
    path, keys = checkpoint_of("keras")
    expected = _encoder(path, engine="mindspore", pooling="rmac", **keys)
    vector = expected.encode(PIXELS).global_descriptor.vector
    assert vector.shape == (512,) and expected.provenance.encoder["descriptor_layer"] == "block4"
    output = _export(path, keys, tmp_path / "net.onnx", "both", "rmac")
    for engine in ("onnxruntime", "openvino"):
        encoder = _encoder(output, engine=engine, **keys)  # the export says how its maps are pooled
        np.testing.assert_allclose(encoder.encode(PIXELS).global_descriptor.vector, vector, atol=1e-5)
        assert encoder.provenance.compatible_with(expected.provenance)
    found = _encoder(output, "both", engine="openvino", max_feature_num=5, **keys).encode(PIXELS)
    np.testing.assert_allclose(found.global_descriptor.vector, vector, atol=1e-5)
    assert found.local.descriptors.shape == (5, 256)
