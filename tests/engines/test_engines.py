"""Every engine gives what the network as trained gives, for odd and even sides and for batches."""

import numpy as np
import pytest

from src.config import Config
from src.engines.choose import load_batched_network, load_network
from src.engines.identity import sealed
from src.engines.mindspore_engine import trained_network
from src.errors import UserError

SIZES = [(1, 97, 129), (1, 64, 96), (2, 65, 70), (2, 34, 37), (1, 5, 6)]
OTHERS = ["onnxruntime", "openvino"]


def images(batch, height, width):
    return np.random.default_rng(height * width).uniform(-1, 1, (batch, 3, height, width)).astype(np.float32)


def recipe(checkpoint, engine="mindspore", **keys):
    if engine != "mindspore":
        pytest.importorskip("onnx")
        pytest.importorskip(engine)
    config = Config(checkpoint_path=str(checkpoint), device_target="CPU", engine=engine, **keys)
    return config.run, config.model


@pytest.fixture(scope="module")
def trained(checkpoint):
    return trained_network(*recipe(checkpoint))


def largest_difference(found, expected):
    assert [value.shape for value in found] == [value.shape for value in expected]
    assert all(value.dtype == np.float32 for value in found)
    return max(np.abs(value - true).max() / np.abs(true).max() for value, true in zip(found, expected))


@pytest.mark.parametrize("engine", ["mindspore", *OTHERS])
def test_as_the_trained_network(checkpoint, trained, engine):
    network = load_batched_network(*recipe(checkpoint, engine))
    for size in SIZES:
        assert largest_difference(network(images(*size)), trained(images(*size))) < 1e-4


@pytest.mark.parametrize("engine", OTHERS)
def test_the_same_bits_on_one_thread_and_on_two(checkpoint, engine):
    one, two = (load_batched_network(*recipe(checkpoint, engine), threads=threads) for threads in (1, 2))
    for size in SIZES:
        for found, expected in zip(one(images(*size)), two(images(*size))):
            np.testing.assert_array_equal(found, expected)


def test_a_network_takes_one_image_and_gives_channels_last(checkpoint, trained):
    feature_map, attention = load_network(*recipe(checkpoint))(images(1, 97, 129))
    expected_map, expected_attention = trained(images(1, 97, 129))
    assert feature_map.shape == (3, 4, 1024) and attention.shape == (3, 4)
    np.testing.assert_allclose(feature_map[2, 1], expected_map[0, :, 2, 1], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(attention, expected_attention[0, 0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("engine", ["mindspore", *OTHERS])
def test_a_later_call_leaves_outputs_alone(checkpoint, engine):
    network = load_network(*recipe(checkpoint, engine))
    first = network(images(1, 64, 96))
    kept = [output.copy() for output in first]
    network(images(1, 65, 97))
    network(images(1, 64, 96) * 0)
    for output, copy in zip(first, kept):
        np.testing.assert_array_equal(output, copy)


def test_bfloat16_is_near_and_float32_is_not_bfloat16(checkpoint, trained):
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")
    network = load_batched_network(*recipe(checkpoint, "openvino", precision="bfloat16"))
    assert 1e-4 < largest_difference(network(images(1, 97, 129)), trained(images(1, 97, 129))) < 0.1


@pytest.mark.parametrize("engine", OTHERS)
def test_a_broken_file_is_named(onnx_file, engine, tmp_path):
    whole = onnx_file.read_bytes()
    zeroed, cut, empty = whole[:100_000] + bytes(9) + whole[100_009:], whole[:100_000], b""
    broken = tmp_path / "broken.onnx"
    for content in (zeroed, cut, empty, b"no network", whole + b"x"):
        broken.write_bytes(content)
        with pytest.raises(UserError, match="broken.onnx: not an exported network, or damaged"):
            load_batched_network(*recipe(broken, engine))
    broken.write_bytes(sealed(b"\x3a\x02\x0a\x00", {}))  # a graph of one empty node
    with pytest.raises(UserError, match="broken.onnx: damaged .*; export it again"):
        load_batched_network(*recipe(broken, engine))


def test_a_broken_mindir_file_is_named(tmp_path):
    broken = tmp_path / "broken.mindir"
    broken.write_bytes(b"no network")
    with pytest.raises(UserError, match="broken.mindir: not an exported network"):
        load_batched_network(*recipe(broken))


def test_another_architecture_in_every_engine(checkpoint_of):
    name, style = "resnet18", "torchvision"
    path = checkpoint_of(name, style)
    keys = {"architecture": name, "weights_style": style}
    expected = trained_network(*recipe(path, **keys))
    for engine in ("mindspore", *OTHERS):
        network = load_batched_network(*recipe(path, engine, **keys))
        for size in SIZES:
            assert largest_difference(network(images(*size)), expected(images(*size))) < 1e-4, (engine, size)
    with pytest.raises(UserError, match="the recipe's network is resnet50 in style keras; give `architecture`"):
        load_batched_network(*recipe(path, "openvino"))  # the cache holds the other one under the same weights
