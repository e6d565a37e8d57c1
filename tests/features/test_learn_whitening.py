"""Whitening fitted on a feature file, and the pairs that it is learned from."""

import dataclasses

import h5py
import numpy as np
import pytest

from src.commands.learn_whitening import main
from src.errors import UserError
from src.features.feature_file import write_group, write_provenance
from src.features.heads import unit
from src.features.learn_whitening import learn_whitening, pairs_of_folders, read_pairs
from src.features.whitening import load_whitening
from src.features.whitening_fit import fit_learned, fit_pca
from src.records import GlobalDescriptor
from tests.features.made_up import PROVENANCE, make_features

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
