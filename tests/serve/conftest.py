"""A collection of seven photos of coloured blocks, calibrated, behind a server; a network that needs no MindSpore."""

import pytest
from retrieval.own_photos import build, picture, random_pca
from serve.serving import running

from src.artifacts import sha256_of
from src.config import Config
from src.features.pca import save_pca
from src.matching.same_place import Calibration, conditions, save_calibration
from src.retrieval.rerank import search_settings
from src.serve.opening import open_collection
from tests.features.fake_network import load_fake_network


@pytest.fixture(scope="package")
def place(tmp_path_factory):
    """photos/, the photo index made/ of them, and model/ with network, PCA and calibration."""
    place = tmp_path_factory.mktemp("served")
    (place / "photos" / "trip" / "day 1").mkdir(parents=True)
    for seed in range(7):
        picture(seed).save(place / "photos" / ("trip/day 1" if seed % 2 else "") / f"{seed}.png")
    (place / "model").mkdir()
    (place / "model" / "net.ckpt").write_bytes(b"weights")
    save_pca(place / "model" / "pca.npz", random_pca(sha256_of(place / "model" / "net.ckpt")))
    made, config = build(place), Config()
    holds = conditions(made.provenance, search_settings(config.retrieval, config.matching, 0))
    calibration = Calibration([0, 8, 30], [0.01, 0.4, 0.996], 30, 8, holds, {})
    save_calibration(place / "model" / "same_place.json", calibration)
    (place / "secret.txt").write_text("not of the collection")
    return place


@pytest.fixture
def opening(place):
    """Makes a collection; keys of the recipe are arguments."""
    return lambda **keys: open_collection(place / "made", Config(**keys), load_network=load_fake_network)


@pytest.fixture(scope="package")
def port(place):
    """Of a server for all tests that change nothing."""
    collection = open_collection(place / "made", Config(), load_network=load_fake_network)
    with running(collection, hosts=("127.0.0.1", "localhost")) as number:
        yield number
