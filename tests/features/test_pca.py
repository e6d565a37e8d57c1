"""PCA: fit, projection, files."""

import os

import numpy as np
import pytest

from src.errors import UserError
from src.features.pca import (
    Pca,
    PcaFit,
    apply_pca,
    l2_normalise,
    load_pca,
    pca_as_text,
    pca_from_text,
    project,
    save_pca,
)
from src.records import Provenance
from tests.features.made_up import serialise_datum

DATA = np.array([[1.0, 2.0, -2.0], [-5.0, 0.0, 3.0], [-1.0, 2.0, 0.0], [0.0, 4.0, -1.0]])
MATRIX = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 1.0], [-1.0, 1.0, 3.0]])
EXAMPLE = Pca(np.array([1.0, 2.0, 3.0]), MATRIX, np.array([4.0, 0.25, 1.0]))
TURNED = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [-0.8, 0.0, 0.6]])
SAVED = Pca(np.array([1.0, 2.0, 3.0]), TURNED, np.array([4.0, 1.0, 0.25]))  # orthonormal, as what is read must be
UNKNOWN = Provenance()


def fit_pca(batches, dim, provenance=UNKNOWN):
    fit = PcaFit()
    for batch in batches:
        fit.add(batch)
    return fit.finish(dim, provenance)


def _descriptors(count=300, dimension=6, seed=0):
    spread = np.array([5.0, 3.0, 2.0, 1.0, 0.5, 0.2])[:dimension]
    return np.random.default_rng(seed).normal(size=(count, dimension)) * spread + 1.0


def test_projection_of_the_reference_formula():
    assert apply_pca(DATA, EXAMPLE, 2).tolist() == [[5, -5], [-12, -2], [-1, -3], [2, -2]]
    whitened = [[2.5, -10], [-6, -4], [-0.5, -6], [1, -4]]  # first column / sqrt(4), second / sqrt(0.25)
    assert apply_pca(DATA, EXAMPLE, 2, use_whitening=True).tolist() == whitened


def test_project_normalises_before_and_after():
    raw = np.array([[3.0, 0.0, 4.0]])
    centred = np.array([0.6 - 1, 0 - 2, 0.8 - 3])
    expected = MATRIX[:2] @ centred
    projected = project(raw, EXAMPLE, 2)
    np.testing.assert_allclose(projected[0], expected / np.linalg.norm(expected), rtol=1e-6)
    assert projected.dtype == np.float32
    np.testing.assert_allclose(project(raw * 100, EXAMPLE, 2), projected, rtol=1e-6)


def test_l2_of_zero_is_zero_and_empty_stays_empty():
    assert l2_normalise(np.zeros((1, 3))).tolist() == [[0, 0, 0]]
    assert project(np.zeros((0, 3), np.float32), EXAMPLE, 2).shape == (0, 2)


def test_fit_equals_singular_values_of_the_centred_unit_descriptors():
    data = _descriptors()
    unit = data / np.linalg.norm(data, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    pca = fit_pca([data], 4)
    np.testing.assert_allclose(pca.mean, unit.mean(axis=0), atol=1e-7)
    np.testing.assert_allclose(pca.variances, singular[:4] ** 2 / len(data), rtol=1e-5)
    np.testing.assert_allclose(np.abs(pca.components @ rows[:4].T), np.eye(4), atol=1e-5)
    largest = np.abs(pca.components).argmax(axis=1)
    assert (pca.components[np.arange(4), largest] > 0).all()


def test_fit_does_not_depend_on_the_batches():
    data = _descriptors()
    whole = fit_pca([data], 3)
    pieces = fit_pca(np.split(data, [1, 2, 100, 100, 250]), 3)
    np.testing.assert_allclose(pieces.components, whole.components, atol=1e-6)
    np.testing.assert_allclose(pieces.variances, whole.variances, rtol=1e-5)


def _unit(data):
    return data / np.linalg.norm(data, axis=1, keepdims=True)


def test_order_of_the_photos_does_not_matter():
    photos = np.split(_descriptors(400).astype(np.float32), [3, 40, 41, 200])
    forward, backward = fit_pca(photos, 4), fit_pca(photos[::-1], 4)
    for name in ("mean", "components", "variances"):
        np.testing.assert_allclose(getattr(backward, name), getattr(forward, name), atol=1e-6)


def test_large_common_part_needs_and_gets_double_precision():
    """Descriptors that nearly agree: their spread is far below float32's resolution of the sums of products."""
    generator = np.random.default_rng(5)
    data = 1000.0 + generator.normal(size=(4000, 6)) * np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.05])
    centred = _unit(data) - _unit(data).mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(data))
    pca = fit_pca(np.split(data, 40), 3)
    np.testing.assert_allclose(pca.variances, values[::-1][:3], rtol=1e-4)
    np.testing.assert_allclose(np.abs(pca.components @ vectors[:, ::-1][:, :3]), np.eye(3), atol=1e-4)
    rows = _unit(data).astype(np.float32)
    single = (rows.T @ rows) / np.float32(len(rows)) - np.outer(rows.mean(axis=0), rows.mean(axis=0))
    naive = np.linalg.eigvalsh(single.astype(float))[::-1][:3]
    assert np.abs(naive / values[::-1][:3] - 1).max() > 0.01  # what single precision would give


def test_whitened_training_descriptors_have_unit_variance():
    data = _descriptors(2000)
    pca = fit_pca([data], 3)
    whitened = apply_pca(l2_normalise(data), pca, 3, use_whitening=True)
    np.testing.assert_allclose(np.cov(whitened.T, bias=True), np.eye(3), atol=1e-3)


def test_fit_refuses_too_few_descriptors_or_dimensions():
    assert len(fit_pca([_descriptors(6)], 3).components) == 3
    with pytest.raises(
        UserError, match=r"5 descriptors are too few for a PCA of 3 dimensions .5 of them differ, 6 must.: extract more"
    ):
        fit_pca([_descriptors(5)], 3)
    with pytest.raises(UserError, match="0 descriptors .* photos, or keep fewer dimensions .`pca_dim`"):
        fit_pca([], 1)
    with pytest.raises(UserError, match="`pca_dim` is 7; these descriptors have 6"):
        fit_pca([_descriptors()], 7)


def test_fit_refuses_descriptors_that_do_not_differ_enough():
    data = _descriptors(120)
    with pytest.raises(UserError, match="120 descriptors are too few .*1 of them differ, 8 must"):
        fit_pca([data[:1].repeat(60, axis=0)] * 2, 4)
    with pytest.raises(UserError, match="120 descriptors are too few .*7 of them differ, 8 must"):
        fit_pca([np.tile(data[:7], (17, 1)), data[:1]], 4)
    flat = data[:, :3] @ np.random.default_rng(1).normal(
        size=(3, 6)
    )  # unit vectors of 3 dimensions, all of them needed
    assert len(fit_pca([flat], 3).components) == 3
    with pytest.raises(UserError, match="vary in 3 directions only, too few for 4 dimensions: .* .`pca_dim`"):
        fit_pca([flat], 4)


def test_fit_refuses_equal_descriptors_that_rounding_tells_apart():
    noise = 1e-7 * np.random.default_rng(2).normal(size=(120, 6))
    with pytest.raises(UserError, match="vary in 0 directions only, too few for 4 dimensions"):
        fit_pca([_descriptors(1) / np.linalg.norm(_descriptors(1)) + noise], 4)


def test_fit_refuses_descriptors_of_two_networks():
    with pytest.raises(UserError, match="descriptors of 5 numbers beside others of 6; fit a PCA on those of one"):
        fit_pca([_descriptors(20), _descriptors(20)[:, :5]], 4)


def test_projection_refuses_what_does_not_fit():
    with pytest.raises(UserError, match="descriptors of 3 numbers, these have 4"):
        project(np.ones((1, 4)), EXAMPLE, 2)
    with pytest.raises(UserError, match="keeps 3 dimensions"):
        project(np.ones((1, 3)), EXAMPLE, 4)


def test_file_round_trip(tmp_path):
    pca = fit_pca([_descriptors()], 2, Provenance("ab", notes={"num_photos": 3}))
    save_pca(tmp_path / "pca.npz", pca)
    loaded = load_pca(tmp_path / "pca.npz")
    assert loaded.identity == pca.identity and loaded.provenance == pca.provenance
    assert np.array_equal(loaded.components, pca.components)
    assert [path.name for path in tmp_path.iterdir()] == ["pca.npz"]
    assert fit_pca([_descriptors(seed=1)], 2).identity != pca.identity


def test_a_file_of_the_first_version_tells_its_checkpoint(tmp_path):
    arrays = {"mean": SAVED.mean, "components": TURNED, "variances": SAVED.variances}
    for text, weights in (('{"checkpoint_sha256": "ab", "photos": "x", "dim": 3}', "ab"), ('{"dim": 3}', "")):
        np.savez(tmp_path / "pca.npz", provenance=np.array(text), **arrays)
        assert load_pca(tmp_path / "pca.npz").provenance == Provenance(weights)
        assert load_pca(tmp_path / "pca.npz").identity == SAVED.identity
    np.savez(tmp_path / "pca.npz", **arrays)
    assert load_pca(tmp_path / "pca.npz").provenance == Provenance()


def test_text_round_trip():
    pca = fit_pca([_descriptors()], 2, Provenance("ab", {"name": "delf"}))
    loaded = pca_from_text(pca_as_text(pca))
    assert loaded.identity == pca.identity and loaded.provenance == pca.provenance
    for text in ("", "[]", "{}", pca_as_text(pca).replace('"mean": "', '"mean": "AAAA'), '{"mean": 3}'):
        with pytest.raises(ValueError):
            pca_from_text(text)


def test_model_zoo_folder(tmp_path):
    generator = np.random.default_rng(0)
    mean, variances = generator.normal(size=(1, 16)), np.sort(generator.random(16))[::-1]
    matrix = np.linalg.qr(generator.normal(size=(16, 5)))[0].T
    for name, array in (("mean", mean), ("pca_proj_mat", matrix), ("pca_variances", variances)):
        np.save(tmp_path / f"{name}.npy", array)
    loaded = load_pca(tmp_path)
    assert np.array_equal(loaded.mean, mean[0].astype(np.float32)) and loaded.components.shape == (5, 16)
    assert np.array_equal(loaded.variances, variances[:5].astype(np.float32)) and loaded.provenance == Provenance()
    raw = generator.normal(size=(7, 16)).astype(np.float32)
    expected = (_unit(raw) - mean) @ matrix[:3].T / np.sqrt(variances[:3])
    np.testing.assert_allclose(project(raw, loaded, 3, use_whitening=True), _unit(expected), atol=1e-5)
    (tmp_path / "mean.npy").unlink()
    with pytest.raises(UserError, match=r"mean\.npy: no such file"):
        load_pca(tmp_path)
    np.save(tmp_path / "mean.npy", mean)
    np.save(tmp_path / "pca_proj_mat.npy", matrix.T)
    with pytest.raises(UserError, match="not a PCA.*are not"):
        load_pca(tmp_path)


def test_reference_folder(tmp_path):
    for name, array in (("mean", SAVED.mean), ("pca_proj_mat", TURNED), ("pca_variances", SAVED.variances)):
        (tmp_path / f"{name}.datum").write_bytes(serialise_datum(array))
    assert load_pca(tmp_path).identity == SAVED.identity
    (tmp_path / "mean.datum").write_bytes(b"\x0a\x05ab")
    with pytest.raises(UserError, match="not a PCA .*no Datum message"):
        load_pca(tmp_path)


def test_what_is_no_pca(tmp_path):
    (tmp_path / "text.npz").write_text("no")
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "other.npz", x=1)
    np.savez(tmp_path / "shapes.npz", mean=np.zeros(3), components=np.zeros((2, 4)), variances=np.zeros(2))
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    os.mkfifo(tmp_path / "pipe.npz")
    files = {
        "text.npz": "not a .npz", "empty.npz": "not a .npz", "other.npz": "not a PCA", "shapes.npz": "not a PCA",
        "array.npy": "a single array", "objects.npy": "a single array", "missing.npz": "no such file", "pipe.npz": "is",
    }  # fmt: skip
    for name, said in files.items():
        with pytest.raises(UserError, match=f"{name}: {said}"):
            load_pca(tmp_path / name)


@pytest.mark.parametrize(
    "changes,said",
    [
        ({"components": MATRIX}, "not orthonormal"),
        ({"components": 2 * TURNED}, "not orthonormal"),
        ({"components": TURNED[[0, 0]], "variances": [2, 1]}, "not orthonormal"),
        ({"variances": [1, 4, 0.25]}, "variances do not fall"),
        ({"variances": [4, 1, -1]}, "variances are not above 0"),
        ({"variances": [0, 0, 0]}, "variances are not above 0"),
        ({"components": np.zeros((0, 3)), "variances": []}, "variances are not above 0"),
        ({"mean": [1, np.nan, 3]}, "mean holds a number that is not finite"),
        ({"mean": [1, 1e300, 3]}, "mean holds a number that is not finite"),
        ({"mean": ["a", "b", "c"]}, "mean holds no numbers"),
        ({"components": TURNED.astype(complex)}, "components holds no numbers"),
        ({"provenance": "[" * 5000}, "damaged|not a PCA"),
    ],
)
def test_numbers_that_are_no_pca(tmp_path, changes, said):
    """A file, and the text in an export, which holds float32 alone."""
    arrays = {"mean": SAVED.mean, "components": TURNED, "variances": SAVED.variances, **changes}
    np.savez(tmp_path / "pca.npz", **{name: np.asarray(array) for name, array in arrays.items()})
    with pytest.raises(UserError, match=f"pca.npz: .*({said})") as caught:
        load_pca(tmp_path / "pca.npz")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    if "orthonormal" in said:
        with pytest.raises(ValueError, match=said):
            pca_from_text(pca_as_text(Pca(arrays["mean"], arrays["components"], arrays["variances"])))


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    """Headers and holes that promise 8 TB, and zeros packed a thousand times."""
    for name in ("mean", "pca_proj_mat", "pca_variances"):
        with open(tmp_path / f"{name}.npy", "wb") as stream:
            np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with pytest.raises(UserError, match="not a PCA"):
        load_pca(tmp_path)
    for file in tmp_path.iterdir():
        os.truncate(file, 10**13)
    with pytest.raises(UserError, match="mean.npy is larger than any"):
        load_pca(tmp_path)
    np.savez_compressed(tmp_path / "bomb.npz", mean=np.zeros(2**24), components=TURNED, variances=SAVED.variances)
    with pytest.raises(UserError, match="bomb.npz: [0-9]+ bytes that unpack to"):
        load_pca(tmp_path / "bomb.npz")
