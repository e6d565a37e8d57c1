"""The shards of an index in Ray's actors: the same ranks as of one index, also when an actor is killed."""

import importlib.util
import os
import signal

import pytest
from handmade_features import write_global
from test_shard_search import assert_same, ranking_of, scenes, vectors_of

from src.config import Config
from src.errors import UserError
from src.features.feature_file import FeatureFile
from src.retrieval import ray_executor
from src.retrieval.build import build_index
from src.retrieval.index_folder import read_manifest
from src.retrieval.search import rank_queries
from src.retrieval.shard import SearchSettings
from src.retrieval.shards import open_shards
from src.retrieval.vote_search import Search

if importlib.util.find_spec("ray") is None:
    pytest.skip("no requirements-cluster.txt", allow_module_level=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A local cluster of two cores, and in the folder feature files of photos and queries."""
    folder = tmp_path_factory.mktemp("ray")
    photos, queries = scenes()
    write_global(folder / "photos.h5", vectors_of([*photos], 1), photos)
    write_global(folder / "queries.h5", vectors_of([*queries], 2), queries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_executor, "num_cores", lambda: 2)
        patch.setenv("HOME", str(folder))  # Ray writes the token of its cluster there
        ray = ray_executor._ray("")
        ray_executor._start(ray, "")
        assert ray.util.get_node_ip_address() == "127.0.0.1"
        yield folder
        ray.shutdown()


CASES = [
    ("votes", "IVF4,Flat", {"rerank": "ransac", "num_rerank": 6}),
    ("votes", "PCA8,IVF4,PQ4x4", {"rerank": "none"}),
    ("asmk_star", "", {"rerank": "none", "asmk_idf": True}),
    ("global", "Flat", {"rerank": "ransac", "num_rerank": 6, "search_distance": 0.9}),
]


@pytest.mark.parametrize("searcher, index_type, keys", CASES)
def test_actors_find_what_one_index_finds(place, tmp_path, searcher, index_type, keys):
    config = Config(searcher=searcher, num_neighbors=7, ransac_trials=100, executor="ray", ray_actors=2, **keys)
    build = (place / "photos.h5", tmp_path / "one", index_type, 0, False, searcher, config.retrieval)
    both = keys["rerank"] == "ransac"
    expected = ranking_of(build_index(*build), place / "queries.h5", config, both)
    shards = build_index(*build[:1], tmp_path / "shards", *build[2:], num_shards=4)
    assert_same(ranking_of(shards, place / "queries.h5", config, both), expected)


class Killing:
    """An executor whose actor dies in the middle of each round, once."""

    def __init__(self, executor, folder):
        self.executor, self.folder, self.rounds = executor, folder, 0

    def map(self, function, *iterables):
        self.rounds += 1
        flag = str(self.folder / str(self.rounds)) if self.rounds <= 3 else ""

        def deadly(shard, *arguments):
            if flag and not os.path.exists(flag):
                open(flag, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return function(shard, *arguments)

        return self.executor.map(deadly, *iterables)


def test_an_actor_killed_in_each_round_changes_nothing(place, tmp_path, caplog):
    config = Config(num_neighbors=7, num_rerank=6, ransac_trials=100, executor="ray", ray_actors=2)
    build = (place / "photos.h5", tmp_path / "one", "Flat")
    expected = ranking_of(build_index(*build), place / "queries.h5", config)
    folder = build_index(*build[:1], tmp_path / "index", "Flat", num_shards=4)
    settings = SearchSettings(config.retrieval, config.matching, 3)
    with open_shards(folder, read_manifest(folder), settings) as shards:
        killing = shards._executor = Killing(shards._executor, tmp_path)
        with FeatureFile(place / "queries.h5") as queries:
            found = rank_queries(Search(shards, config.retrieval, 3), queries, 5)
    assert killing.rounds >= 9 and all((tmp_path / str(number)).exists() for number in (1, 2, 3))
    assert_same(found, expected)
    assert "was started again and asked again" in caplog.text


def test_what_goes_wrong_in_an_actor_is_one_sentence(place, tmp_path):
    config = Config(executor="ray", ray_actors=2)
    folder = build_index(place / "photos.h5", tmp_path / "index", "Flat", num_shards=4)
    path = folder / "shard_001" / "keypoints.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"^[^\n]*shard_001.*keypoints\.npy: damaged[^\n]*$"):
        ranking_of(folder, place / "queries.h5", config)
    with pytest.raises(UserError, match="the cluster has 2 cores"):
        ranking_of(folder, place / "queries.h5", Config(executor="ray", ray_actors=3))
