import numpy as np
import pytest
from report.report_cases import (
    AFFINE,
    GOOD,
    SETTINGS,
    features_of,
    random_descriptors,
    write_feature_file,
    write_features,
)

from src.errors import UserError
from src.report.inliers import MAX_LINES, FeatureFiles, find_inliers


def find(features, result="photo_b", query=GOOD):
    return find_inliers(features, [(query, result)])[query, result]


def test_lines_join_what_the_affine_map_joins(tmp_path):
    inliers = find(write_features(tmp_path))
    assert inliers.facts.startswith("30 inliers of 4") and inliers.lines.shape == (30, 4)
    ours, theirs = inliers.lines[:, :2] * (400, 200), inliers.lines[:, 2:] * (400, 200)
    assert np.allclose(theirs @ AFFINE[:, :2].T + AFFINE[:, 2], ours, atol=1e-3)


def test_at_most_so_many_lines(tmp_path):
    inliers = find(write_features(tmp_path, count=200, outliers=0))
    assert len(inliers.lines) == MAX_LINES and inliers.facts == f"200 inliers of 200 correspondences, {MAX_LINES} drawn"


@pytest.mark.parametrize(
    ("query", "result", "facts"),
    [
        (GOOD, "photo_c", "the result has no features"),
        (GOOD, "photo_z", "the result is not in the feature file"),
        ("other", "photo_b", "the query is not in the feature file"),
    ],
)
def test_what_is_not_there(tmp_path, query, result, facts):
    inliers = find(write_features(tmp_path), result, query)
    assert inliers.facts == facts and inliers.lines.shape == (0, 4)


def test_three_correspondences_are_not_verified(tmp_path):
    inliers = find(write_features(tmp_path, search_distance=1e-3), "photo_d")
    assert inliers.facts == "correspondences: 3, too few to verify" and not len(inliers.lines)


def test_mutual_check_is_of_exact_correspondences_only(tmp_path):
    generator = np.random.default_rng(0)
    descriptors, points = random_descriptors(generator, 5), generator.uniform(0, 200, (5, 2))
    index = write_feature_file(tmp_path / "i.h5", {"b.jpg": features_of(points, descriptors)})
    twice = features_of(np.tile(points, (2, 1)), np.tile(descriptors, (2, 1)))  # each point of b is wanted twice
    queries = write_feature_file(tmp_path / "q.h5", {"a": twice})
    for way, count in (("index", 10), ("exact", 5)):
        settings = {**SETTINGS, "correspondences": way, "mutual_check": True, "search_distance": 0.1}
        inliers = find(FeatureFiles([index], queries, settings), "b", "a")
        assert inliers.facts == f"{count} inliers of {count} correspondences"


def test_several_index_files_and_same_result_again(tmp_path):
    features = write_features(tmp_path)
    more = write_feature_file(tmp_path / "more.h5", {"far/e.jpg": features_of([], [])})
    both = features._replace(index=[more, *features.index])
    assert find(both, "far/e").facts == "the result has no features"
    assert np.array_equal(find(both).lines, find(features).lines)


def test_other_network_is_refused(tmp_path):
    features = write_features(tmp_path)
    other = write_feature_file(tmp_path / "other.h5", {}, checkpoint_sha256="bb")
    with pytest.raises(UserError, match=r"other\.h5.*checkpoint_sha256|checkpoint_sha256.*other\.h5"):
        find(features._replace(index=[other]))
    with pytest.raises(UserError, match="--query_features"):
        find(features._replace(queries=tmp_path / "none.h5"))
