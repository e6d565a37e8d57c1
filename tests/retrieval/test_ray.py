"""Shards of an index in Ray's actors, and extraction by them: the same ranks and file, also when an actor is killed."""

import importlib.util
import os
import signal
from functools import partial

import h5py
import numpy as np
import pytest
from handmade_features import write_global
from PIL import Image
from test_shard_search import assert_same, ranking_of, scenes, vectors_of

from src import ray_cluster
from src.config import Config
from src.errors import UserError
from src.features.extraction import extract_to_file, photos_of_folder
from src.features.feature_file import FeatureFile
from src.features.ray_extraction import encode_on_cluster
from src.retrieval.build import build_index
from src.retrieval.index_folder import read_manifest
from src.retrieval.search import rank_queries
from src.retrieval.shard import SearchSettings
from src.retrieval.shards import open_shards
from src.retrieval.vote_search import Search
from tests.features.fake_network import load_fake_network, load_network_that_dies_once, sections

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
        patch.setenv("HOME", str(folder))  # Ray writes the token of its cluster there
        ray = ray_cluster._import("")
        for attempt in range(3):  # Ray gives up after 30 seconds; a busy machine may take longer to start it
            try:
                ray_cluster.start(ray, "", 2)
                break
            except UserError:
                if attempt == 2:
                    raise
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
    """An executor whose actor dies in the middle of the second round, once, and forgets the first."""

    def __init__(self, executor, folder):
        self.executor, self.folder, self.rounds = executor, folder, 0

    def map(self, function, *iterables):
        self.rounds += 1
        flag = str(self.folder / "died") if self.rounds == 2 else ""

        def deadly(shard, *arguments):
            if flag and not os.path.exists(flag):
                open(flag, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return function(shard, *arguments)

        return self.executor.map(deadly, *iterables)


def test_an_actor_killed_in_mid_query_changes_nothing(place, tmp_path, caplog):
    config = Config(num_neighbors=7, num_rerank=6, ransac_trials=100, executor="ray", ray_actors=2)
    build = (place / "photos.h5", tmp_path / "one", "Flat")
    expected = ranking_of(build_index(*build), place / "queries.h5", config)
    folder = build_index(*build[:1], tmp_path / "index", "Flat", num_shards=4)
    settings = SearchSettings(config.retrieval, config.matching, 3)
    with open_shards(folder, read_manifest(folder), settings) as shards:
        killing = shards._executor = Killing(shards._executor, tmp_path)
        with FeatureFile(place / "queries.h5") as queries:
            found = rank_queries(Search(shards, config.retrieval, 3), queries, 5)
    assert killing.rounds >= 6 and (tmp_path / "died").exists()
    assert_same(found, expected)
    assert "was started again and asked again" in caplog.text


def test_what_goes_wrong_in_an_actor_is_one_sentence(place, tmp_path):
    config = Config(executor="ray", ray_actors=1)
    folder = build_index(place / "photos.h5", tmp_path / "index", "Flat", num_shards=4)
    path = folder / "shard_001" / "keypoints.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"^[^\n]*shard_001.*keypoints\.npy: damaged[^\n]*$"):
        ranking_of(folder, place / "queries.h5", config)
    with pytest.raises(UserError, match="the cluster has 2 cores"):
        ranking_of(folder, place / "queries.h5", Config(executor="ray", ray_actors=3))


def contents_of(path):
    found = {}

    def visit(name, item):
        found[name] = sorted(item.attrs.items()), item[()].tolist() if isinstance(item, h5py.Dataset) else None

    with h5py.File(path) as file:
        file.visititems(visit)
        return sorted(file.attrs.items()), found


def test_actors_extract_the_same_file(place, tmp_path):
    """Thirty photos, one of them no photo, in lists of eight; an actor is killed in mid-list."""
    generator = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(29):
        pixels = generator.integers(0, 200, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:02d}.png")
    (tmp_path / "photos" / "29.png").write_bytes(b"nothing")
    (tmp_path / "net.ckpt").write_bytes(b"weights")
    config = Config(checkpoint_path=str(tmp_path / "net.ckpt"), image_scales=(1.0,), max_feature_num=5, num_workers=1)
    photos, flag = photos_of_folder(tmp_path / "photos"), str(tmp_path / "died")
    extract_to_file(photos, tmp_path / "one.h5", *sections(config), load_network=load_fake_network)
    deadly = partial(load_network_that_dies_once, flag)
    how = {"devices": partial(encode_on_cluster, "", 2), "load_network": deadly}
    extract_to_file(photos, tmp_path / "ray.h5", *sections(config), **how)
    assert os.path.exists(flag) and contents_of(tmp_path / "ray.h5") == contents_of(tmp_path / "one.h5")
    assert len(contents_of(tmp_path / "one.h5")[1]) > 29
    failed = [(tmp_path / f"{name}.h5.failed.txt").read_text() for name in ("one", "ray")]
    assert failed[0] == failed[1] and "29.png" in failed[0]
