"""Whitening fitted on a feature file, and the pairs that it is learned from."""

import dataclasses

import h5py
import numpy as np
import pytest

from src.commands.learn_whitening import main
from src.config import Config
from src.errors import UserError
from src.features.encoder import load_encoder
from src.features.extraction import photos_of_folder
from src.features.feature_file import write_group, write_provenance
from src.features.heads import unit
from src.features.kinds import GLOBAL
from src.features.learn_region_whitening import learn_region_whitening
from src.features.learn_whitening import learn_whitening, pairs_of_folders, read_pairs
from src.features.whitening import OF_REGIONS, load_whitening, save_whitening
from src.features.whitening_fit import fit_learned, fit_pca
from src.records import GlobalDescriptor
from tests.features.fake_network import sections
from tests.features.made_up import PROVENANCE, make_features, make_photos

NAMES = [f"{folder}/{number}.jpg" for folder in ("arch-2", "arch", "tower/side") for number in range(8)]
VECTORS = unit(np.random.default_rng(0).normal(size=(24, 4)) + np.repeat(np.eye(4)[:3], 8, axis=0))


@pytest.fixture
def features(tmp_path):
    return make_global_file(tmp_path / "f.h5", NAMES)


def make_global_file(path, names, **encoder):
    with h5py.File(path, "w") as file:
        made = dataclasses.replace(PROVENANCE, encoder={"name": "global", "pooling": "gem", **encoder})
        write_provenance(file, made)
        for name, vector in zip(names, VECTORS):
            write_group(file, name, None, global_descriptor=GlobalDescriptor(vector, (64, 48)))
    return path


def test_pairs_of_folders():
    names = ["a-b/1.jpg", "a/1.jpg", "a/x/2.jpg", "a/y/3.jpg", "alone/1.jpg", "b.jpg", "c.jpg"]
    pairs = [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)]  # a photo is the query once for each other
    assert sorted(map(tuple, pairs_of_folders(names).tolist())) == pairs
    many = pairs_of_folders([f"a/{number:03}.jpg" for number in range(50)])
    assert len(many) == len(set(map(tuple, many.tolist()))) == 50 * 20
    assert np.bincount(many[:, 0]).tolist() == np.bincount(many[:, 1]).tolist() == [20] * 50


def test_pairs_of_a_table(tmp_path):
    (tmp_path / "pairs.csv").write_text("a,b\narch/1.jpg,arch/2\ntower/side/0.jpg,arch-2/7.jpg\n")
    assert read_pairs(tmp_path / "pairs.csv", NAMES).tolist() == [[9, 10], [16, 7]]


@pytest.mark.parametrize(
    "row, message",
    [
        ("arch/1.jpg,arch/99.jpg", "line 3: no photo 'arch/99.jpg' among those of the features"),
        ("arch/1.jpg,arch/1.jpg", "line 3: 'arch/1.jpg' is paired with itself"),
    ],
)
def test_bad_pairs_are_told(tmp_path, row, message):
    (tmp_path / "pairs.csv").write_text(f"a,b\narch/1.jpg,arch/2.jpg\n{row}\n")
    with pytest.raises(UserError, match=message):
        read_pairs(tmp_path / "pairs.csv", NAMES)


def test_a_file_is_fitted_by_pca(features, tmp_path, caplog):
    arguments = ["--features", str(features), "--output", str(tmp_path / "w.npz"), "--dim", "2"]
    main([*arguments, "--whiten_power", "0.25"])
    whitening, expected = load_whitening(tmp_path / "w.npz"), fit_pca(VECTORS, 2, 0.25)
    assert whitening.identity == expected.identity
    assert whitening.provenance.weights == PROVENANCE.weights
    assert whitening.provenance.encoder == {"name": "global", "pooling": "gem"}
    assert whitening.provenance.notes == {"num_photos": 24, "num_pairs": 0}
    written = (tmp_path / "w.npz").stat().st_mtime_ns
    with caplog.at_level("INFO"):
        main([*arguments, "--shrinkage", "0.5"])  # the same power
    assert "already made" in caplog.text and (tmp_path / "w.npz").stat().st_mtime_ns == written
    with pytest.raises(UserError, match=r"made under other settings \(whiten_power\); give `overwrite`"):
        main([*arguments, "--whiten_power", "0.5"])
    main([*arguments, "--whiten_power", "0.5", "--overwrite"])
    assert load_whitening(tmp_path / "w.npz").power == 0.5


def test_a_file_of_both_kinds_fits_as_one_of_global_descriptors_alone(features, tmp_path):
    both = make_global_file(tmp_path / "both.h5", NAMES, name="delf and global", pca="cd", precision="float32")
    alone = make_global_file(tmp_path / "alone.h5", NAMES, precision="float32")
    learn_whitening(both, tmp_path / "both.npz")
    learn_whitening(alone, tmp_path / "alone.npz")
    one, other = (load_whitening(tmp_path / f"{name}.npz").provenance for name in ("both", "alone"))
    assert one.compatible_with(other)


def test_a_file_is_fitted_by_pairs(features, tmp_path):
    arguments = ["--features", str(features), "--output", str(tmp_path / "w.npz"), "--method", "learned"]
    main(arguments)
    expected = fit_learned(VECTORS, pairs_of_folders(NAMES))
    assert load_whitening(tmp_path / "w.npz").identity == expected.identity
    (tmp_path / "pairs.csv").write_text("a,b\n" + "".join(f"arch/{n}.jpg,arch/{n + 1}.jpg\n" for n in range(6)))
    with pytest.raises(UserError, match=r"made under other settings \(pairs\)"):
        main([*arguments, "--pairs", str(tmp_path / "pairs.csv")])
    main([*arguments, "--pairs", str(tmp_path / "pairs.csv"), "--dim", "3", "--ridge", "0.1", "--overwrite"])
    expected = fit_learned(VECTORS, np.stack([np.arange(8, 14), np.arange(9, 15)], axis=1), 3, 0.1)
    assert load_whitening(tmp_path / "w.npz").identity == expected.identity
    assert load_whitening(tmp_path / "w.npz").method == "learned"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--pairs", "p.csv"], "--pairs has no effect without --method learned"),
        (["--ridge", "0.1"], "--ridge has no effect without --method learned"),
        (["--method", "learned", "--whiten_power", "1"], "--whiten_power has no effect without --method pca"),
        (["--whiten_power", "1", "--shrinkage", "1"], "`shrinkage` is twice `whiten_power`"),
        (["--dim", "13"], "`dim` is 13; these descriptors have 4 numbers"),
        (["--method", "learned", "--pairs", "no.csv"], "no.csv: no such file"),
    ],
)
def test_what_has_no_effect_or_cannot_be_is_told(features, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        main(["--features", str(features), "--output", str(tmp_path / "w.npz"), *arguments])
    assert not (tmp_path / "w.npz").exists()


def test_features_that_do_not_serve_are_told(tmp_path):
    flat = make_global_file(tmp_path / "flat.h5", [f"{number}.jpg" for number in range(8)])
    with pytest.raises(UserError, match="no two photos lie in one folder; put the photos of each place"):
        learn_whitening(flat, tmp_path / "w.npz", "learned")
    white = make_global_file(tmp_path / "white.h5", NAMES, whitening="ab")
    with pytest.raises(UserError, match="whitened already; extract with `whitening_path` ''"):
        learn_whitening(white, tmp_path / "w.npz")
    with h5py.File(tmp_path / "local.h5", "w") as file:
        write_provenance(file, PROVENANCE)
        write_group(file, "a.jpg", make_features(0))
    with pytest.raises(UserError, match="a.jpg has no global descriptor in it"):
        learn_whitening(tmp_path / "local.h5", tmp_path / "w.npz")
    (tmp_path / "w.npz").write_bytes(b"else")
    with pytest.raises(UserError, match="w.npz: not a .npz file"):
        learn_whitening(flat, tmp_path / "w.npz")


# Regions of photos


def load_few_channels(run, model, device_id=0, threads=0, outputs=("feature_map",)):
    """As src.engines.load_network: a map of the colours and their squares, mixed."""

    def network(level):
        pixels = np.abs(level[0, :, ::16, ::16].transpose(1, 2, 0))
        mixed = pixels @ np.random.default_rng(0).random((3, CHANNELS)) + np.square(pixels) @ np.ones((3, CHANNELS))
        return (np.asarray(mixed, np.float32),)

    return network


CHANNELS = 256  # of block3 of resnet18


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "net.ckpt").write_bytes(b"weights")
    keys = {"architecture": "resnet18", "descriptor_layer": "block3", "pooling": "rmac", "rmac_levels": 2}
    return Config(checkpoint_path=str(tmp_path / "net.ckpt"), **keys)


def encoder_of(config):
    return load_encoder(*sections(config), load_network=load_few_channels, kind=GLOBAL, descriptor=config.descriptor)


def learn_regions(photos, output, config, **options):
    parts = (*sections(config), config.descriptor)
    learn_region_whitening(photos, output, *parts, load_network=load_few_channels, **options)


def test_regions_of_photos_are_whitened(recipe, tmp_path, caplog):
    photos = photos_of_folder(make_photos(tmp_path / "photos", [f"{n}.png" for n in range(4)], (160, 120)))
    learn_regions(photos, tmp_path / "w.npz", recipe, dim=3, power=0.25)
    plain = encoder_of(recipe)
    maps = [plain.infer(plain.prepare(plain.read(photo.path))).maps[0].feature_map for photo in photos]
    regions = np.concatenate([plain.pooling.region_vectors(feature_map) for feature_map in maps])
    whitening = load_whitening(tmp_path / "w.npz")
    assert len(regions) == 4 * 8 and whitening.identity == fit_pca(regions, 3, 0.25).identity
    assert whitening.provenance.notes == {"num_photos": 4, "num_regions": 32}
    white = encoder_of(recipe.replace(region_whitening_path=str(tmp_path / "w.npz")))
    expected = unit(whitening.apply(regions[:8]).sum(axis=0))
    np.testing.assert_allclose(white.encode(photos[0].path).global_descriptor.vector, expected, atol=1e-4)
    assert not white.provenance.compatible_with(plain.provenance)
    with caplog.at_level("INFO"):
        learn_regions(photos, tmp_path / "w.npz", recipe, dim=3, power=0.25)
    assert "already made" in caplog.text


@pytest.mark.parametrize(
    "keys, message",
    [
        (
            {"region_whitening_path": "photos"},
            "fitted on the vectors of whole photos; give another `region_whitening_path`",
        ),
        ({"whitening_path": "regions"}, "fitted on the vectors of regions; give another `whitening_path`"),
        (
            {"region_whitening_path": "regions", "pooling": "gem"},
            "`region_whitening_path` has no effect on the pooling gem",
        ),
    ],
)
def test_whitenings_of_photos_and_of_regions_are_not_mixed_up(recipe, tmp_path, keys, message):
    source = dataclasses.replace(encoder_of(recipe).provenance, notes={})
    vectors = np.random.default_rng(0).random((9, CHANNELS))
    for name, settings in (("photos", {}), ("regions", OF_REGIONS)):
        made = dataclasses.replace(source, settings={**source.settings, **settings})
        save_whitening(tmp_path / name, fit_pca(vectors, 2, provenance=made))
    given = {name: str(tmp_path / value) if name.endswith("path") else value for name, value in keys.items()}
    with pytest.raises(UserError, match=message):
        encoder_of(recipe.replace(**given))


def test_a_pooling_without_regions_has_none_to_learn_from(recipe, tmp_path):
    with pytest.raises(UserError, match="the pooling gem has no regions; give `pooling` as one of rmac, rmac_whole"):
        learn_regions([], tmp_path / "w.npz", recipe.replace(pooling="gem"))
    with pytest.raises(UserError, match="give one of --features, a feature file, and --images_path"):
        main(["--output", str(tmp_path / "w.npz")])
    with pytest.raises(UserError, match="--pooling has no effect together with --features"):
        main(["--features", "f.h5", "--pooling", "rmac"])
    with pytest.raises(UserError, match="--method learned takes whole photos"):
        main(["--images_path", str(tmp_path), "--method", "learned"])
