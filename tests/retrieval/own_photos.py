"""A folder of made-up photos, its photo index, and searches in it, with a cheap network."""

import numpy as np
from PIL import Image

from src.config import Config
from src.features.pca import Pca
from src.records import Provenance
from src.retrieval.photo_index import build_photo_index
from src.retrieval.photo_search import PhotoSearch, query_photos
from tests.features.fake_network import load_fake_network


def picture(seed: int) -> Image.Image:
    """A photo of coloured blocks, 320 x 256; each seed another one."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), np.uint8)
    return Image.fromarray(np.kron(blocks, np.ones((32, 32, 1), np.uint8)))


def random_pca(sha256: str) -> Pca:
    """To 8 dimensions; fitting one takes most of a test's time."""
    generator = np.random.default_rng(0)
    return Pca(np.zeros(1024), np.linalg.qr(generator.normal(size=(1024, 8)))[0].T, np.ones(8), Provenance(sha256))


def recipe(place, **values) -> Config:
    options = {"image_scales": (1.0,), "max_feature_num": 60, "pca_dim": 6, **values}
    return Config(checkpoint_path=str(place / "model" / "net.ckpt"), **options)


def build(place, images="photos", output="made", load_network=load_fake_network, **values):
    config = recipe(place, **values)
    sections = (config.run, config.model, config.extraction)
    return build_photo_index(place / images, place / output, *sections, load_network=load_network)


def found_in(made, query, top_k=3, **values):
    config = Config(**values)
    sections = (config.run, config.model, config.matching, config.retrieval)
    with PhotoSearch(made, *sections, load_fake_network) as search:
        return list(search.find_all(query_photos(query), top_k))
