"""Whitening: the numbers of the addendum (C1, C2), slow twins, files of this and of other projects, damage."""

import json
import logging
import math

import numpy as np
import pytest

from src.errors import UserError
from src.features.heads import unit
from src.features.pooling import make_pooling
from src.features.whitening import Whitening, fitting_whitening, load_whitening, save_whitening
from src.features.whitening_fit import fit_learned, fit_pca, fit_pca_of_blocks, power_of
from src.records import Provenance

CROSS = np.array([(2, 0), (0, 1), (-2, 0), (0, -1)], np.float32)
SIX = np.array([(0, 0), (0.2, 0.1), (1, 0.3), (1.2, 0.2), (0.1, 1), (0.3, 1.3)])
PAIRS = np.array([(0, 1), (2, 3), (4, 5)])
SOURCE = Provenance("ab" * 32, {"name": "global", "pooling": "gem"})
EXAMPLE = Whitening([1.0, 2.0, 3.0], [[2.0, 0, -1], [0, 1, 1]], [4.0, 0.25], 0.25, "pca", SOURCE)


def vectors(count=60, dimension=5, seed=0):
    generator = np.random.default_rng(seed)
    spread = generator.normal(size=(dimension, dimension))
    return unit(generator.normal(size=(count, dimension)) @ spread + generator.normal(size=dimension))


def gram(rows):
    """Free of the rows' signs."""
    return rows.T @ rows


def slow_mean_outer(rows):
    """Mean of x x^T over lists of numbers."""
    size = len(rows[0])
    return np.array([[math.fsum(r[i] * r[j] for r in rows) / len(rows) for j in range(size)] for i in range(size)])


# Numbers of the addendum


@pytest.mark.parametrize(
    "power, projected, normalised",
    [
        (0, (1, 1), (0.5**0.5, 0.5**0.5)),
        (0.25, (0.782542, 1.106682), (0.577350, 0.816497)),
        (0.5, (0.612372, 1.224745), (0.447214, 0.894427)),
        (1, (0.375, 1.5), (0.242536, 0.970143)),
    ],
)
def test_powers_of_a_pca(power, projected, normalised):
    whitening = fit_pca(CROSS, 2, power)
    np.testing.assert_allclose(whitening.variances, [2.666667, 0.666667], rtol=1e-6)
    np.testing.assert_allclose(whitening.project(np.ones(2)), projected, rtol=1e-5)
    np.testing.assert_allclose(whitening.apply(np.ones((1, 2))), [normalised], rtol=1e-5)
    shrunk = fit_pca(CROSS, 2, shrinkage=2 * power)
    np.testing.assert_array_equal(shrunk.projection, whitening.projection)


def test_learned_whitening():
    learned = fit_learned(SIX, PAIRS)
    np.testing.assert_allclose(learned.mean, [0.366667, 0.433333], rtol=2e-6)
    np.testing.assert_allclose(gram(learned.projection), [[34.375, -18.75], [-18.75, 37.5]], rtol=1e-5)
    np.testing.assert_allclose(np.abs(learned.projection[0]), [4.968318, 5.482821], rtol=1e-5)
    assert fit_learned(SIX, PAIRS, 1).projection.tolist() == learned.projection[:1].tolist()


# Twins


@pytest.mark.parametrize("count", [60, 12])  # more, and fewer, than C = 15
@pytest.mark.parametrize("power", [0, 0.25, 0.5, 1])
def test_pca_equals_its_twin(count, power):
    data = vectors(count, 15).astype(np.float64)
    mean = np.array([math.fsum(column) / count for column in data.T])
    values, rows = np.linalg.eigh(slow_mean_outer((data - mean).tolist()) * count / (count - 1))
    values, rows = values[::-1][:6], rows[:, ::-1].T[:6]
    whitening = fit_pca(data, 6, power)
    np.testing.assert_allclose(whitening.mean, mean, atol=1e-7)
    np.testing.assert_allclose(whitening.variances, values, rtol=1e-5)
    expected = np.array([[float(np.dot(r, x - mean)) / v**power for r, v in zip(rows, values)] for x in data])
    expected = np.array([row / math.sqrt(math.fsum(row * row)) for row in expected])
    np.testing.assert_allclose(whitening.apply(data) @ whitening.apply(data).T, expected @ expected.T, atol=2e-5)
    largest = np.abs(whitening.components).argmax(axis=1)
    assert (whitening.components[np.arange(6), largest] > 0).all()


def test_learned_equals_its_twin():
    """The rules in the columns of cirtorch, with the eigenvectors of the scatter instead of those of a product."""
    data, draw = vectors(80).astype(np.float64), np.random.default_rng(7)
    pairs = np.stack([draw.permutation(80)[:40], draw.permutation(80)[:40]], axis=1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    mean = np.array([math.fsum(column) / len(pairs) for column in data[pairs[:, 0]].T])
    within = slow_mean_outer([(data[q] - data[p]).tolist() for q, p in pairs])
    first = np.linalg.inv(np.linalg.cholesky(within))
    turned = [(first @ (x - mean)).tolist() for x in data]
    _, rows = np.linalg.eigh(slow_mean_outer(turned))
    projection = rows[:, ::-1].T @ first
    learned = fit_learned(data, pairs)
    np.testing.assert_allclose(learned.mean, mean, rtol=1e-6)
    for dim in (1, 3, 5):
        np.testing.assert_allclose(gram(learned.cut(dim).projection), gram(projection[:dim]), rtol=1e-4, atol=1e-4)
    found, expected = learned.apply(data), unit((data - mean) @ projection.T)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)


def test_fits_in_blocks_equal_fits_at_once(monkeypatch):
    data, pairs = vectors(50), np.random.default_rng(1).integers(0, 50, (30, 2))
    whole = fit_pca(data, 3), fit_learned(data, pairs)
    streamed = fit_pca_of_blocks(np.split(data, [1, 2, 30]), 3, shrinkage=1.0)
    np.testing.assert_allclose(streamed.projection, whole[0].projection, rtol=1e-4)
    np.testing.assert_allclose(streamed.mean, whole[0].mean, rtol=1e-5, atol=1e-7)
    monkeypatch.setattr("src.features.whitening_fit._BLOCK", 7)
    for one, other in zip(whole, (fit_pca(data, 3), fit_learned(data, pairs))):
        np.testing.assert_allclose(one.projection, other.projection, rtol=1e-4)


def test_few_pairs_are_told_and_a_ridge_helps(caplog):
    data = vectors(20)
    with caplog.at_level(logging.WARNING):
        poor = fit_learned(data, PAIRS)
    assert "3 pairs for descriptors of 5 numbers are few" in caplog.text
    within = np.mean([np.outer(data[q] - data[p], data[q] - data[p]) for q, p in PAIRS], axis=0)
    ridged = fit_learned(data, PAIRS, ridge=0.1)
    expected = np.linalg.inv(within + 0.1 * np.trace(within) / 5 * np.eye(5))
    np.testing.assert_allclose(gram(ridged.projection), expected, rtol=1e-4)
    assert np.isfinite(poor.projection).all()


def test_regions_are_whitened_as_vectors_are():
    feature_map = np.random.default_rng(2).random((5, 7, 3)).astype(np.float32)
    regions = make_pooling("rmac").region_vectors(feature_map)
    whitening = fit_pca(regions, 2, 0.5)
    np.testing.assert_allclose(whitening.linear()(regions), whitening.project(regions), atol=2e-5)
    pooled = make_pooling("rmac", layer=whitening.linear())(feature_map)
    np.testing.assert_allclose(pooled, whitening.apply(regions).sum(axis=0), atol=2e-5)


# Foreign numbers


def test_numbers_of_dirtorch():
    rows, variances = np.eye(3)[::-1], np.array([4.0, 1.0, 0.25])
    whitening = Whitening.from_pca([1.0, 0, 0], rows, variances, power=0.25, dim=2, multiplier=5)
    expected = np.array([3.0, 2.0]) / (5 * np.array([4.0, 1.0]) ** 0.25)
    np.testing.assert_allclose(whitening.project([0.0, 2.0, 3.0]), expected, rtol=1e-6)
    plain = Whitening.from_pca([1.0, 0, 0], rows, variances, power=0.25, dim=2)
    np.testing.assert_allclose(whitening.apply([0.0, 2, 3]), plain.apply([0.0, 2, 3]), rtol=1e-6)


@pytest.mark.parametrize(
    "names", [("mean_", "components_", "explained_variance_"), ("mean", "components", "variances")]
)
def test_file_of_a_pca(tmp_path, names):
    np.savez(tmp_path / "pca.npz", **dict(zip(names, (EXAMPLE.mean, EXAMPLE.components, EXAMPLE.variances))))
    loaded = load_whitening(tmp_path / "pca.npz")
    assert loaded.power == 0.5 and loaded.components.tolist() == EXAMPLE.components.tolist()
    assert not loaded.provenance.weights


def test_file_of_cirtorch(tmp_path):
    np.savez(tmp_path / "lw.npz", m=EXAMPLE.mean[:, None], P=EXAMPLE.components)
    loaded = load_whitening(tmp_path / "lw.npz")
    assert loaded.projection.tolist() == EXAMPLE.components.tolist() and loaded.mean.tolist() == [1, 2, 3]


def test_folder_of_regional_attention(tmp_path):
    np.save(tmp_path / "pca_mean.npy", -EXAMPLE.mean[None])
    np.save(tmp_path / "pca_components.npy", EXAMPLE.components)
    loaded = load_whitening(tmp_path)
    assert loaded.projection.tolist() == EXAMPLE.components.tolist() and loaded.mean.tolist() == [1, 2, 3]
    (tmp_path / "pca_mean.npy").unlink()
    with pytest.raises(UserError, match="pca_mean.npy"):
        load_whitening(tmp_path)


# Our files


def test_what_is_saved_is_loaded(tmp_path):
    save_whitening(tmp_path / "w.npz", EXAMPLE)
    loaded = load_whitening(tmp_path / "w.npz")
    assert loaded.identity == EXAMPLE.identity and loaded.provenance == SOURCE
    assert (loaded.power, loaded.method) == (0.25, "pca")
    assert {EXAMPLE.cut(1).identity, Whitening(*arrays_of(EXAMPLE), 0.5).identity}.isdisjoint([EXAMPLE.identity])


def arrays_of(whitening):
    return whitening.mean, whitening.components, whitening.variances


def rewritten(path, **changes):
    """A file whose parts have changed behind the checksum."""
    save_whitening(path, EXAMPLE)
    with np.load(path) as stored:
        parts = {name: stored[name] for name in stored.files}
    header = json.loads(str(parts["header"]))
    for name, value in changes.items():
        if name in parts:
            parts[name] = value
        else:
            header[name] = value
    np.savez(path, **{**parts, "header": np.array(json.dumps(header))})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mean": np.float32([1, 2, 4])}, "damaged \\(its checksum differs\\)"),
        ({"power": 0.5}, "damaged \\(its checksum differs\\)"),
        ({"format_version": 2}, "format 2, this program reads 1"),
        ({"checksum": None}, "damaged \\(its checksum differs\\)"),
    ],
)
def test_changed_files_are_told(tmp_path, changes, message):
    rewritten(tmp_path / "w.npz", **changes)
    with pytest.raises(UserError, match=message):
        load_whitening(tmp_path / "w.npz")


def test_no_damaged_byte_passes(tmp_path):
    save_whitening(tmp_path / "w.npz", EXAMPLE)
    whole = (tmp_path / "w.npz").read_bytes()
    for place in range(0, len(whole), 29):
        (tmp_path / "x.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            assert load_whitening(tmp_path / "x.npz").identity == EXAMPLE.identity
        except UserError as error:
            assert "x.npz" in str(error) and "\n" not in str(error)
    (tmp_path / "x.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        load_whitening(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"mean": np.ones(3)}, "not a whitening \\(it holds mean\\)"),
        ({"m": np.ones(3), "P": np.ones((2, 4))}, r"mean has the shape \[3\], not \[4\]"),
        ({"m": np.ones(3), "P": np.full((2, 3), np.nan)}, "components holds a number that is not finite"),
        ({"m": np.ones(3), "P": np.ones(3)}, "components has the shape"),
        ({"m": np.ones(2), "P": np.eye(2)[:0]}, "components has the shape"),
        ({"m": np.ones(2), "P": np.array([["a", "b"]])}, "components holds no numbers"),
        ({"mean": np.ones(2), "components": np.eye(2), "variances": -np.ones(2)}, "a variance is below 0"),
        ({"m": np.ones(2), "P": np.zeros((2, 2))}, "a row of components holds zeros alone"),
        ({"header": np.array("[]")}, "not a whitening"),
        ({"header": np.array([{"a": 1}], object)}, "Python objects"),
    ],
)
def test_what_is_no_whitening_is_told(tmp_path, arrays, message):
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(UserError, match=message) as caught:
        load_whitening(tmp_path / "w.npz")
    assert str(caught.value).startswith(str(tmp_path / "w.npz"))


# The choice of one for a network


def test_a_whitening_of_other_weights_is_refused(tmp_path, caplog):
    path = tmp_path / "w.npz"
    save_whitening(path, EXAMPLE)
    assert fitting_whitening(path, 1, SOURCE, 3).projection.tolist() == EXAMPLE.projection[:1].tolist()
    other = Provenance("cd" * 32, SOURCE.encoder)
    with pytest.raises(UserError, match="fitted on weights abababababab..., not on these"):
        fitting_whitening(path, 0, other, 3)
    with caplog.at_level(logging.WARNING):
        fitting_whitening(path, 0, other, 3, force=True)
        assert "used all the same" in caplog.text
        fitting_whitening(path, 0, Provenance("ab" * 32, {**SOURCE.encoder, "pooling": "mac"}), 3)
        assert "fitted on descriptors made otherwise (pooling)" in caplog.text
        fitting_whitening(path, 0, Provenance("ab" * 32, SOURCE.encoder, {"global_scales": [0.5, 1.0]}), 3)
        assert "fitted on descriptors made otherwise (global_scales)" in caplog.text
        save_whitening(path, Whitening(*arrays_of(EXAMPLE)))
        fitting_whitening(path, 0, SOURCE, 3)
        assert "does not say which network" in caplog.text
    with pytest.raises(UserError, match="for descriptors of 3 numbers; these have 4"):
        fitting_whitening(path, 0, SOURCE, 4)
    with pytest.raises(UserError, match="has 2 components, `whiten_dim` is 3; give `whiten_dim` 2"):
        fitting_whitening(path, 3, SOURCE, 3)
    with pytest.raises(UserError, match="for descriptors of 3 numbers, these have 2"):
        EXAMPLE.apply(np.ones((4, 2)))


@pytest.mark.parametrize(
    "fit, message",
    [
        (lambda: fit_pca(vectors(9), 5), "9 descriptors are too few for a whitening of 5 dimensions"),
        (lambda: fit_pca(vectors(1)), "1 descriptors are too few"),
        (lambda: fit_pca_of_blocks([], 2), "0 descriptors are too few"),
        (lambda: fit_pca(vectors(20), 6), "`dim` is 6; these descriptors have 5 numbers"),
        (lambda: fit_pca(np.ones((20, 5))), "vary in 0 directions only"),
        (lambda: fit_pca(np.repeat(vectors(3), 9, axis=0), 3), "vary in 2 directions only"),
        (lambda: fit_learned(vectors(9), PAIRS, 6), "`dim` is 6"),
        (lambda: fit_learned(vectors(9), PAIRS[:0]), "no pairs to learn from"),
        (lambda: fit_learned(np.ones((9, 2)), PAIRS), "descriptors of every pair are equal"),
        (lambda: power_of(0.5, 1.0), "`shrinkage` is twice `whiten_power`"),
        (lambda: power_of(5), "`whiten_power` is 5; it must be from 0 to 4"),
        (lambda: power_of(None, -1), "`shrinkage` is -1; it must be from 0 to 8"),
    ],
)
def test_fits_that_cannot_be_are_told(fit, message):
    with pytest.raises(UserError, match=message):
        fit()


def test_dimensions_by_default_are_those_that_can_be():
    assert fit_pca(vectors(9)).components.shape == (4, 5)  # half of the descriptors
    assert fit_pca(vectors(30)).components.shape == (5, 5)
    assert fit_pca(np.repeat(vectors(3), 9, axis=0)).components.shape == (2, 5)  # the rank
