"""HOW's local features on made-up maps: a slow twin, numbers and positions by hand, and whose weights are HOW's."""

import numpy as np
import pytest

from src.config import Config
from src.errors import UserError
from src.features.encoder import make_encoder
from src.features.heads import Linear
from src.features.how_encoder import HowEncoder, strongest_cells
from src.features.local_layer import is_how, local_layer
from src.features.pca import Pca
from src.images import LoadedPhoto
from src.model.architectures import architecture_of
from src.records import Provenance
from tests.features.fake_network import CHANNELS, fake_network
from tests.features.fake_network import sections as sections_of
from tests.model.torch_files import write_state

SCALES = (0.5, 1.0)
PHOTO = np.random.default_rng(0).integers(0, 256, (150, 201, 3), dtype=np.uint8)


def layer_of(dimension=4, channels=CHANNELS):
    generator = np.random.default_rng(1)
    return Linear(generator.normal(size=(dimension, channels)), generator.normal(size=dimension))


def encoder_of(network=fake_network, layer=None, pca=None, **keys):
    config = Config(**{"image_scales": SCALES, "max_feature_num": 1000, **keys})
    return HowEncoder(config.extraction, architecture_of(config.model), pca, network=network, layer=layer or layer_of())


def slow_features(maps, weight, bias):
    """(weight of the cell, descriptor, pixel (x, y), 1 / scale) of every cell; stride 32."""
    norms = [np.sqrt((each.astype(np.float64) ** 2).sum(-1) + 1e-10) for each in maps]
    largest = max(each.max() for each in norms)
    for scale, feature_map, norm in zip(SCALES, maps, norms):
        for row, column in np.ndindex(norm.shape):
            around = feature_map[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            smooth = around.reshape(-1, feature_map.shape[2]).astype(np.float64).mean(0)
            descriptor = (weight @ smooth + bias) / len(bias) ** 0.5
            yield norm[row, column] / largest, descriptor, (32 * column / scale, 32 * row / scale), 1 / scale


@pytest.mark.parametrize("most", [1000, 7])
def test_the_slow_twin(most):
    encoder = encoder_of(max_feature_num=most)
    levels = encoder.prepare(LoadedPhoto(PHOTO, (201, 150))).levels
    expected = list(slow_features([fake_network(level)[0] for _, level in levels], *vars(encoder.layer).values()))
    expected = sorted(expected, key=lambda each: -each[0])[:most]
    found = encoder.encode(PHOTO).local
    assert len(found) == len(expected) == min(most, 3 * 4 + 5 * 7) and found.scores[0] == 1
    for name, values in zip(("scores", "descriptors", "keypoints", "scales"), zip(*expected)):
        np.testing.assert_allclose(getattr(found, name), values, rtol=1e-5, atol=1e-5, err_msg=name)
    assert np.ptp(np.linalg.norm(found.descriptors, axis=1)) > 0.1


def test_numbers_and_positions_by_hand():
    """Cells (3, 4), (0, 1) at scale 1 and (6, 8) at scale 0.5 of a cut-out that is shrunk to a half."""
    maps = {64: [[[3, 4], [0, 1]]], 32: [[[6, 8]]]}
    double = Linear([[2, 0], [0, 2]], [0, 1])
    encoder = encoder_of(lambda level: (np.float32(maps[level.shape[3]]),), double, max_image_size=64)
    photo = np.zeros((100, 128, 3), np.uint8)
    found = encoder.encode(photo, (0, 20, 128, 84)).local
    np.testing.assert_allclose(found.scores, [1, 0.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(found.keypoints, [[0, 20], [0, 20], [64, 20]])
    np.testing.assert_allclose(found.scales, [2, 1, 1])
    np.testing.assert_allclose(found.descriptors * 2**0.5, [[12, 17], [3, 6], [3, 6]], rtol=1e-6)


def test_a_pca_makes_unit_descriptors_and_no_level_gives_none():
    pca = Pca(np.zeros(4), np.eye(4)[:2], [2, 1], Provenance())
    found = encoder_of(pca=pca, pca_dim=2).encode(PHOTO).local
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, rtol=1e-5)
    assert encoder_of().encode(PHOTO[:9]).local.descriptors.shape == (0, 4)


def test_a_damaged_network_is_reported():
    def broken(level):
        feature_map, _ = fake_network(level)
        feature_map[0, 0] = np.inf
        return (feature_map,)

    with pytest.raises(UserError, match="not finite"):
        encoder_of(broken).encode(PHOTO)


def test_strongest_cells():
    cells = np.float32([[[3, 4], [0, 1]], [[6, 8], [1, 0]]])
    mean = cells.reshape(4, 2).mean(0)
    np.testing.assert_allclose(strongest_cells(cells, 2), [mean, mean])
    wide = np.float32([[[1], [3], [5], [0]]])
    np.testing.assert_allclose(strongest_cells(wide, 3), [[8 / 3], [3], [2]], rtol=1e-6)
    assert len(strongest_cells(wide, 9)) == 4


@pytest.mark.parametrize(
    "name, shape, how", [("dim_reduction", (4, 1024, 1, 1), True), ("whiten", (4, 1024, 1, 1), True),
                         ("whiten", (4, 1024), False)],
)  # fmt: skip
def test_weights_of_hows_program_are_known_by_their_layer(name, shape, how, tmp_path):
    generator = np.random.default_rng(2)
    tensors = {
        "features.0.weight": generator.normal(size=(8, 3, 7, 7)),
        f"{name}.weight": generator.normal(size=shape),
        f"{name}.bias": np.arange(4.0),
    }
    path = str(write_state(tmp_path / "net.pth", {key: np.float32(value) for key, value in tensors.items()}))
    assert is_how(path) == how
    if not how:
        assert local_layer(path) is None
        return
    np.testing.assert_allclose(local_layer(path).weight, np.float32(tensors[f"{name}.weight"][:, :, 0, 0]))

    def load(run, model, device_id=0, threads=0, outputs=()):
        assert outputs == ("feature_map",)
        return lambda level: fake_network(level, 1024)[:1]

    pytest.importorskip("onnxruntime")
    sections = sections_of(Config(checkpoint_path=path, engine="onnxruntime", image_scales=(1.0,)))
    encoder = make_encoder(*sections, load)
    assert encoder.provenance.encoder["name"] == "how" and encoder.provenance.settings["max_feature_num"] == 1000
    assert encoder.load().encode(PHOTO).local.descriptors.shape == (35, 4)
    with pytest.raises(UserError, match="net.pth: HOW's weights, whose local features come alone: give `features` lo"):
        make_encoder(*sections, load, "both")
    with pytest.raises(
        UserError, match="net.pth: HOW's layer takes 1024 numbers, block3 of resnet18 has 256; give the"
    ):
        make_encoder(*sections_of(Config(checkpoint_path=path, engine="onnxruntime", architecture="resnet18")), load)
