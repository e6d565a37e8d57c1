"""Indexes of ASMK, ASMK* and VLAD by the real commands, on small feature files written by hand."""

import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
from handmade_features import DIMENSION, random_photo, write_features, write_global

from src.artifacts import sha256_of
from src.commands.build_index import main as build
from src.commands.learn_codebook import main as learn_codebook
from src.commands.perform_retrieval import main as retrieve
from src.config import Config
from src.errors import UserError
from src.features.feature_file import FeatureFile
from src.records import LocalFeatures, Provenance
from src.retrieval.aggregation import (
    Kernel,
    asmk,
    asmk_star,
    code_bits,
    idf,
    nearest_words,
    similarity,
    sum_residuals,
    vlad,
)
from src.retrieval.asmk_searcher import AsmkSearcher, VladSearcher
from src.retrieval.codebook import Codebook, choose_size, learn, load_codebook, save_codebook
from src.retrieval.index import load_index
from src.retrieval.index_folder import POSTING_FILES, read_manifest, tie_order
from src.retrieval.ranking_file import load_ranked_matches, load_ranking
from src.retrieval.rerank import idle_keys, search_settings, steps_of
from src.retrieval.word_index import AsmkIndex, load_asmk_index, load_vlad_index, new_vlad_index

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {"a.jpg": 60, "b/c.jpg": 45, "d.jpg": 0, "e.png": 1, "f.jpg": 80}
WORDS = ("asmk", "asmk_star", "vlad")


@pytest.fixture
def local():
    generator = np.random.default_rng(7)
    return {name: random_photo(generator, count) for name, count in COUNTS.items()}


@pytest.fixture
def place(tmp_path, local):
    """photos.h5, and queries.h5: the photo f turned and moved with noise, one without features, one of noise."""
    write_features(tmp_path / "photos.h5", local)
    generator = np.random.default_rng(8)
    keypoints, descriptors = local["f.jpg"]
    descriptors = descriptors[:50] + 0.03 * generator.normal(size=(50, DIMENSION))
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    turned = keypoints[:50] @ [[0.9, 0.3], [-0.3, 0.9]] + [50, 20]
    queries = {"q": (turned, descriptors), "nothing": random_photo(generator, 0), "noise": random_photo(generator, 30)}
    write_features(tmp_path / "queries.h5", queries)
    return tmp_path


def make(place, searcher, *options, features="photos.h5", output="index"):
    build([f"--features={place / features}", f"--output={place / output}", f"--searcher={searcher}", *options])
    return (load_vlad_index if searcher == "vlad" else load_asmk_index)(place / output)


def rank(place, *options, index="index"):
    """Names and scores of each query, and the settings."""
    files = [f"--index={place / index}", f"--query_features={place}/queries.h5", f"--output={place}/r.npz"]
    retrieve([*files, "--overwrite", *options])
    ranking, provenance = load_ranking(place / "r.npz")
    rows = zip(ranking.query_names, ranking.ranks, ranking.scores)
    return {
        name: {ranking.index_names[n]: float(score) for n, score in zip(ranks, scores)} for name, ranks, scores in rows
    }, provenance.settings


def sums(descriptors, words, count):
    return sum_residuals(np.float32(descriptors), words, nearest_words(np.float32(descriptors), words, count))


@pytest.mark.parametrize(
    "searcher, family, index_assignments, query_assignments, with_idf",
    [
        ("vlad", None, 1, 1, False),
        ("vlad", None, 2, 3, False),
        *((form, *how) for form in ("asmk", "asmk_star") for how in (
            ("tf_delf", 1, 1, False), ("tf_delf", 2, 3, True), ("jenicek", 1, 5, False), ("jenicek", 1, 3, True)
        )),
    ],
)  # fmt: skip
def test_scores_are_those_of_the_pure_functions(
    place, local, searcher, family, index_assignments, query_assignments, with_idf
):
    options = [f"--asmk_family={family}"] if family else []
    index = make(place, searcher, "--codebook_size=8", f"--index_assignments={index_assignments}", *options)
    words = index.codebook.words
    how = [] if not family else ["--asmk_alpha=2", "--asmk_threshold=-0.2", f"--asmk_idf={with_idf}"]
    found, settings = rank(place, "--rerank=none", f"--query_assignments={query_assignments}", *how)
    assert settings["searcher"] == searcher and settings["rerank"] == "none" and "num_neighbors" not in settings
    with FeatureFile(place / "queries.h5") as queries:
        queries = {name: features.descriptors for name, features in queries}
    if searcher == "vlad":
        form, compare = lambda found: vlad(found, 8), lambda a, b: float(a @ b)
    else:
        form = lambda found: (asmk_star if searcher == "asmk_star" else asmk)(found, family)  # noqa: E731
        photos = {name: form(sums(local[name][1], words, index_assignments)) for name in COUNTS}
        counts = np.bincount(np.concatenate([photo.numbers for photo in photos.values()]), minlength=8)
        weights = idf(counts, len(COUNTS)) if with_idf else None
        bits = code_bits(DIMENSION, family) if searcher == "asmk_star" else 0
        compare = lambda a, b: similarity(a, b, Kernel(family, 2, -0.2), bits, weights)  # noqa: E731
    for name, descriptors in queries.items():
        query = form(sums(descriptors, words, query_assignments))
        expected = {
            photo.split(".")[0]: compare(query, form(sums(local[photo][1], words, index_assignments)))
            for photo in COUNTS
        }
        assert found[name] == pytest.approx(expected, abs=2e-6), name


@pytest.mark.parametrize("searcher", WORDS)
def test_the_photo_shown_is_first_and_verified(place, local, searcher):
    make(place, searcher)
    found, settings = rank(place, "--rerank=none")
    assert next(iter(found["q"])) == "f"
    assert settings["rerank"] == "none"
    found, settings = rank(place, "--rerank=ransac")
    assert next(iter(found["q"])) == "f" and int(found["q"]["f"]) >= 45
    assert max(found["noise"].values()) < 10 and settings["ransac_residual"] == 20 and settings["num_rerank"] == 100
    matches = load_ranked_matches(place / "r.npz").find(2, 4)
    assert matches.verified and len(matches.points) >= 45
    names = [name.split(".")[0] for name in sorted(COUNTS)]
    order = [names[n] for n in np.argsort(tie_order(names, 0))]
    assert [name for name in found["nothing"]] == order or searcher == "vlad"


def test_ransac_comes_by_itself_after_asmk_alone():
    config = Config()
    assert steps_of(config.retrieval, "asmk_star") == steps_of(config.retrieval, "asmk") == ("ransac",)
    assert steps_of(config.retrieval, "vlad") == ()
    settings = search_settings(config.retrieval, config.matching, 0, "asmk_star")
    assert settings["rerank"] == "ransac" and settings["asmk_bits"] == 0 and "asmk_family" not in settings
    assert "asmk_bits" in idle_keys(config.retrieval, "asmk") and "index_type" in idle_keys(config.retrieval, "asmk")
    assert "codebook_size" in idle_keys(config.retrieval, "votes")


def test_similarities_of_words_are_fused_with_inliers(place):
    make(place, "asmk_star", "--codebook_size=4")
    plain, _ = rank(place, "--rerank=none")
    fused, settings = rank(place, "--rerank=ransac,fusion")
    inliers = {name: max(0, int(score)) for name, score in rank(place)[0]["q"].items()}
    for name, score in fused["q"].items():
        assert score == pytest.approx(plain["q"][name] + min(inliers[name], 70) / 70, abs=1e-5)
    assert settings["fusion_inliers"] == 70 and next(iter(fused["q"])) == "f"


def test_vlad_takes_the_steps_of_vectors(place):
    make(place, "vlad", "--codebook_size=4")
    found, _ = rank(place, "--rerank=dba,alpha_qe,diffusion,superglobal,ransac", "--dba_k=1", "--qe_k=2")
    assert next(iter(found["q"])) == "f"


@pytest.mark.parametrize("searcher", WORDS)
def test_photos_added_later_leave_the_bytes_of_all_at_once(place, local, searcher):
    first, second = (dict(list(local.items())[part]) for part in (slice(3), slice(3, None)))
    for name, photos in (("first", first), ("second", second)):
        write_features(place / f"{name}.h5", photos, sources={"photos": name})
    learn_codebook([f"--features={place}/photos.h5", f"--output={place}/words.npz", "--codebook_size=8"])
    shared = f"--codebook_path={place}/words.npz"
    make(place, searcher, shared, features="first.h5")
    for _ in range(2):
        build([f"--features={place}/second.h5", f"--output={place}/index", "--add"])
    both = ["--features", f"{place}/first.h5", f"{place}/second.h5"]
    build([*both, f"--output={place}/whole", f"--searcher={searcher}", shared])
    files = [{p.name: p.read_bytes() for p in (place / name).iterdir()} for name in ("index", "whole")]
    assert set(files[0]) == set(files[1])
    different = [name for name in files[0] if files[0][name] != files[1][name]]
    assert set(different) <= {"index.json"}
    manifests = [read_manifest(place / name) for name in ("index", "whole")]
    assert manifests[0].provenance.settings == manifests[1].provenance.settings
    assert manifests[0].provenance.sources["added"] == [sha256_of(place / "second.h5")]
    found = [rank(place, "--rerank=none", index=name)[0] for name in ("index", "whole")]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "searcher, options, said",
    [
        ("asmk_star", ["--codebook_size=500"], "186 descriptors are too few for a codebook of 500 words"),
        ("asmk_star", ["--index_type=Flat"], "--index_type has no effect with --searcher asmk_star"),
        ("vlad", ["--index_type=Flat"], "--index_type has no effect with --searcher vlad"),
        ("vlad", ["--asmk_family=jenicek"], "--asmk_family has no effect with --searcher vlad"),
        ("vlad", ["--codebook_size=100000"], "make too long a vector; at most 16384"),
        ("votes", ["--codebook_size=9"], "--codebook_size has no effect with --searcher votes"),
        ("auto", ["--codebook_path=x.npz"], "--codebook_path has no effect with --searcher auto"),
        ("asmk", ["--codebook_path=x.npz", "--codebook_size=9"], "--codebook_size has no effect"),
        ("asmk", ["--codebook_path=gone.npz"], "gone.npz: no such file"),
        ("asmk", ["--asmk_bits=64"], "--asmk_bits has no effect on"),
        ("asmk", ["--asmk_family=mine"], "`asmk_family`|--asmk_family"),
    ],
)
def test_what_cannot_be_built_is_refused(place, searcher, options, said):
    with pytest.raises(UserError, match=said):
        build([f"--features={place}/photos.h5", f"--output={place}/index", f"--searcher={searcher}", *options])
    assert not (place / "index").exists()


@pytest.mark.parametrize(
    "searcher, options, said",
    [
        ("asmk", ["--asmk_bits=64"], "--asmk_bits has no effect on this index"),
        ("vlad", ["--asmk_alpha=2"], "--asmk_alpha has no effect on this index"),
        ("asmk_star", ["--asmk_bits=15"], "`asmk_bits` is 15; the codes have 16"),
        ("asmk_star", ["--codebook_size=9"], "--codebook_size has no effect on"),
        ("asmk_star", ["--rerank=aqe"], "aqe is for an index of global descriptors"),
        ("asmk_star", ["--rerank=none", "--num_rerank=9"], "--num_rerank has no effect"),
        ("asmk_star", ["--nprobe=9"], "--nprobe has no effect"),
    ],
)
def test_what_does_nothing_to_a_search_is_refused(place, searcher, options, said):
    make(place, searcher, "--codebook_size=4")
    with pytest.raises(UserError, match=said):
        rank(place, *options)


def test_changed_options_are_refused_with_the_way_out(place):
    make(place, "asmk_star", "--codebook_size=4")
    for options, names in (
        (["--codebook_size=5"], "codebook_size"),
        (["--codebook_size=4", "--asmk_family=jenicek"], "asmk_family"),
        (["--codebook_size=4", "--index_assignments=2"], "index_assignments"),
        (["--codebook_size=4", "--seed=1"], "seed"),
    ):
        with pytest.raises(UserError, match=rf"other settings \({names}\); give `overwrite`"):
            make(place, "asmk_star", *options)
    with pytest.raises(UserError, match=r"other settings \(.*searcher.*\)"):
        make(place, "asmk", "--codebook_size=4")
    assert make(place, "asmk", "--codebook_size=4", "--overwrite").postings.codes.dtype == np.float32


def test_codebooks_of_other_descriptors_are_refused(place):
    (place / "photos.txt").write_text("words")
    with pytest.raises(UserError, match="not a .npz file; give one made with"):
        make(place, "asmk", f"--codebook_path={place}/photos.txt")
    np.savez(place / "pca.npz", mean=np.zeros(3))
    with pytest.raises(UserError, match="not a codebook"):
        make(place, "asmk", f"--codebook_path={place}/pca.npz")
    words = np.eye(DIMENSION)
    save_codebook(place / "other.npz", Codebook(words, Provenance("bb")))
    with pytest.raises(UserError, match=r"learnt from other descriptors .*\(weights\)"):
        make(place, "asmk", f"--codebook_path={place}/other.npz")
    save_codebook(place / "other.npz", Codebook(words[:, :5], Provenance("aa")))
    with pytest.raises(UserError, match=r"\(5 dimensions, not 16\)"):
        make(place, "asmk", f"--codebook_path={place}/other.npz")
    with pytest.raises(ValueError, match="not finite"):
        Codebook(np.full((2, 2), np.nan))


def test_photos_without_local_features_and_of_other_weights_are_refused(place, local):
    write_global(place / "global.h5", {"x.jpg": [1, 0]})
    with pytest.raises(UserError, match="no local features"):
        make(place, "asmk", features="global.h5")
    write_features(place / "blank.h5", {"x.jpg": random_photo(np.random.default_rng(0), 0)})
    with pytest.raises(UserError, match="its photos have no local features; extract again"):
        make(place, "vlad", features="blank.h5")
    make(place, "asmk_star")
    photos = {"z.jpg": local["a.jpg"]}
    write_features(place / "other.h5", photos, weights="bb")
    with pytest.raises(UserError, match="other settings"):
        build([f"--features={place}/other.h5", f"--output={place}/index", "--add"])
    write_features(place / "queries.h5", photos, weights="bb")
    with pytest.raises(UserError, match=r"made otherwise than the index \(weights\)"):
        rank(place)
    with pytest.raises(UserError, match="an index of visual words, where one of local features"):
        load_index(place / "index")


@pytest.mark.parametrize("searcher, name", [("asmk_star", POSTING_FILES[2]), ("vlad", "codebook.npz")])
def test_damage_is_told(place, searcher, name):
    make(place, searcher)
    damaged = place / "index" / name
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UserError, match=rf"{name}: damaged"):
        rank(place)
    damaged.unlink()
    with pytest.raises(UserError, match=f"damaged index: no {name}"):
        rank(place)
    with pytest.raises(UserError, match="feature file|features|photos.h5"):
        make(place, searcher, "--overwrite")
        (place / "photos.h5").unlink()
        rank(place, "--rerank=ransac")


def test_the_size_is_said(place, capsys):
    make(place, "asmk_star", "--codebook_size=8")
    assert "5 photos, 25 words of photos, asmk_star of 8 words: " in capsys.readouterr().out
    make(place, "vlad", "--codebook_size=8", output="v")
    assert "5 photos, 5 vectors, vlad of 8 words: " in capsys.readouterr().out


def test_a_codebook_is_learnt_kept_and_refused(place, capsys):
    command = [f"--features={place}/photos.h5", f"--output={place}/words.npz", "--codebook_size=6"]
    learn_codebook(command)
    assert "words.npz: 6 words of 16 numbers" in capsys.readouterr().out
    made = (place / "words.npz").stat().st_mtime_ns
    learn_codebook(command)
    assert (place / "words.npz").stat().st_mtime_ns == made
    with pytest.raises(UserError, match=r"other settings \(codebook_size\)"):
        learn_codebook([*command[:2], "--codebook_size=7"])
    again = learn(load_codebook(place / "words.npz").words, 6, 0).words
    assert sorted(map(tuple, again)) == sorted(map(tuple, load_codebook(place / "words.npz").words))
    assert [choose_size(n) for n in (0, 100, 1000, 218_000, 5_000_000, 10**8)] == [1, 2, 16, 2048, 16384, 32768]


def test_words_are_near_their_descriptors():
    """Four groups of descriptors far from one another have a word each, their mean."""
    generator = np.random.default_rng(0)
    centres = 10 * np.eye(4, 6)
    rows = (centres[np.arange(200) % 4] + 0.01 * generator.normal(size=(200, 6))).astype(np.float32)
    words = learn(rows, 4, 0).words
    np.testing.assert_allclose(words[nearest_words(centres, words)[:, 0]], centres, atol=0.01)


def test_many_words_are_found_by_a_graph(monkeypatch):
    monkeypatch.setattr("src.retrieval.codebook._EXACT_WORDS", 500)
    generator = np.random.default_rng(0)
    words = generator.normal(size=(501, 4)).astype(np.float32)
    codebook, rows = Codebook(words), generator.normal(size=(40, 4)).astype(np.float32)
    assert isinstance(codebook.finder, faiss.IndexHNSWFlat)
    assert (codebook.assign(rows, 2) == nearest_words(rows, words, 2)).mean() > 0.95


def features_of(photo):
    keypoints, descriptors = photo
    ones = np.ones(len(keypoints))
    return LocalFeatures(keypoints, ones, ones, descriptors, (1000, 1000))


@pytest.mark.parametrize("searcher", WORDS)
def test_searchers_work_in_memory(local, searcher):
    settings = {"searcher": searcher, "codebook_size": 4, "seed": 0, "index_assignments": 1}
    provenance = Provenance(settings=settings)
    if searcher == "vlad":
        found = VladSearcher(new_vlad_index(DIMENSION, provenance=provenance))
    else:
        found = AsmkSearcher(AsmkIndex(provenance=provenance))
    found.fit(np.float32(local["f.jpg"][1]))
    for name, photo in local.items():
        found.add([name], [features_of(photo)])
    result = found.search(features_of(local["f.jpg"]), 2)
    assert found.index.names[result.photos[0]] == "f" and len(result) == 2
    assert result.scores[0] == pytest.approx(1, abs=1e-5)


_KILLED = """
import sys
sys.path[:0] = [{root!r}]
from src.retrieval import inverted_file
write = inverted_file.PostingWriter.{method}
def slow(*arguments):
    result = write(*arguments)
    print("now", flush=True)
    import time
    time.sleep(30)
    return result
inverted_file.PostingWriter.{method} = slow
from src.commands.build_index import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("method, is_there", [("add", False), ("finish", True)])
def test_a_killed_build_leaves_the_old_index_and_is_built_again(place, method, is_there):
    command = [f"--features={place}/photos.h5", f"--output={place}/index", "--searcher=asmk_star", "--codebook_size=8"]
    if is_there:
        make(place, "asmk_star", "--codebook_size=3")
        command.append("--overwrite")
    script = _KILLED.format(root=str(ROOT), method=method)
    process = subprocess.Popen([sys.executable, "-c", script, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "now\n"
    process.kill()
    process.wait()
    if is_there:
        assert len(load_asmk_index(place / "index").codebook) == 3
    else:
        assert not (place / "index").exists()
    build(command)
    assert len(load_asmk_index(place / "index").codebook) == 8
    assert not [path for path in place.iterdir() if path.name.startswith(".")]
