"""hloc's own feature files, written here as it writes them, and damaged ones, in all that reads features."""

import h5py
import numpy as np
import pytest

from src.commands import match_images
from src.config import ExtractionConfig, MatchingConfig, ModelConfig, RetrievalConfig, RunConfig
from src.errors import UserError
from src.features.convert import features_to_delf
from src.features.feature_file import FeatureFile
from src.features.learn_pca import learn_pca
from src.features.merge import merge_features
from src.features.score_threshold import scores_of_file
from src.features.visualize import visualize
from src.records import Provenance
from src.retrieval.build import build_index
from src.retrieval.ranking_file import load_ranking
from src.retrieval.search import perform_retrieval
from tests.features.made_up import make_file, make_photos

PHOTOS = ["db/a.jpg", "db/b.jpg", "c.jpg"]


def write_hloc(path, names, kind=np.float16, norm=1.0, seed=0):
    """What hloc's extract_features leaves: no attributes of the file, no scales, scores in any order."""
    with h5py.File(path, "w", libver="latest") as file:
        for number, name in enumerate(names):
            generator = np.random.default_rng([seed, number])
            descriptors = generator.normal(size=(40, 8))
            descriptors *= norm / np.linalg.norm(descriptors, axis=1, keepdims=True)
            group = file.create_group(name)
            for part, value in (
                ("keypoints", generator.uniform(0, 48, (40, 2)).astype(kind)),
                ("scores", generator.permutation(40).astype(kind)),
                ("descriptors", descriptors.T.astype(kind)),
                ("image_size", np.array([64, 48])),
            ):
                group.create_dataset(part, data=value)
            group["keypoints"].attrs["uncertainty"] = 1.5
    return path


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_photo_of_hlocs(tmp_path, kind):
    path = write_hloc(tmp_path / "hloc.h5", PHOTOS, kind)
    with h5py.File(path, "r") as file:
        stored = {name: file["db/b.jpg"][name][()] for name in ("keypoints", "scores", "descriptors")}
    with FeatureFile(path) as source:
        assert source.names == sorted(PHOTOS) and source.shape("db/b.jpg") == (40, 8)
        features = source.read("db/b.jpg")
    order = np.argsort(-stored["scores"].astype(float))
    assert features.scores.tolist() == sorted(stored["scores"].tolist(), reverse=True)
    assert np.array_equal(features.keypoints, stored["keypoints"][order].astype(np.float32))
    assert np.array_equal(features.descriptors, stored["descriptors"].T[order].astype(np.float32))
    assert features.scales.tolist() == [1] * 40 and features.resize_factor == 1 and features.image_size == (64, 48)


def test_scores_may_be_missing_and_scales_there(tmp_path):
    path = write_hloc(tmp_path / "sift.h5", ["a.jpg"])
    with h5py.File(path, "r+") as file:
        del file["a.jpg/scores"]
        file["a.jpg/scales"], file["a.jpg/oris"] = np.arange(1, 41, dtype=np.float32), np.zeros(40)
    with FeatureFile(path) as source:
        features = source.read("a.jpg")
    assert features.scores.tolist() == [1] * 40 and features.scales.tolist() == list(range(1, 41))


def test_a_global_descriptor_of_hlocs(tmp_path):
    with h5py.File(tmp_path / "netvlad.h5", "w", libver="latest") as file:
        group = file.create_group("db/a.jpg")
        group["global_descriptor"], group["image_size"] = np.float16([0.6, 0.8]), [64, 48]
    with FeatureFile(tmp_path / "netvlad.h5") as source:
        assert np.allclose(source.read_global("db/a.jpg").vector, [0.6, 0.8], atol=1e-3)
        with pytest.raises(UserError, match="db/a.jpg has no local features in it; extract them"):
            source.read("db/a.jpg")


def test_foreign_features_compare_among_themselves_only(tmp_path):
    one, two = (write_hloc(tmp_path / f"{seed}.h5", [f"{seed}.jpg"], seed=seed) for seed in range(2))
    with FeatureFile(one) as first, FeatureFile(two) as second:
        assert first.provenance.compatible_with(second.provenance)
        assert not first.provenance.same_run(second.provenance)
        assert not first.provenance.compatible_with(Provenance())
    ours = make_file(tmp_path / "ours.h5", ["x.jpg"])
    with pytest.raises(UserError, match="ours.h5: made under other settings than .*0.h5"):
        merge_features([one, ours], tmp_path / "merged.h5")


def test_descriptors_of_another_norm_are_told_once(tmp_path, caplog):
    with FeatureFile(write_hloc(tmp_path / "hloc.h5", PHOTOS, norm=2.0)) as source:
        assert [len(features) for _, features in source] == [40] * 3
    assert caplog.text.count("whose norm is not 1") == 1
    with FeatureFile(write_hloc(tmp_path / "unit.h5", PHOTOS)) as source:
        source.read("c.jpg")
    assert "unit.h5" not in caplog.text


def test_from_hlocs_files_to_a_ranking(tmp_path):
    parts = [write_hloc(tmp_path / "1.h5", PHOTOS), write_hloc(tmp_path / "2.h5", ["d.jpg"], seed=1)]
    merge_features(parts, tmp_path / "merged.h5")
    with FeatureFile(tmp_path / "merged.h5") as merged, FeatureFile(parts[1]) as part:
        assert merged.names == ["c.jpg", "d.jpg", "db/a.jpg", "db/b.jpg"]
        for name in ("keypoints", "scales", "scores", "descriptors"):
            assert np.array_equal(getattr(merged.read("d.jpg"), name), getattr(part.read("d.jpg"), name))
    queries = write_hloc(tmp_path / "queries.h5", ["d.jpg"], np.float32, seed=1)  # the photo that d.jpg is
    for number, features in enumerate((parts, tmp_path / "merged.h5")):
        index, ranks = tmp_path / f"index{number}", tmp_path / f"ranks{number}.npz"
        build_index(features, index)
        perform_retrieval(index, queries, ranks, RetrievalConfig(), MatchingConfig())
        ranking = load_ranking(ranks)[0]
        assert ranking.index_names[ranking.ranks[0, 0]] == "d"


def test_hlocs_keypoints_are_drawn_and_matched(tmp_path, capsys):
    photos, features = make_photos(tmp_path / "photos", PHOTOS), write_hloc(tmp_path / "hloc.h5", PHOTOS)
    sections = RunConfig(), ModelConfig(), ExtractionConfig()
    assert visualize(photos, tmp_path / "drawn", *sections, features, num_images=1) == 1
    assert len(list((tmp_path / "drawn").rglob("*.jpg.png"))) == 1
    options = ["--images_path", photos, "--image_a", "c.jpg", "--image_b", "c.jpg", "--features", features]
    match_images.main([str(option) for option in [*options, "--output_image", tmp_path / "matched.png"]])
    assert "40 correspondences, 40 inliers" in capsys.readouterr().out


def test_what_is_no_feature_file_of_anyone(tmp_path):
    with h5py.File(tmp_path / "matches.h5", "w") as file:  # hloc's too
        file["a.jpg/b.jpg/matches0"] = [1, 2]
    with h5py.File(tmp_path / "nothing.h5", "w"):
        pass
    for name, what in (("matches", "holds matches0, but no data set keypoints"), ("nothing", "no photo in it")):
        with pytest.raises(UserError, match=rf"{name}.h5: not a finished feature file \(.*{what}.*\); make one"):
            FeatureFile(tmp_path / f"{name}.h5")


def _visualize(features, output):
    photos = make_photos(output.with_name("photos"), ["a.jpg"])
    return visualize(photos, output, RunConfig(), ModelConfig(), ExtractionConfig(), features)


def _match(features, output):
    photos = make_photos(output.with_name("photos"), ["a.jpg"])
    options = ["--images_path", photos, "--image_a", "a.jpg", "--image_b", "a.jpg", "--features", features]
    match_images.main([str(option) for option in [*options, "--output_image", output]])


READERS = {
    "build_index": build_index,
    "merge_features": lambda features, output: merge_features([features], output),
    "convert_features": features_to_delf,
    "learn_pca": lambda features, output: learn_pca(features, output, 2),
    "choose_score_threshold": lambda features, output: scores_of_file(features, 1000),
    "visualize_features": _visualize,
    "match_images": _match,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("damage", ["nothing", "a group", "a pipe's"])
def test_a_photo_without_descriptors_is_told_by_all_that_read_features(tmp_path, reader, damage):
    path = make_file(tmp_path / "features.h5", ["a.jpg"])
    with h5py.File(path, "r+") as file:
        del file["a.jpg/descriptors"]
        if damage == "a group":
            file.create_group("a.jpg/descriptors")
        elif damage == "a pipe's":
            file.create_dataset("a.jpg/descriptors", (8, 3), "f4", external=[("pipe", 0, 96)])
    with pytest.raises(UserError, match=r"features.h5: the features of a.jpg: damaged \(.*descriptors.*\); extract"):
        READERS[reader](path, tmp_path / "output.npz")
    assert not (tmp_path / "output.npz").exists()
