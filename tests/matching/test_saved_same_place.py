"""The saved answer: to which weights and settings it belongs, and what is said where there is none."""

import numpy as np
import pytest

from src.config import Config
from src.errors import UserError
from src.matching.same_place import Calibration, conditions, find_calibration, holds_inliers, save_calibration
from src.records import Provenance
from src.retrieval.rerank import search_settings

ENCODER = {"name": "delf", "architecture": "resnet50", "pca": "abc", "pca_dim": 40, "use_whitening": False}
EXTRACTED = {"image_scales": [0.5, 1.0], "max_feature_num": 200, "score_threshold": None}


def of_search(weights="w", encoder=ENCODER, extracted=EXTRACTED, **values):
    config = Config(**values)
    search = search_settings(config.retrieval, config.matching, config.run.seed)
    return conditions(Provenance(weights, encoder, extracted), search)


def calibration(provenance):
    return Calibration([0, 10, 20], [0.01, 0.3, 0.995], 20, 10, provenance, {})


def test_it_holds_for_what_inliers_depend_on_and_no_more():
    wanted = of_search()
    photo_index = {**EXTRACTED, "score_threshold": 0.0, "pca_dim": 40, "use_whitening": False, "index_type": "Flat"}
    short = {name: ENCODER[name] for name in ("name", "architecture")}
    for same in (
        of_search(num_rerank=7, keep_matches=3, seed=5, match_distance=0.1, match_ratio=0.5),
        of_search(encoder={**ENCODER, "pca": "of other photos"}, extracted={**EXTRACTED, "half": True}),
        of_search(encoder={**short, "pca": ""}, extracted=photo_index),  # as a photo index has it
    ):
        assert not wanted.differences(same)
    for name, other in (
        ("weights", of_search("v")),
        ("ransac_residual", of_search(ransac_residual=21.0)),
        ("search_distance", of_search(search_distance=0.8)),
        ("num_neighbors", of_search(num_neighbors=61)),
        ("max_feature_num", of_search(extracted={**EXTRACTED, "max_feature_num": 201})),
        ("pca_dim", of_search(encoder={**ENCODER, "pca_dim": 39})),
        ("architecture", of_search(encoder={**ENCODER, "architecture": "resnet18"})),
    ):
        assert wanted.differences(other) == [name]
    exact = of_search(correspondences="exact", match_ratio=0.5)
    assert exact.differences(of_search(correspondences="exact")) == ["match_ratio"]
    assert not exact.differences(of_search(correspondences="exact", match_ratio=0.5, num_neighbors=3))


def test_global_descriptors_and_then_ransac_match_each_pair_anew():
    features = Provenance("w", ENCODER, EXTRACTED)
    given = {"search_distance": 0.9, "ransac_residual": 20.0, "match_ratio": None, "num_rerank": 100}
    ranking = {**given, "searcher": "global", "rerank": "aqe,ransac"}
    assert not conditions(features, ranking).differences(of_search(correspondences="exact"))
    assert holds_inliers(ranking) and holds_inliers(given)
    assert not holds_inliers({**ranking, "rerank": "ransac,aqe"}) and not holds_inliers({"rerank": "none"})


def test_found_beside_the_checkpoint_or_in_the_next_folder(tmp_path):
    (tmp_path / "index").mkdir()
    wanted = of_search()
    none, why = find_calibration(wanted, (tmp_path, tmp_path / "index"))
    assert none is None and "no same_place.json beside the checkpoint; the command calibrate_same_place" in why
    assert "\n" not in why
    save_calibration(tmp_path / "index" / "same_place.json", calibration(wanted))
    found, why = find_calibration(wanted, (tmp_path, tmp_path / "index"))
    assert why == "" and found.judge(15) == ("perhaps", 0.3) and found.judge(20).answer == "yes"
    none, why = find_calibration(of_search(correspondences="exact"), (tmp_path / "index",))
    assert none is None and "no same_place_exact.json" in why


def test_of_other_weights_or_settings_it_gives_no_verdict(tmp_path):
    path = tmp_path / "same_place.json"
    save_calibration(path, calibration(of_search()))
    none, why = find_calibration(of_search(ransac_residual=30.0), (tmp_path,))
    assert none is None and "calibrated under other settings (ransac_residual 20.0 there, 30.0 here)" in why
    none, why = find_calibration(of_search("other"), (tmp_path,))
    assert none is None and "(another checkpoint)" in why
    with pytest.raises(UserError, match=r"same_place\.json: calibrated under other settings \(another checkpoint\)"):
        find_calibration(of_search("other"), (), path)
    path.write_text(path.read_text().replace("0.995", "0.996"))
    with pytest.raises(UserError, match="damaged .its checksum differs"):
        find_calibration(of_search(), (tmp_path,))


@pytest.mark.parametrize(
    "counts,chances,yes_from,no_below",
    [
        ([1, 5], [0.1, 0.9], 5, 1), ([0, 5], [0.9, 0.1], 5, 0), ([0, 5], [0.1, 1.0], 5, 5), ([0, 5], [0.1], 5, 5),
        ([0, 0], [0.1, 0.9], 5, 5), ([0, 5], [0.1, 0.9], 5, 6), ([0, 5], [0.1, 0.9], 5, -1), ([], [], 5, 1),
        ([0.0, 5.0], [0.1, 0.9], 5, 1), ([0, 5], [0.1, np.nan], 5, 1), ([0, 5], [0.1, 0.9], "5", 1),
    ],
)  # fmt: skip
def test_steps_and_limits_are_checked(counts, chances, yes_from, no_below):
    with pytest.raises((ValueError, TypeError)):
        Calibration(counts, chances, yes_from, no_below, Provenance(), {})
