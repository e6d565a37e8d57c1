"""What is left open of a global descriptor: decided by other libraries' weights, or by an export that carries it."""

import numpy as np
import pytest

from src.config import GlobalConfig, ModelConfig
from src.errors import UserError
from src.features import global_settings
from src.features.global_settings import EXPORT_TEXT, decide
from src.model.foreign_head import ForeignHead
from tests.features.test_global_encoder import checkpoint, encoder_of, photo, recipe  # noqa: F401

LAYER = (np.random.default_rng(0).normal(size=(6, 1024)), np.arange(6) / 10)


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """A function that says what the file of the weights holds beside them; it returns the section ``model``."""
    (tmp_path / "net.ckpt").write_bytes(b"weights")

    def hold(**values):
        monkeypatch.setattr(global_settings, "read_head", lambda path: ForeignHead(**values))
        return ModelConfig(checkpoint_path=str(tmp_path / "net.ckpt"))

    return hold


def block3(**keys):
    return GlobalConfig(descriptor_layer="block3", **keys)


def test_nothing_said_is_gem_of_three(weights):
    found = decide(block3(), weights())
    assert (found.descriptor.pooling, found.gem_p, found.descriptor.rmac_levels) == ("gem", 3.0, 3)
    assert found.head is None and found.descriptor.head == "none"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("gem", "gem"), ("gemmp", "gem"), ("max", "mac"), ("avg", "spoc"), ("rmac", "rmac_whole"), ("other", "gem")],
)
def test_poolings_of_other_libraries(weights, theirs, ours):
    model = weights(pooling=theirs, gem_p=np.array([2.5]))
    assert decide(block3(), model).descriptor.pooling == ours and decide(block3(), model).gem_p == 2.5
    assert decide(block3(pooling="spoc", gem_p=4), model).descriptor.pooling == "spoc"  # the recipe wins
    assert decide(block3(pooling="spoc", gem_p=4), model).gem_p == 4


def test_a_head_follows_the_pooling_of_each_scale(weights, checkpoint):  # noqa: F811
    weights()
    plain = encoder_of(recipe(checkpoint)).encode(photo()).global_descriptor.vector
    weights(pooling="gem", whiten=LAYER)
    expected = LAYER[0] @ plain + LAYER[1]
    encoder = encoder_of(recipe(checkpoint))
    found = encoder.encode(photo()).global_descriptor.vector
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-4, atol=1e-5)
    without = encoder_of(recipe(checkpoint, head="none"))
    np.testing.assert_array_equal(without.encode(photo()).global_descriptor.vector, plain)
    assert not encoder.provenance.compatible_with(without.provenance)
    with pytest.raises(UserError, match="holds no head fc after the pooling; give `head` none"):
        encoder_of(recipe(checkpoint, head="fc"))


def test_an_export_carries_all_of_it(weights, monkeypatch):
    powers = np.linspace(2, 4, 1024).astype(np.float32)
    made = decide(block3(), weights(pooling="gemmp", gem_p=powers, fc=LAYER))
    model = weights()
    texts = {EXPORT_TEXT: made.as_text(), "outputs": "feature_map [batch, 1024, rows, columns]; float32"}
    monkeypatch.setattr(global_settings, "export_texts", lambda path: texts)
    found = decide(GlobalConfig(), model)
    np.testing.assert_array_equal(found.gem_p, powers)
    assert found.head.linear.identity == made.head.linear.identity and not found.head.normalise_first
    assert found.descriptor == made.descriptor and found.outputs(False) == ("feature_map",)
    texts[EXPORT_TEXT] = made.as_text().replace('"gem"', '"gum"')
    with pytest.raises(UserError, match="net.ckpt: damaged .pooling is 'gum'"):
        decide(GlobalConfig(), model)


def test_regions_have_the_layer_that_the_weights_bring(weights):
    model = weights(pooling="gem", regional_whiten=(np.eye(4), np.zeros(4)))
    assert decide(block3(), model).descriptor.pooling == "regional"
    assert decide(block3(), model).region_layer.weight.shape == (4, 4)
    assert decide(block3(pooling="gem"), model).region_layer is None
