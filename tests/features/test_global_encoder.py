"""Global descriptors with a made-up network: their numbers, alone and beside local features, and what is refused."""

import functools

import h5py
import numpy as np
import pytest

from src.config import Config
from src.errors import UserError
from src.features.encoder import UnusablePhoto, load_encoder, make_encoder
from src.features.extraction import extract_to_file, photos_of_folder
from src.features.feature_file import FeatureFile
from src.features.kinds import GLOBAL, LOCAL, part_of
from src.features.whitening import Whitening, save_whitening
from src.images import LoadedPhoto
from src.records import Photo, Provenance
from tests.features.fake_network import fake_network, sections
from tests.features.made_up import make_photos

SCALES = {"image_scales": (0.5, 0.7071, 1.0), "max_feature_num": 30}
CHANNELS = {"feature_map": 1024, "block4": 2048}


def load_fake_maps(run, model, device_id=0, threads=0, outputs=("feature_map", "attention"), seen=None):
    """As src.engines.load_network; ``seen`` receives the size of each level."""

    def network(level):
        if seen is not None:
            seen.append(level.shape[3:1:-1])
        maps = {name: np.maximum(fake_network(level, count)[0], 0) for name, count in CHANNELS.items()}
        maps["attention"] = fake_network(level)[1]
        return tuple(maps[name] for name in outputs)

    return network


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "net.ckpt").write_bytes(b"weights")
    return str(tmp_path / "net.ckpt")


def recipe(checkpoint, **keys):
    return Config(**{"checkpoint_path": checkpoint, "descriptor_layer": "block3", **SCALES, **keys})


def encoder_of(config, kind=GLOBAL, load=load_fake_maps):
    return load_encoder(*sections(config), load_network=load, kind=kind, descriptor=config.descriptor)


def photo(width=201, height=150, seed=0):
    rows = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return np.kron(rows, np.ones((10, 10, 1), np.uint8))


def slow_gem(feature_map, p=3.0):
    found = []
    for channel in range(feature_map.shape[2]):
        values = [max(float(value), 1e-6) ** p for value in feature_map[:, :, channel].ravel()]
        found.append((sum(values) / len(values)) ** (1 / p))
    return np.array(found) / np.linalg.norm(found)


def test_gem_of_two_scales_against_loops(checkpoint):
    encoder = encoder_of(recipe(checkpoint, global_scales=(1.0, 0.5)))
    image = photo()
    levels = encoder.prepare(LoadedPhoto(image, image.shape[1::-1])).levels
    assert [scale for scale, _ in levels] == [1.0, 0.5] and levels[1][1].shape == (1, 3, 75, 100)
    vectors = [slow_gem(np.maximum(fake_network(level, 1024)[0], 0)) for _, level in levels]
    expected = sum(vectors) / np.linalg.norm(sum(vectors))
    found = encoder.encode(image)
    np.testing.assert_allclose(found.global_descriptor.vector, expected, rtol=2e-4, atol=1e-6)
    assert found.local is None and found.global_descriptor.image_size == (200, 150)
    assert encoder_of(recipe(checkpoint, pooling="mac")).encode(image).global_descriptor.vector.shape == (1024,)


@pytest.mark.parametrize("box", [None, (20, 10, 190, 120)])
@pytest.mark.parametrize("keys", [{}, {"max_image_size": 120}, {"max_image_size": 120, "query_resize": "photo"}])
def test_both_is_local_and_global_apart(checkpoint, box, keys):
    config = recipe(checkpoint, global_scales=(1.0, 0.7071, 0.3), **keys)
    image, seen = photo(), []
    both = encoder_of(config, "both", functools.partial(load_fake_maps, seen=seen)).encode(image, box)
    local, alone = encoder_of(config, LOCAL).encode(image, box).local, encoder_of(config).encode(image, box)
    for name in ("keypoints", "scales", "scores", "descriptors", "image_size", "resize_factor"):
        assert np.array_equal(getattr(both.local, name), getattr(local, name)), name
    assert np.array_equal(both.global_descriptor.vector, alone.global_descriptor.vector)
    is_shared = box is None or "query_resize" in keys or not keys
    assert len(seen) == (4 if is_shared else 6)  # one pass: scales 1 and 0.7071 are DELF's too


def test_a_query_is_resized_as_a_photo_of_its_own_or_as_its_photo(checkpoint):
    image, box = photo(800, 400), (0, 0, 200, 100)
    for way, size in (("crop", (100, 50)), ("photo", (25, 12))):
        seen = []
        config = recipe(checkpoint, max_image_size=100, query_resize=way)
        encoder_of(config, load=functools.partial(load_fake_maps, seen=seen)).encode(image, box)
        assert seen == [size]


def test_block4_is_a_further_output(checkpoint, tmp_path):
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["conv1/kernel:0"] = np.ones((7, 7, 3, 64), np.float32)
        file["res5a_branch2a/res5a_branch2a_W:0"] = np.ones((1, 1, 2, 2), np.float32)
    for kind, outputs in ((GLOBAL, ("block4",)), ("both", ("feature_map", "attention", "block4"))):
        encoder = encoder_of(recipe(str(tmp_path / "net.h5"), descriptor_layer="auto"), kind)
        assert encoder.settings.outputs(kind == "both") == outputs
        assert len(encoder.encode(photo()).global_descriptor.vector) == 2048
        assert encoder.provenance.encoder["descriptor_layer"] == "block4"


def test_weights_without_conv5_give_block3_or_a_sentence(tmp_path):
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["conv1/kernel:0"] = np.ones((7, 7, 3, 64), np.float32)
    path = str(tmp_path / "net.h5")
    assert encoder_of(recipe(path, descriptor_layer="auto")).settings.descriptor.descriptor_layer == "block3"
    with pytest.raises(UserError, match="net.h5: lacks conv5, and so block4; give `descriptor_layer` block3"):
        encoder_of(recipe(path, descriptor_layer="block4"))
    for keys, message in (({"head": "fc"}, "no head fc"), ({"pooling": "regional_attention"}, "no attention of regio")):
        with pytest.raises(UserError, match=message):
            encoder_of(recipe(path, **keys))


def test_the_provenance_of_both_holds_that_of_each(checkpoint):
    config = recipe(checkpoint, global_scales=(1.0, 0.5))
    both, local, alone = (
        make_encoder(*sections(config), load_fake_maps, kind, config.descriptor).provenance
        for kind in ("both", LOCAL, GLOBAL)
    )
    assert part_of(both, LOCAL) == local and part_of(both, GLOBAL) == alone
    assert part_of(local, LOCAL) == local and not local.compatible_with(both)
    assert alone.encoder["gem_p"] == 3.0 and alone.settings["scale_pooling"] == "mean"
    other = recipe(checkpoint, global_scales=(1.0, 0.5), gem_p=4)
    other = make_encoder(*sections(other), load_fake_maps, "both", other.descriptor).provenance
    assert part_of(other, LOCAL).compatible_with(local) and not part_of(other, GLOBAL).compatible_with(alone)
    mac = recipe(checkpoint, pooling="mac", gem_p=4)  # means nothing there
    assert "gem_p" not in make_encoder(*sections(mac), load_fake_maps, GLOBAL, mac.descriptor).provenance.encoder


def test_whitening_is_applied_and_recorded(checkpoint, tmp_path):
    plain = encoder_of(recipe(checkpoint))
    rows = np.linalg.qr(np.random.default_rng(1).normal(size=(1024, 6)))[0].T
    whitening = Whitening(np.full(1024, 0.01), rows, np.arange(6, 0, -1), 0.5, provenance=plain.provenance)
    save_whitening(tmp_path / "w.npz", whitening)
    encoder = encoder_of(recipe(checkpoint, whitening_path=str(tmp_path / "w.npz"), whiten_dim=4))
    expected = rows[:4] @ (plain.encode(photo()).global_descriptor.vector - 0.01) / np.sqrt([6, 5, 4, 3])
    found = encoder.encode(photo()).global_descriptor.vector
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-3, atol=1e-5)
    assert encoder.provenance.encoder["whitening"] == whitening.cut(4).identity
    assert not encoder.provenance.compatible_with(plain.provenance)
    foreign = Whitening(np.zeros(1024), rows, np.ones(6), provenance=Provenance("ab" * 32, {"name": "global"}))
    save_whitening(tmp_path / "f.npz", foreign)
    with pytest.raises(UserError, match="f.npz: fitted on weights abababababab"):
        encoder_of(recipe(checkpoint, whitening_path=str(tmp_path / "f.npz")))


def test_photos_without_a_descriptor_are_left_out_and_others_go_on(checkpoint, tmp_path):
    def load_blind(*arguments, **keywords):
        network = load_fake_maps(*arguments, **keywords)
        return lambda level: tuple(found * (level.max() > 0.99) for found in network(level))

    with pytest.raises(UnusablePhoto, match="too small for a global descriptor"):
        encoder_of(recipe(checkpoint)).encode(np.zeros((9, 40, 3), np.uint8))
    config = recipe(checkpoint, pooling="spoc")
    with pytest.raises(UserError, match="not finite"):
        encoder_of(config, load=lambda *_, **__: lambda level: (np.full((2, 2, 1024), np.nan, np.float32),)).encode(
            photo()
        )
    make_photos(tmp_path / "photos", ["a.png", "c.png"])
    make_photos(tmp_path / "photos", ["b.png"], (9, 9))
    photos = photos_of_folder(tmp_path / "photos")
    options = {"load_network": load_blind, "kind": GLOBAL, "descriptor": config.descriptor}
    extract_to_file(photos, tmp_path / "g.h5", *sections(config), **options)
    with FeatureFile(tmp_path / "g.h5") as made:
        assert made.names == ["a.png", "c.png"]
    dark = tmp_path / "photos" / "dark.png"
    dark.write_bytes((tmp_path / "photos" / "a.png").read_bytes())
    from PIL import Image

    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(dark)
    extract_to_file(photos_of_folder(tmp_path / "photos"), tmp_path / "g.h5", *sections(config), **options)
    lines = (tmp_path / "g.h5.failed.txt").read_text()
    assert "zero in all numbers" in lines and "too small" in lines


def test_a_file_of_both_is_written_kept_and_brought_up_to_date(checkpoint, tmp_path):
    folder, config, seen = make_photos(tmp_path / "photos", ["a.png", "b.png"]), recipe(checkpoint), []
    load = functools.partial(load_fake_maps, seen=seen)

    def run(kind="both", **keys):
        own = config.replace(**keys)
        extract_to_file(
            photos_of_folder(folder), tmp_path / "f.h5", *sections(own),
            load_network=load, kind=kind, descriptor=own.descriptor,
        )  # fmt: skip
        return len(seen)

    first = run()
    assert first == 6 and run() == 6  # two photos at DELF's three scales; then nothing
    make_photos(folder, ["a.png", "b.png", "c.png"])
    assert run() == 9
    with FeatureFile(tmp_path / "f.h5") as made:
        expected = encoder_of(config).encode(folder / "c.png").global_descriptor.vector
        np.testing.assert_array_equal(made.read_global("c.png").vector, expected)
        assert len(made.read("c.png")) and made.provenance.encoder["name"] == "delf and global"
    for changes, what in (({"gem_p": 5}, "gem_p"), ({"kind": GLOBAL}, "image_scales"), ({"kind": LOCAL}, "pooling")):
        with pytest.raises(UserError, match=f"made under other settings .*{what}"):
            run(**changes)


def test_queries_in_a_file_have_their_boxes(checkpoint, tmp_path):
    make_photos(tmp_path, ["a.png"], (80, 60))
    config = recipe(checkpoint, max_image_size=40)
    query = Photo("q", str(tmp_path / "a.png"), (10, 10, 50, 40))
    extract_to_file(
        [query], tmp_path / "q.h5", *sections(config), load_network=load_fake_maps, kind=GLOBAL,
        descriptor=config.descriptor,
    )  # fmt: skip
    with FeatureFile(tmp_path / "q.h5") as made:
        found = made.read_global("q")
        assert found.image_size == (80, 60) and made.provenance.settings["query_resize"] == "crop"
    np.testing.assert_array_equal(
        found.vector, encoder_of(config).encode(query.path, query.box).global_descriptor.vector
    )
