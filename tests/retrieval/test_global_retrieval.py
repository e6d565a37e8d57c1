"""build_index and perform_retrieval of global descriptors, on small feature files written by hand."""

import numpy as np
import pytest
from handmade_features import random_photo, write_features, write_global

from src.artifacts import sha256_of
from src.commands.build_index import main as build
from src.commands.perform_retrieval import main as retrieve
from src.commands.rank_randomly import main as rank_randomly
from src.config import Config
from src.errors import UserError
from src.features.feature_file import FeatureFile
from src.retrieval.global_index import load_global_index
from src.retrieval.global_search import fused_scores
from src.retrieval.index import load_index
from src.retrieval.index_folder import read_manifest, tie_order
from src.retrieval.index_types import choose_global_type, make_product_index
from src.retrieval.ranking_file import load_ranked_matches, load_ranking
from src.retrieval.rerank import idle_keys, search_settings

DEGREES = {"d/far.jpg": 170, "a.jpg": 10, "b.png": 40, "c.jpg": 80}  # the index has them as a, b, c, d/far
GLOBAL_ONLY = {"encoder": {"name": "global", "pooling": "gem"}}


def at(degrees):
    return np.cos(np.radians(degrees)), np.sin(np.radians(degrees))


@pytest.fixture
def place(tmp_path):
    """photos.h5 and queries.h5 of two dimensions."""
    write_global(tmp_path / "photos.h5", {name: at(angle) for name, angle in DEGREES.items()}, **GLOBAL_ONLY)
    write_global(tmp_path / "queries.h5", {"q_1": at(0), "q_2": at(170)}, **GLOBAL_ONLY)
    return tmp_path


def make(place, *options, features="photos.h5"):
    build([f"--features={place / features}", f"--output={place}/index", *options])
    return load_global_index(place / "index")


def rank(place, *options, queries="queries.h5"):
    """The ranking by names, its scores and its settings."""
    retrieve([f"--index={place}/index", f"--query_features={place / queries}", f"--output={place}/r.npz", *options])
    ranking, provenance = load_ranking(place / "r.npz")
    return [[ranking.index_names[n] for n in row] for row in ranking.ranks], ranking.scores, provenance.settings


def test_global_descriptors_are_indexed_and_ranked_by_similarity(place, capsys):
    index = make(place)
    assert index.names == ["a", "b", "c", "d/far"] and index.provenance.settings["index_type"] == "Flat"
    np.testing.assert_allclose(index.vectors, [at(10), at(40), at(80), at(170)], rtol=1e-6)
    assert "4 photos, 4 descriptors, Flat" in capsys.readouterr().out
    names, scores, settings = rank(place)
    assert names == [["a", "b", "c", "d/far"], ["d/far", "c", "b", "a"]]
    np.testing.assert_allclose(scores[0], np.cos(np.radians([10, 40, 80, 170])), atol=1e-6)
    assert settings == {"nprobe": 0, "searcher": "global", "rerank": "none", "seed": 0}
    made = (place / "r.npz").stat().st_mtime_ns
    rank(place)
    assert (place / "r.npz").stat().st_mtime_ns == made
    with pytest.raises(UserError, match=r"other settings \(qe_k, rerank\); give `overwrite`"):
        rank(place, "--rerank=aqe")
    assert rank(place, "--num_ranked=2", "--overwrite")[0] == [["a", "b"], ["d/far", "c"]]


def test_steps_are_taken_in_the_order_given(place):
    """By hand: numbers of the expansions are those of the vectors, the searches that follow their cosines."""
    make(place)
    expanded = np.array([0.980761, 0.195214])  # alpha 3, of the first two photos
    _, scores, settings = rank(place, "--rerank=alpha_qe", "--qe_k=2")
    photos = np.array([at(10), at(40), at(80), at(170)])
    np.testing.assert_allclose(scores[0], photos @ expanded, atol=2e-6)
    assert settings["qe_alpha"] == 3 and "dba_k" not in settings
    augmented = np.array([[0.920866, 0.389880], [0.777977, 0.628293], [0.399076, 0.916918], at(170)])
    _, scores, _ = rank(place, "--rerank=dba", "--dba_k=2", "--overwrite")
    np.testing.assert_allclose(scores[0], augmented @ [1, 0], atol=2e-6)
    options = ("--qe_k=2", "--dba_k=2", "--overwrite")
    _, scores, _ = rank(place, "--rerank=alpha_qe,dba", *options)
    np.testing.assert_allclose(scores[0], augmented @ expanded, atol=2e-6)
    query = np.array([1, 0]) + 0.920866**3 * augmented[0] + 0.777977**3 * augmented[1]
    _, scores, _ = rank(place, "--rerank=dba, alpha_qe", *options)
    np.testing.assert_allclose(scores[0], augmented @ query / np.linalg.norm(query), atol=3e-6)


def test_diffusion_ranks_what_it_reaches_before_the_others(place):
    make(place)
    names, scores, _ = rank(place, "--rerank=diffusion", "--diffusion_k=2")
    assert names[0] == ["a", "b", "c", "d/far"]
    np.testing.assert_allclose(scores[0, :2], [36.335, 29.998], rtol=1e-4)
    np.testing.assert_allclose(scores[0, 2:], np.cos(np.radians([80, 170])), atol=1e-6)


def test_superglobal_ranks_the_first_photos_anew(place):
    """By hand with one neighbour; all three photos make the expanded query here. The last keeps its place."""
    make(place)
    names, scores, _ = rank(place, "--rerank=superglobal", "--superglobal_photos=3", "--superglobal_k=1")
    refined = np.array([[0.959657, 0.227585], [0.791195, 0.588851], [0.234703, 0.949558]])
    expected = (refined[:, 0] + refined @ [0.959657, 0.949558]) / 2
    order = np.argsort(-expected)
    assert names[0] == [*np.array(["a", "b", "c"])[order], "d/far"]
    np.testing.assert_allclose(scores[0, :3], expected[order], atol=3e-6)


@pytest.mark.parametrize("index_type", ["IVF4,Flat", "PQ2x4", "HNSW8", "RR8,IVF2,SQ8"])
def test_a_type_that_shortens_is_compared_by_the_vectors_themselves(tmp_path, index_type):
    """Lists that are not searched leave photos out: they stand last."""
    generator = np.random.default_rng(0)
    rows = np.abs(generator.normal(size=(60, 8)))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    write_global(tmp_path / "photos.h5", {f"{n:02d}.jpg": row for n, row in enumerate(rows)})
    write_global(tmp_path / "queries.h5", {f"q{n}": rows[n] for n in (3, 50)})
    index = make(tmp_path, f"--index_type={index_type}")
    np.testing.assert_array_equal(index.vectors, rows)
    names, scores, _ = rank(tmp_path, "--nprobe=1" if "IVF" in index_type else "--nprobe=0")
    assert [row[0] for row in names] == ["03", "50"] and all(len(set(row)) == 60 for row in names)
    for query, row, found in zip((3, 50), names, scores):
        place = int((found > -1).sum())
        expected = [float(rows[int(name)] @ rows[query]) for name in row[:place]]
        np.testing.assert_allclose(found[:place], expected, atol=2e-6)
    rank(tmp_path, "--rerank=dba,alpha_qe,diffusion,superglobal", "--overwrite")


def test_equal_photos_stand_in_the_seeded_order(tmp_path):
    vector = np.full(50, 1 / np.sqrt(50))
    write_global(tmp_path / "photos.h5", {f"{n:02d}.jpg": vector for n in range(20)})
    write_global(tmp_path / "queries.h5", {"q": vector})
    index = make(tmp_path)
    for steps in ("none", "alpha_qe", "dba", "diffusion", "superglobal"):
        names, _, _ = rank(tmp_path, f"--rerank={steps}", "--overwrite")
        assert names[0] == [index.names[n] for n in np.argsort(tie_order(index.names, 0))], steps


@pytest.mark.parametrize(
    "options, said",
    [
        (["--rerank=alpha"], "'alpha' is no re-ranking; give auto, none"),
        (["--rerank="], "'' is no re-ranking"),
        (["--rerank=ransac,ransac"], "twice"),
        (["--qe_k=3"], "--qe_k has no effect"),
        (["--rerank=aqe", "--qe_alpha=1"], "--qe_alpha has no effect"),
        (["--num_neighbors=3"], "--num_neighbors has no effect"),
        (["--searcher=global"], "--searcher has no effect"),
        (["--rerank=ransac"], r"q_1 has no local features|has no local features in it"),
    ],
)
def test_what_has_no_effect_or_is_unknown_is_refused(place, options, said):
    make(place)
    with pytest.raises(UserError, match=said):
        rank(place, *options)
    assert not (place / "r.npz").exists()


def test_indexes_are_not_taken_for_one_another(place):
    make(place)
    write_features(place / "local.h5", {"x.jpg": random_photo(np.random.default_rng(0), 9)})
    with pytest.raises(UserError, match="index of global descriptors, where one of local features"):
        load_index(place / "index")
    with pytest.raises(UserError, match="made under other settings"):
        build([f"--features={place}/local.h5", f"--output={place}/index"])
    build([f"--features={place}/local.h5", f"--output={place}/local"])
    assert "searcher" not in read_manifest(place / "local").provenance.settings
    with pytest.raises(UserError, match="index of local features, where one of global descriptors"):
        load_global_index(place / "local")
    with pytest.raises(UserError, match=r"diffusion is for an index of global descriptors"):
        retrieve([f"--index={place}/local", f"--query_features={place}/local.h5", "--rerank=diffusion"])
    with pytest.raises(UserError, match=r"no global descriptor in it"):
        build([f"--features={place}/local.h5", f"--output={place}/other", "--searcher=global"])
    with pytest.raises(UserError, match=r"no local features in it"):
        build([f"--features={place}/photos.h5", f"--output={place}/other", "--searcher=votes"])


def test_votes_without_verification(tmp_path):
    photo = random_photo(np.random.default_rng(0), 9)
    write_features(tmp_path / "photos.h5", {"x.jpg": photo, "y.jpg": random_photo(np.random.default_rng(1), 9)})
    write_features(tmp_path / "queries.h5", {"q": photo})
    build([f"--features={tmp_path}/photos.h5", f"--output={tmp_path}/index"])
    names, scores, settings = rank(tmp_path, "--rerank=none")
    assert names[0][0] == "x" and (scores < 0).all()  # votes alone
    assert settings["rerank"] == "none" and "num_rerank" not in settings
    with pytest.raises(UserError, match="--num_rerank has no effect"):
        rank(tmp_path, "--rerank=none", "--num_rerank=3")


def test_the_settings_of_a_search_by_votes_are_as_ever():
    """So that rankings of earlier versions are known again."""
    config = Config()
    settings = search_settings(config.retrieval, config.matching, 0)
    assert not {"searcher", "rerank", "num_ranked", "qe_k", "match_ratio"} & set(settings)
    assert settings["correspondences"] == "index" and settings["num_rerank"] == 100
    assert "qe_k" in idle_keys(config.retrieval, "votes") and "nprobe" not in idle_keys(config.retrieval, "votes")


def test_descriptors_that_mean_something_else_are_refused(place):
    make(place)
    write_global(place / "max.h5", {"q": at(0)}, encoder={"name": "global", "pooling": "mac"})
    with pytest.raises(UserError, match=r"made otherwise than the index \(pooling\)"):
        rank(place, queries="max.h5")
    write_global(place / "long.h5", {"q": [1, 0, 0]}, **GLOBAL_ONLY)
    with pytest.raises(UserError, match="have not the 2 dimensions of the index"):
        rank(place, queries="long.h5")


def test_photos_are_added_and_damage_is_told(place):
    for index_type in ("Flat", "SQ8"):
        make(place, f"--index_type={index_type}", "--overwrite")
        write_global(place / "more.h5", {"e.jpg": at(20)}, **GLOBAL_ONLY)
        build([f"--features={place}/more.h5", f"--output={place}/index", "--add"])
        index = load_global_index(place / "index")
        assert index.names == ["a", "b", "c", "d/far", "e"]
        np.testing.assert_allclose(index.vectors[4], at(20), rtol=1e-6)
        assert rank(place, "--overwrite")[0][0] == ["a", "e", "b", "c", "d/far"]
        assert index.provenance.sources["added"] == [sha256_of(place / "more.h5")]
    damaged = place / "index" / "vectors.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"vectors\.npy: damaged"):
        rank(place, "--overwrite")
    damaged.unlink()
    with pytest.raises(UserError, match=r"damaged index: no vectors\.npy"):
        rank(place, "--overwrite")


def test_random_ranking_of_a_global_index(place):
    make(place)
    rank_randomly([f"--index={place}/index", f"--query_features={place}/queries.h5", f"--output={place}/r.npz"])
    assert load_ranking(place / "r.npz")[0].index_names == ["a", "b", "c", "d/far"]


def both(tmp_path):
    """Photos and queries of a file with both kinds: the photo that shows the query is the least alike of the three."""
    generator, encoder = np.random.default_rng(4), {"name": "delf and global", "pca": "p", "pooling": "gem"}
    local = {name: random_photo(generator, 30) for name in ("a.jpg", "b.jpg", "c.jpg")}
    vectors = {"a.jpg": at(10), "b.jpg": at(40), "c.jpg": at(80)}
    write_global(tmp_path / "photos.h5", vectors, local, encoder=encoder)
    keypoints, descriptors = local["c.jpg"]
    moved = keypoints @ [[0.9, 0.3], [-0.3, 0.9]] + [50, 20]
    write_global(tmp_path / "queries.h5", {"q": at(0)}, {"q": (moved, descriptors)}, encoder=encoder)
    return local


def test_a_global_shortlist_is_verified_by_local_features(tmp_path):
    local = both(tmp_path)
    index = make(tmp_path, "--searcher=global")
    assert index.provenance.encoder == {"name": "global", "pooling": "gem"}
    assert rank(tmp_path)[0] == [["a", "b", "c"]]
    names, scores, settings = rank(tmp_path, "--rerank=ransac", "--num_rerank=3", "--overwrite")
    assert names[0] == ["c", "a", "b"] and int(scores[0, 0]) == 30 and (scores[0, 1:] < 5).all()
    assert settings["search_distance"] == 0.9 and "correspondences" not in settings
    matches = load_ranked_matches(tmp_path / "r.npz")
    found = matches.find(0, 2)
    assert found.verified and {tuple(point) for point in found.points[:, 2:]} == {
        tuple(point) for point in np.float32(local["c.jpg"][0])
    }
    assert rank(tmp_path, "--rerank=ransac", "--num_rerank=2", "--overwrite")[0][0] == ["a", "b", "c"]
    names, scores, _ = rank(tmp_path, "--rerank=ransac,alpha_qe", "--qe_k=1", "--overwrite")
    query = np.array([1, 0]) + np.cos(np.radians(80)) ** 3 * np.array(at(80))  # the photo that was verified
    similarities = np.array([at(10), at(40), at(80)]) @ query / np.linalg.norm(query)
    np.testing.assert_allclose(scores[0], np.sort(similarities)[::-1], rtol=1e-5)


def test_fused_scores_by_hand():
    scores = fused_scores(np.array([0.9, 0.8, 0.2, -0.1]), np.array([0, 35, 70, 500]), 0.5, 70)
    np.testing.assert_allclose(scores, [0.9, 1.05, 0.7, 0.4])


def test_similarity_and_inliers_are_added_up(tmp_path):
    """near and far show the query's 40 points, shares 20 of them, other none; 40 inliers count as 30 do."""
    generator = np.random.default_rng(0)
    points, rows = random_photo(generator, 40)
    degrees = {"other.jpg": 20, "near.jpg": 40, "shares.jpg": 30, "far.jpg": 75, "last.jpg": 170}
    local = {name: random_photo(generator, 40) for name in degrees}
    local.update({"near.jpg": (points, rows), "far.jpg": (points, rows), "shares.jpg": (points[:20], rows[:20])})
    write_global(tmp_path / "photos.h5", {name: at(angle) for name, angle in degrees.items()}, local)
    write_global(tmp_path / "queries.h5", {"q": at(0)}, {"q": (points, rows)})
    make(tmp_path, "--searcher=global")
    options = ("--rerank=ransac,fusion", "--num_rerank=4", "--fusion_inliers=30")
    names, scores, settings = rank(tmp_path, *options)
    matches = load_ranked_matches(tmp_path / "r.npz")
    chance = len(matches.find(0, 3).points)  # of other
    cosines = np.cos(np.radians([40, 30, 75, 20]))
    expected = cosines + np.array([30, 20, 30, chance]) / 30
    assert chance < 8 and names[0] == ["near", "shares", "far", "other", "last"]
    np.testing.assert_allclose(scores[0, :4], expected, atol=2e-6)
    assert scores[0, 4] == pytest.approx(np.cos(np.radians(170)), abs=1e-6)
    assert settings["fusion_weight"] == 1 and settings["rerank"] == "ransac,fusion"
    _, scores, _ = rank(tmp_path, *options, "--fusion_weight=0", "--overwrite")
    np.testing.assert_allclose(scores[0], np.cos(np.radians(sorted(degrees.values()))), atol=1e-6)
    for steps in ("fusion", "fusion,ransac", "ransac,alpha_qe,fusion"):
        with pytest.raises(UserError, match="fusion adds the inliers that ransac has counted; give ransac,fusion"):
            rank(tmp_path, f"--rerank={steps}", "--overwrite")
    with pytest.raises(UserError, match="fusion_weight has no effect"):
        rank(tmp_path, "--rerank=ransac", "--fusion_weight=2", "--overwrite")


def test_both_kinds_of_one_file_are_compared_with_files_of_one_kind(tmp_path):
    both(tmp_path)
    make(tmp_path, "--searcher=global")
    write_global(tmp_path / "alone.h5", {"q": at(80)}, **GLOBAL_ONLY)
    assert rank(tmp_path, queries="alone.h5")[0] == [["c", "b", "a"]]
    write_global(tmp_path / "alone.h5", {"q": at(80)}, {"q": random_photo(np.random.default_rng(0), 9)}, **GLOBAL_ONLY)
    with pytest.raises(UserError, match=r"made otherwise than the index \(name, pca, pooling\)"):
        rank(tmp_path, "--rerank=ransac", "--overwrite", queries="alone.h5")
    build([f"--features={tmp_path}/photos.h5", f"--output={tmp_path}/index", "--overwrite"])
    assert load_index(tmp_path / "index").provenance.encoder == {"name": "delf", "pca": "p"}


def test_types_by_size():
    assert choose_global_type(200_000, 2048) == "Flat"
    assert choose_global_type(1_000_000, 2048) == "IVF1024,PQ64" and choose_global_type(300_000, 40) == "IVF512,PQ40"
    for index_type in ("PCA4,Flat", "LSH", "IVF0,Flat", "nonsense"):
        with pytest.raises(UserError, match="`index_type`"):
            make_product_index(index_type, 8)


def test_the_descriptors_of_a_file_as_rows(place):
    with FeatureFile(place / "photos.h5") as file:
        rows = file.global_descriptors(["c.jpg", "a.jpg"])
        assert rows.dtype == np.float32 and file.global_descriptors([]).shape == (0, 0)
        np.testing.assert_allclose(rows, [at(80), at(10)], rtol=1e-6)
    write_global(place / "odd.h5", {"a.jpg": at(0), "b.jpg": [0, 1, 0]})
    with FeatureFile(place / "odd.h5") as file, pytest.raises(UserError, match=r"descriptor of b\.jpg has another"):
        file.global_descriptors(["a.jpg", "b.jpg"])
    with pytest.raises(UserError, match=r"\[2, 3\] dimensions"):
        build([f"--features={place}/odd.h5", f"--output={place}/index"])
