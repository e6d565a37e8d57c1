"""Regional forms of VLAD, ASMK and ASMK*: TensorFlow DELF's numbers, slow twins, and the commands."""

import csv

import numpy as np
import pytest
from handmade_features import random_photo, write_features

from src.commands.build_index import main as build
from src.commands.learn_codebook import main as learn_codebook
from src.commands.perform_retrieval import main as retrieve
from src.config import Config
from src.errors import UserError
from src.features.regions import region_grid
from src.retrieval.aggregation import (
    Kernel,
    Words,
    asmk,
    asmk_star,
    code_bits,
    idf,
    join_regions,
    nearest_words,
    similarity,
    sum_residuals,
    vlad,
)
from src.retrieval.build import add_to_index
from src.retrieval.index_folder import read_manifest
from src.retrieval.ranking_file import load_ranking
from src.retrieval.rerank import idle_index_keys
from src.retrieval.word_index import load_asmk_index, load_vlad_index

# Of feature_aggregation_extractor_test and feature_aggregation_similarity_test: words, features, expected values
WORDS = np.array([[0.5, 0.5], [0, 0], [1, 0], [-0.5, -0.5], [0, 1]], np.float32)
FEATURES = np.array([[1, 0], [-1, 0], [1, 2], [0, 2]], np.float32)
COUNTS = {"a.jpg": 60, "b/c.jpg": 45, "d.jpg": 0, "e.png": 1, "f.jpg": 80}
SEARCHERS = ("asmk", "asmk_star", "vlad")


def sums(descriptors, words=WORDS, count=1):
    return sum_residuals(np.float32(descriptors), words, nearest_words(np.float32(descriptors), words, count))


def dense(words, num_words):
    """[K * D], not normalised."""
    rows = np.zeros((num_words, words.vectors.shape[1]))
    rows[words.numbers] = words.vectors
    return rows.ravel()


def test_forms_of_whole_photos_are_those_of_tf_delf():
    found = sums(FEATURES[:3])
    np.testing.assert_allclose(vlad(found, 5), [0] * 6 + [-0.316228, 0.316228, 0.632456, 0.632456], atol=1e-6)
    np.testing.assert_allclose(dense(found, 5), [0] * 6 + [-0.5, 0.5, 1, 1], atol=1e-6)
    np.testing.assert_allclose(dense(sums(FEATURES[:3], count=3), 5), [1, 1, 0, 0, 0, 2, -0.5, 0.5, 0, 0], atol=1e-6)
    assert vlad(sums(np.zeros((0, 2))), 5).tolist() == [0] * 10
    assert asmk(found).numbers.tolist() == asmk_star(found).numbers.tolist() == [3, 4]
    np.testing.assert_allclose(asmk(found).vectors.ravel(), [-0.707107, 0.707107, 0.707107, 0.707107], atol=1e-6)
    assert asmk_star(found).vectors.ravel().tolist() == [64, 192]
    several = asmk(sums(FEATURES[:3], count=3))
    assert several.numbers.tolist() == [0, 2, 3]
    np.testing.assert_allclose(several.vectors.ravel(), [0.707107, 0.707107, 0, 1, -0.707107, 0.707107], atol=1e-6)


@pytest.mark.parametrize(
    "regions, mean",
    [
        ([FEATURES[:3], FEATURES[3:]], [-0.158114, 0.158114, 0.316228, 0.816228]),
        ([FEATURES[:0], FEATURES[:3], FEATURES[:0], FEATURES[3:]], [-0.079057, 0.079057, 0.158114, 0.408114]),
    ],
)
def test_regional_forms_are_those_of_tf_delf(regions, mean):
    found = join_regions([sums(rows) for rows in regions])
    np.testing.assert_allclose(dense(found, 5), [0] * 6 + mean, atol=1e-6)
    np.testing.assert_allclose(vlad(found, 5), [0] * 6 + [-0.175011, 0.175011, 0.350021, 0.903453], atol=1e-6)
    assert asmk(found).numbers.tolist() == [3, 4] and asmk_star(found).vectors.ravel().tolist() == [64, 192]
    np.testing.assert_allclose(asmk(found).vectors.ravel(), [-0.707107, 0.707107, 0.361261, 0.932465], atol=1e-6)
    empty = join_regions([sums(FEATURES[:0])] * 3)
    assert vlad(empty, 5).tolist() == [0] * 10 and not len(asmk(empty).numbers)


def test_similarities_are_those_of_tf_delf():
    assert np.dot(np.arange(5), np.arange(5, 10)) == 80
    rows = [0, 0, -0.707107, -0.707107, 0.5, 0.866025, 0.816497, 0.577350, 1, 0]
    ours, theirs = Words(np.arange(5), np.reshape(rows, (5, 2))), np.array([[0, 1], [1, 0], [0.707107, 0.707107]])
    found = similarity(ours, Words(np.array([1, 2, 4]), theirs), Kernel())
    assert found == pytest.approx(0.123562, abs=1e-6) and found * np.sqrt(15) == pytest.approx(0.478554, abs=1e-5)
    signs = [np.array([[code] for code in codes], np.uint8) for codes in ((0, 0, 3, 3, 3), (1, 2, 3))]
    star = similarity(Words(np.arange(5), signs[0]), Words(np.array([1, 2, 4]), signs[1]), Kernel(), code_bits(2))
    assert star == pytest.approx(0.258199, abs=1e-6)


@pytest.fixture
def local():
    generator = np.random.default_rng(7)
    return {name: random_photo(generator, count) for name, count in COUNTS.items()}


BOXES = [("a.jpg", 0, 0, 500, 1000, 0.9), ("a.jpg", 400, 400, 900, 900, 0.3), ("f", 10, 10, 600, 700, 0.8),
         ("c.jpg", 0, 0, 2, 2, 0.7), ("e.png", 0, 0, 999, 999, 0.1), ("other.jpg", 0, 0, 1, 1, 1)]  # fmt: skip


def write_boxes(path, rows=tuple(BOXES)):
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([("photo", "x1", "y1", "x2", "y2", "score"), *rows])


@pytest.fixture
def place(tmp_path, local):
    """photos.h5, queries.h5 (half of f with noise; one without features) and boxes.csv; photos of 1000 x 1000."""
    write_features(tmp_path / "photos.h5", local)
    generator = np.random.default_rng(8)
    keypoints, descriptors = local["f.jpg"]
    noisy = descriptors[:40] + 0.05 * generator.normal(size=(40, descriptors.shape[1]))
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    write_features(tmp_path / "queries.h5", {"q": (keypoints[:40], noisy), "nothing": random_photo(generator, 0)})
    write_boxes(tmp_path / "boxes.csv")
    return tmp_path


def make(place, searcher, *options, features="photos.h5", output="index"):
    build([f"--features={place / features}", f"--output={place / output}", f"--searcher={searcher}", *options])
    return (load_vlad_index if searcher == "vlad" else load_asmk_index)(place / output)


def rank(place, *options, index="index"):
    """Names and scores of each query."""
    files = [f"--index={place / index}", f"--query_features={place}/queries.h5", f"--output={place}/r.npz"]
    retrieve([*files, "--overwrite", *options])
    ranking, _ = load_ranking(place / "r.npz")
    rows = zip(ranking.query_names, ranking.ranks, ranking.scores)
    return {
        name: {ranking.index_names[n]: float(score) for n, score in zip(ranks, scores)} for name, ranks, scores in rows
    }


def regions_of(name, keypoints, kind):
    """Rows of each region, by loops: the whole photo, then squares or boxes of score 0.25 or more."""
    boxes = [(0, 0, 1000, 1000)]
    if kind == "grid":
        boxes += [tuple(box) for box in region_grid(1000, 1000, 2).tolist() if tuple(box) != (0, 0, 1000, 1000)]
    if kind == "boxes":
        stem = name.rsplit("/", 1)[-1].split(".")[0]
        boxes += [row[1:5] for row in BOXES if row[0].split(".")[0] == stem and row[5] >= 0.25]
    return [
        [n for n, (x, y) in enumerate(keypoints) if not place or (x1 <= x + 0.5 < x2 and y1 <= y + 0.5 < y2)]
        for place, (x1, y1, x2, y2) in enumerate(boxes)
    ]


def slow_rvlad(descriptors, regions, words):
    """[K, D] float64: the mean of the regions' unit vectors, number by number."""
    total = np.zeros(words.shape)
    for rows in regions:
        own = np.zeros(words.shape)
        for row in rows:
            word = np.argmin([float(((descriptors[row] - each) ** 2).sum()) for each in words])
            own[word] += descriptors[row] - words[word]
        total += own / (np.linalg.norm(own) or 1)
    return total / len(regions)


def words_of(dense_rows, form):
    """The words of a photo that a twin's [K, D] has."""
    numbers = np.flatnonzero(np.linalg.norm(dense_rows, axis=1) > 1e-6)
    return form(Words(numbers, dense_rows[numbers]))


KINDS = {
    "grid": ["--regions=grid"],
    "boxes": ["--regions=boxes", "--boxes_path={}/boxes.csv", "--least_box_score=0.25"],
}


@pytest.mark.parametrize("searcher", SEARCHERS)
@pytest.mark.parametrize("kind", list(KINDS))
def test_scores_are_those_of_a_slow_twin(place, local, searcher, kind):
    words = make(place, searcher, "--codebook_size=6", *(part.format(place) for part in KINDS[kind])).codebook.words
    form = {"asmk": asmk, "asmk_star": asmk_star}.get(searcher)
    query = slow_rvlad(*query_of(place), words)
    for name, score in rank(place, "--rerank=none")["q"].items():
        full = next(photo for photo in COUNTS if photo.rsplit(".", 1)[0] == name)
        keypoints, descriptors = local[full]
        photo = slow_rvlad(np.float32(descriptors), regions_of(full, np.float32(keypoints), kind), words)
        if form is None:
            norms = np.linalg.norm(query) * (np.linalg.norm(photo) or 1)
            expected = float((query * photo).sum()) / norms
        else:
            bits = code_bits(words.shape[1]) if searcher == "asmk_star" else 0
            expected = similarity(words_of(query, form), words_of(photo, form), Kernel(), bits)
        assert score == pytest.approx(expected, abs=3e-6), name


def query_of(place):
    from src.features.feature_file import FeatureFile

    with FeatureFile(place / "queries.h5") as queries:
        descriptors = queries.read("q").descriptors
    return descriptors, [range(len(descriptors))]


@pytest.mark.parametrize("searcher", ["asmk", "asmk_star"])
@pytest.mark.parametrize("with_idf", [False, True])
def test_region_search_gives_a_photo_its_best_regions_similarity(place, local, searcher, with_idf):
    options = [part.format(place) for part in KINDS["boxes"]]
    index = make(place, searcher, "--codebook_size=6", *options, "--region_search")
    words, form = index.codebook.words, {"asmk": asmk, "asmk_star": asmk_star}[searcher]
    entries = {}
    for name in sorted(COUNTS):
        keypoints, descriptors = (np.float32(part) for part in local[name])
        entries[name] = [
            form(sums(descriptors[rows].reshape(len(rows), -1), words)) if rows else form(sums(descriptors[:0], words))
            for rows in regions_of(name, keypoints, "boxes")
        ]
    assert index.region_starts.tolist() == np.cumsum([0, *map(len, entries.values())]).tolist() and len(index) == 5
    flat = [entry for own in entries.values() for entry in own]
    counts = np.bincount(np.concatenate([entry.numbers for entry in flat]), minlength=6)
    weights, bits = idf(counts, len(flat)) if with_idf else None, code_bits(16) if searcher == "asmk_star" else 0
    query = form(sums(query_of(place)[0], words))
    found = rank(place, "--rerank=none", f"--asmk_idf={with_idf}")
    for name, own in entries.items():
        expected = max(similarity(query, entry, Kernel(), bits, weights) for entry in own)
        assert found["q"][name.rsplit(".", 1)[0]] == pytest.approx(expected, abs=3e-6), name
    assert set(found["nothing"].values()) == {-1}
    assert next(iter(rank(place)["q"])) == "f"  # RANSAC reads the photo, whichever region was found


@pytest.mark.parametrize("searcher", SEARCHERS)
@pytest.mark.parametrize("options", [["grid"], ["boxes"], ["boxes", "--region_search"]])
def test_photos_added_later_leave_the_bytes_of_all_at_once(place, local, searcher, options):
    if searcher == "vlad" and len(options) > 1:
        return
    regions = [*(part.format(place) for part in KINDS[options[0]]), *options[1:]]
    first, second = (dict(list(local.items())[part]) for part in (slice(3), slice(3, None)))
    for name, photos in (("first", first), ("second", second)):
        write_features(place / f"{name}.h5", photos, sources={"photos": name})
    learn_codebook([f"--features={place}/photos.h5", f"--output={place}/words.npz", "--codebook_size=8"])
    shared = [f"--codebook_path={place}/words.npz", *regions]
    make(place, searcher, *shared, features="first.h5")
    for _ in range(2):
        more = [f"--boxes_path={place}/boxes.csv"] if options[0] == "boxes" else []
        build([f"--features={place}/second.h5", f"--output={place}/index", "--add", *more])
    both = ["--features", f"{place}/first.h5", f"{place}/second.h5"]
    build([*both, f"--output={place}/whole", f"--searcher={searcher}", *shared])
    files = [{p.name: p.read_bytes() for p in (place / name).iterdir()} for name in ("index", "whole")]
    own = {"index.json", "sources.json"}
    assert [{n: b for n, b in each.items() if n not in own} for each in files][0] == {
        n: b for n, b in files[1].items() if n not in own
    }
    assert read_manifest(place / "index").provenance.settings == read_manifest(place / "whole").provenance.settings
    assert rank(place, "--rerank=none") == rank(place, "--rerank=none", index="whole")


@pytest.mark.parametrize(
    "searcher, options, said",
    [
        ("votes", ["--regions=grid"], "--regions has no effect with --searcher votes"),
        ("asmk", ["--region_levels=3"], "--region_levels has no effect with --searcher asmk and --regions none"),
        ("asmk", ["--regions=grid", "--boxes_path=x.csv"], "--boxes_path has no effect .* and --regions grid"),
        ("asmk", ["--regions=boxes", "--boxes_path=x.csv", "--region_levels=3"], "--region_levels has no effect"),
        ("asmk", ["--region_search"], "--region_search has no effect"),
        ("vlad", ["--regions=grid", "--region_search"], "--region_search has no effect with --searcher vlad"),
        ("asmk", ["--regions=boxes"], "`boxes_path` is not set"),
        ("asmk", ["--regions=boxes", "--boxes_path=gone.csv"], r"gone.csv: no such file \(`boxes_path`\)"),
        ("asmk", ["--regions=other"], "regions"),
    ],
)
def test_what_cannot_be_built_is_refused(place, searcher, options, said):
    with pytest.raises(UserError, match=said):
        build([f"--features={place}/photos.h5", f"--output={place}/index", f"--searcher={searcher}", *options])
    assert not (place / "index").exists()


def test_a_box_outside_its_photo_leaves_no_index(place):
    write_boxes(place / "far.csv", [("a.jpg", 1000, 0, 1200, 50, 1)])
    with pytest.raises(UserError, match="the box 1000,0,1200,50 lies outside a.jpg, which has 1000 x 1000 pixels"):
        make(place, "asmk_star", "--regions=boxes", f"--boxes_path={place}/far.csv")
    assert not (place / "index").exists()


def test_other_regions_are_another_index(place):
    options = [part.format(place) for part in KINDS["boxes"]]
    make(place, "asmk_star", "--codebook_size=4", *options)
    settings = read_manifest(place / "index").provenance.settings
    assert settings["regions"] == "boxes" and settings["least_box_score"] == 0.25 and "region_search" not in settings
    make(place, "asmk_star", "--codebook_size=4", *options)
    for other, names in (
        ([], "least_box_score, regions, boxes"),
        ([*options[:2], "--least_box_score=0.5"], "least_box_score"),
        ([*options, "--region_search"], "region_search"),
        (["--regions=grid"], "least_box_score, region_levels, regions, boxes"),
    ):
        with pytest.raises(UserError, match=rf"other settings \({names}\)"):
            make(place, "asmk_star", "--codebook_size=4", *other)
    write_boxes(place / "boxes.csv", BOXES[:3])
    with pytest.raises(UserError, match=r"other settings \(boxes\)"):
        make(place, "asmk_star", "--codebook_size=4", *options)


def test_boxes_of_photos_that_are_added(place, local):
    write_features(place / "more.h5", {"new.jpg": local["a.jpg"]})
    add = [f"--features={place}/more.h5", f"--output={place}/index", "--add"]
    make(place, "asmk_star", "--regions=grid")
    with pytest.raises(UserError, match="--boxes_path has no effect on this index, whose regions are not of boxes"):
        build([*add, f"--boxes_path={place}/boxes.csv"])
    with pytest.raises(UserError, match="--regions has no effect with --add"):
        build([*add, "--regions=grid"])
    make(place, "asmk_star", *(part.format(place) for part in KINDS["boxes"]), output="b")
    with pytest.raises(UserError, match="`boxes_path` is not set"):
        add_to_index(place / "more.h5", place / "b")
    with pytest.raises(UserError, match="names none of the 1 photos"):
        add_to_index(place / "more.h5", place / "b", place / "boxes.csv")
    write_boxes(place / "new.csv", [("new", 0, 0, 300, 300, 1)])
    add_to_index(place / "more.h5", place / "b", place / "new.csv")
    assert len(load_asmk_index(place / "b")) == 6 and len(read_manifest(place / "b").provenance.sources["boxes"]) == 2


def test_an_index_does_not_take_photos_without_their_regions(place, local):
    index = make(place, "asmk_star", "--regions=grid")
    with pytest.raises(ValueError, match="regions of the photos are not known"):
        index.encode_photo("a.jpg", None, 1)


def test_keys_of_regions_without_effect():
    retrieval = Config().retrieval
    assert {"region_levels", "boxes_path", "region_search"} < set(idle_index_keys(retrieval, "asmk"))
    boxes = retrieval.replace(regions="boxes")
    assert {"boxes_path", "region_search"}.isdisjoint(idle_index_keys(boxes, "asmk"))
    assert "region_levels" in idle_index_keys(boxes, "asmk") and "region_search" in idle_index_keys(boxes, "vlad")
