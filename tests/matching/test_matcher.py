"""The learned matcher in NumPy and ONNX against a slow twin, its file, and the picture of its votes."""

import json

import cv2
import numpy as np
import pytest

from src.commands.match_images import main
from src.errors import UserError
from src.matching.matcher import WIDTH, drawn_pairs, transport, weight_shapes
from src.matching.matcher_file import fitting_matcher, load_matcher, save_matcher
from src.matching.matcher_onnx import build_matcher_onnx, export_matcher
from src.records import Provenance
from tests.matching.made_matcher import random_matcher, slow_transport, slow_votes, unit_rows
from tests.matching.test_match_images import folder, options

__all__ = ["folder"]


def test_numbers_of_the_addendum():
    """global_addendum.md, E4."""
    table = np.array([[0.9, 0.1], [0.2, 0.8]])
    expected = [[0.998062, 0.000502], [0.001652, 0.999476]]
    for found in (transport, slow_transport):
        np.testing.assert_allclose(found(table, np.array([0, 0.5]), np.array([0.1, -0.2]), 1.0), expected, atol=2e-6)


def test_it_is_small():
    for dimension in (40, 128):
        assert sum(np.prod(shape) for shape in weight_shapes(dimension).values()) + 193 < 60_000
    assert weight_shapes(40)["project.weight"] == (WIDTH, 40)


@pytest.mark.parametrize("counts", [(7, 11), (1, 3), (40, 25)])
def test_equals_a_slow_twin_and_its_export(counts):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    matcher, generator = random_matcher(40), np.random.default_rng(1)
    a, b = (unit_rows(generator, count, 40) for count in counts)
    b[: min(counts)] = a[: min(counts)]  # some have a partner
    votes, table = slow_votes(matcher.weights, a, b)
    probabilities = matcher.probabilities(matcher.project(a), matcher.project(b))
    np.testing.assert_allclose(probabilities, table, atol=1e-5)
    assert matcher.soft_votes(probabilities) == pytest.approx(votes, rel=1e-5)
    session = onnxruntime.InferenceSession(build_matcher_onnx(matcher), providers=["CPUExecutionProvider"])
    exported, exported_votes = session.run(None, {"descriptors_a": a, "descriptors_b": b})
    np.testing.assert_allclose(exported, probabilities, atol=1e-5)
    np.testing.assert_allclose(exported_votes, [votes], rtol=1e-5)


def test_best_descriptors_alone_take_part_and_none_is_no_vote():
    matcher, generator = random_matcher(16, num_descriptors=5), np.random.default_rng(0)
    rows = unit_rows(generator, 9, 16)
    np.testing.assert_array_equal(matcher.project(rows).vectors, matcher.project(rows[:5]).vectors)
    none = matcher.probabilities(matcher.project(rows[:0]), matcher.project(rows))
    assert none.shape == (0, 5) and matcher.soft_votes(none) == 0 and not len(drawn_pairs(none)[0])
    matches, strengths = drawn_pairs(np.array([[0.2, 0.7], [0.9, 0.1]]))
    np.testing.assert_array_equal(matches.indices, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(strengths, [0.7, 0.9])
    assert matches.num_inliers == 2


def test_file_holds_it_all_and_is_told_from_others(tmp_path):
    matcher = random_matcher(16, 300, weights="aa", encoder={"pca": "b", "pca_dim": 16})
    save_matcher(tmp_path / "m.npz", matcher)
    read = fitting_matcher(tmp_path / "m.npz", Provenance("aa", {"pca": "b", "pca_dim": 16}, {"max_image_size": 3}))
    assert read.num_descriptors == 300 and read.dimension == 16
    for name, array in matcher.weights.items():
        np.testing.assert_array_equal(read.weights[name], array)
    for other in (Provenance("bb", matcher.provenance.encoder), Provenance("aa", {"pca": "c", "pca_dim": 16})):
        with pytest.raises(UserError, match=r"m.npz: trained on descriptors made otherwise \((weights|pca)\); train"):
            fitting_matcher(tmp_path / "m.npz", other)
    with np.load(tmp_path / "m.npz") as stored:
        arrays = dict(stored)
    for name, changed in (
        ("checksum", {**arrays, "corner": arrays["corner"] + 1}),
        ("not a matcher .it holds a", {"a": np.ones(3)}),
        ("format 9", {**arrays, "header": np.array(json.dumps({"format_version": 9}))}),
        ("no checksum", {**arrays, "header": np.array(json.dumps({"format_version": 1}))}),
    ):
        np.savez(tmp_path / "bad.npz", **changed)
        with pytest.raises(UserError, match=name):
            load_matcher(tmp_path / "bad.npz")
    with pytest.raises(UserError, match=r"`matcher_path` is not set"):
        load_matcher("")
    with pytest.raises(UserError, match=r"ends in .onnx"):
        export_matcher(tmp_path / "m.bin", matcher)


def test_command_draws_the_votes(folder, capsys):
    save_matcher(folder / "m.npz", random_matcher(64, weights="ab" * 32))
    pair = options(folder, "--image_a=a.png", "--image_b=b.png", f"--matcher_path={folder}/m.npz")
    main([*pair, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["soft_votes"] > 0 and "inliers" not in result
    assert cv2.imread(str(folder / "m.png")) is not None
    main(pair)
    assert capsys.readouterr().out == f"{result['soft_votes']:.1f} soft votes, {result['pairs']} pairs\n"
    with pytest.raises(UserError, match="--ransac_residual has no effect together with --matcher_path"):
        main([*pair, "--ransac_residual=3"])
    save_matcher(folder / "other.npz", random_matcher(64, weights="cd" * 32))
    with pytest.raises(UserError, match="made otherwise"):
        main(options(folder, "--image_a=a.png", "--image_b=b.png", f"--matcher_path={folder}/other.npz"))
