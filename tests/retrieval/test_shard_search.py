"""Search over shards: byte for byte what one index of all photos finds."""

import numpy as np
import pytest
from handmade_features import write_features, write_global

from src.commands.perform_retrieval import main as perform_command
from src.config import Config
from src.errors import UserError
from src.features.feature_file import FeatureFile
from src.retrieval.build import add_to_index, build_index, compact_index, remove_from_index
from src.retrieval.index_search import Compared, open_index_search
from src.retrieval.ranking_file import load_ranking
from src.retrieval.search import perform_retrieval, rank_queries
from src.retrieval.votes import Nearest, shares_of

D = 16


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def scenes(seed=0, num_photos=23, num_queries=2, features=45):
    """Photos and queries that share descriptors and places, some of the photos the same as others."""
    generator = np.random.default_rng(seed)
    points, rows = generator.uniform(0, 900, (4, 40, 2)), unit(generator.normal(size=(160, D))).reshape(4, 40, D)

    def view(scene, shared):
        own = features - shared
        moved = points[scene, :shared] * generator.uniform(0.8, 1.2) + generator.normal(0, 2, (shared, 2))
        noisy = unit(rows[scene, :shared] + generator.normal(0, 0.06, (shared, D)))
        keypoints = np.concatenate([moved, generator.uniform(0, 900, (own, 2))])
        return keypoints, np.concatenate([noisy, unit(generator.normal(size=(own, D)))])

    photos = {f"p{number:02d}.jpg": view(number % 4, 5 + number) for number in range(num_photos)}
    photos["copy.jpg"], photos["again.jpg"] = photos["p05.jpg"], photos["p05.jpg"]
    photos["blank.jpg"] = (np.zeros((0, 2)), np.zeros((0, D)))
    return photos, {f"q{number}.jpg": view(number, 30) for number in range(num_queries)}


def vectors_of(names, seed):
    rows = np.random.default_rng(seed).normal(size=(len(names), 32))
    return dict(zip(names, unit(rows + 2 * rows[0])))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    photos, queries = scenes()
    write_global(folder / "photos.h5", vectors_of([*photos], 1), photos)
    write_global(folder / "queries.h5", vectors_of([*queries], 2), queries)
    return folder


def ranking_of(index, queries, config, both=False):
    """Ranks, scores and kept matches."""
    compared = Compared(both or config.retrieval.searcher != "global", config.retrieval.searcher == "global")
    with FeatureFile(queries) as file:
        with open_index_search(index, config.retrieval, config.matching, 3) as search:
            return rank_queries(search, compared.read(file), 5 if "ransac" in config.retrieval.rerank else 0)


def assert_same(found, expected):
    (ranking, matches), (other, kept) = found, expected
    assert ranking.index_names == other.index_names
    assert ranking.ranks.tobytes() == other.ranks.tobytes() and ranking.scores.tobytes() == other.scores.tobytes()
    if kept is not None:
        assert matches.points.tobytes() == kept.points.tobytes()
        assert matches.correspondences.tolist() == kept.correspondences.tolist()


CASES = [
    ("votes", "Flat", {"rerank": "ransac", "num_rerank": 8}),
    ("votes", "IVF4,Flat", {"rerank": "ransac", "num_rerank": 0, "nprobe": 2}),
    ("votes", "PCA8,IVF4,PQ4x4", {"rerank": "ransac", "correspondences": "exact", "num_rerank": 6}),
    ("votes", "PQ4x4", {"rerank": "none", "search_distance": 1.2}),
    ("votes", "Flat", {"rerank": "ransac,graph", "num_rerank": 8}),
    ("asmk_star", "", {"rerank": "ransac", "num_rerank": 8, "search_distance": 0.9}),
    ("asmk_star", "", {"rerank": "ransac,fusion", "asmk_idf": True, "search_distance": 0.9}),
    ("asmk", "", {"rerank": "none", "asmk_idf": True}),
    ("vlad", "", {"rerank": "aqe", "qe_k": 3}),
    ("global", "Flat", {"rerank": "ransac", "num_rerank": 8, "search_distance": 0.9}),
    ("global", "IVF4,PQ4x4", {"rerank": "alpha_qe,superglobal", "qe_k": 3, "superglobal_photos": 7}),
]


@pytest.mark.parametrize("searcher, index_type, keys", CASES)
def test_shards_find_what_one_index_finds(place, tmp_path, searcher, index_type, keys):
    config = Config(searcher=searcher, num_neighbors=7, ransac_trials=100, **keys)
    build = (place / "photos.h5", tmp_path / "one", index_type, 0, False, searcher, config.retrieval)
    one = build_index(*build)
    both = "ransac" in keys["rerank"]
    expected = ranking_of(one, place / "queries.h5", config, both)
    assert len(np.unique(expected[0].scores)) > 5
    shards = build_index(*build[:1], tmp_path / "shards", *build[2:], shard_photos=7)  # the last one has five
    assert_same(ranking_of(shards, place / "queries.h5", config, both), expected)
    if keys["rerank"] in ("ransac", "none"):
        few = config.replace(num_ranked=4)
        with (
            open_index_search(shards, few.retrieval, few.matching, 3) as search,
            FeatureFile(place / "queries.h5") as file,
        ):
            compared = Compared(both or searcher != "global", searcher == "global")
            ranking, _ = rank_queries(search, compared.read(file), 0, 4)
        assert ranking.ranks.tobytes() == np.ascontiguousarray(expected[0].ranks[:, :4]).tobytes()
        assert ranking.scores.tobytes() == np.ascontiguousarray(expected[0].scores[:, :4]).tobytes()


def test_photos_removed_rank_as_if_they_had_never_been_there(tmp_path):
    photos, queries = scenes(5)
    write_features(tmp_path / "queries.h5", queries)
    gone = ["p03.jpg", "p05.jpg", "p22.jpg"]
    items = list(photos.items())
    for name, part in (("a", items[:15]), ("b", items[15:]), ("left", [item for item in items if item[0] not in gone])):
        write_features(tmp_path / f"{name}.h5", dict(part))
    (tmp_path / "gone.txt").write_text("\n".join(gone))
    folder = build_index(tmp_path / "a.h5", tmp_path / "index", shard_photos=6)
    add_to_index(tmp_path / "b.h5", folder)
    remove_from_index(tmp_path / "gone.txt", folder)
    config = Config(rerank="ransac", num_neighbors=7, num_rerank=8, ransac_trials=100)

    def by_name(index):
        ranking, _ = ranking_of(index, tmp_path / "queries.h5", config)
        return [[ranking.index_names[photo] for photo in row] for row in ranking.ranks], ranking.scores.tobytes()

    expected = by_name(build_index(tmp_path / "left.h5", tmp_path / "left"))
    assert by_name(folder) == expected
    compact_index(folder)
    assert by_name(folder) == expected


def test_one_round_is_named_and_something_else(tmp_path):
    """By hand: two neighbours count of all shards; in one round two of each shard do."""
    generator = np.random.default_rng(1)
    row = unit(generator.normal(size=(1, D)))
    near = {f"{n}.jpg": ([[n, n]], unit(row + (n + 1) * 0.02 * generator.normal(size=(1, D)))) for n in range(4)}
    write_features(tmp_path / "photos.h5", near)
    write_features(tmp_path / "queries.h5", {"q.jpg": ([[0, 0]], row)})
    index = build_index(tmp_path / "photos.h5", tmp_path / "index", shard_photos=2)
    found = {}
    for how in ("exact", "one_round"):
        config = Config(num_neighbors=2, shard_search=how, rerank="none")
        output = tmp_path / f"{how}.npz"
        perform_retrieval(index, tmp_path / "queries.h5", output, config.retrieval, config.matching)
        ranking, made = load_ranking(output)
        found[how] = dict(zip(ranking.ranks[0].tolist(), ranking.scores[0].tolist())), made.settings
    assert [found["exact"][0][photo] for photo in range(4)] == [-0.5, -0.5, -1, -1]
    assert set(found["one_round"][0].values()) == {-0.5}
    assert "shard_search" not in found["exact"][1] and found["one_round"][1]["shard_search"] == "one_round"


def test_shares_by_hand():
    """Two of all count: of equally near ones the first shard's, and of one shard its own order."""
    parts = [
        Nearest(np.array([2, 1, 0]), np.float32([1, 3, 5])),
        Nearest(np.array([2, 2, 1]), np.float32([1, 3, 5, 5, 9])),
    ]
    assert [share.tolist() for share in shares_of(parts, 2)] == [[1, 1, 0], [1, 1, 1]]
    assert [share.tolist() for share in shares_of(parts, 3)] == [[2, 1, 0], [1, 2, 1]]


def test_shares_agree_with_a_sort_of_everything():
    generator = np.random.default_rng(2)
    lists = [[np.sort(generator.integers(0, 9, generator.integers(0, 6))) for _ in range(40)] for _ in range(5)]
    parts = [Nearest(np.array([*map(len, own)]), np.float32(np.concatenate(own))) for own in lists]
    shares = shares_of(parts, 5)
    for row in range(40):
        everything = sorted((value, shard) for shard in range(5) for value in lists[shard][row])[:5]
        assert [int(share[row]) for share in shares] == [sum(s == shard for _, s in everything) for shard in range(5)]


def test_options_of_shards_are_for_shards(place, tmp_path):
    one = build_index(place / "photos.h5", tmp_path / "one")
    shards = build_index(place / "photos.h5", tmp_path / "shards", searcher="global", shard_photos=9)
    for index, options, fact in (
        (one, ["--executor=ray"], "--executor has no effect on this index, which has no shards"),
        (shards, ["--ray_actors=2"], "--ray_actors has no effect with --executor threads"),
        (shards, ["--shard_search=one_round"], "--shard_search has no effect on this index"),
        (shards, ["--rerank=dba"], "dba compares all photos with each other"),
    ):
        queries = f"--query_features={place}/queries.h5"
        with pytest.raises(UserError, match=fact):
            perform_command([f"--index={index}", queries, f"--output={tmp_path}/ranks.npz", *options])


def test_a_damaged_shard_is_told(place, tmp_path):
    index = build_index(place / "photos.h5", tmp_path / "index", shard_photos=9)
    config = Config()
    path = index / "shard_001" / "keypoints.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"shard_001.*keypoints\.npy: damaged"):
        ranking_of(index, place / "queries.h5", config)
    (index / "shard_001" / "index.json").unlink()
    with pytest.raises(UserError, match=r"shard_001.*index\.json in it"):
        ranking_of(index, place / "queries.h5", config)
