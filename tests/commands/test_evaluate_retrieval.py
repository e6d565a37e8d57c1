"""The whole road of global descriptors, with a network that needs no weights: photos in, mAP.txt and the page out."""

import json

import h5py
import numpy as np
import pytest
from metrics_file import read_metrics_file
from PIL import Image

from src.commands.evaluate_retrieval import main as evaluate_retrieval
from src.errors import UserError
from src.features import encoder
from tests.features.test_global_encoder import load_fake_maps

CLASSES = {"first": (120, 118, 118), "second": (120, 118, 118)}  # noise alone tells the photos apart


@pytest.fixture
def road(tmp_path, monkeypatch):
    """The command line up to the options, and the sizes of what the network has seen."""
    generator, seen = np.random.default_rng(0), []
    for name, colour in CLASSES.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.clip(generator.normal(colour, 25, (48, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((192, 144), 0).save(tmp_path / f"photos/{name}/{number}.png")
    Image.fromarray(np.full((144, 192, 3), 90, np.uint8)).save(tmp_path / "photos/loose.png")
    (tmp_path / "photos/first/damaged.png").write_bytes(b"no photo")
    (tmp_path / "net.ckpt").write_bytes(b"weights")
    monkeypatch.setattr(encoder, "load_in_engine", lambda *args, **kind: load_fake_maps(*args, **kind, seen=seen))
    photos = str(tmp_path / "photos")
    command = [photos, photos, str(tmp_path / "net.ckpt"), "0", "--protocol", "labelled", "--features", "global"]
    return [*command, "--descriptor_layer", "block3", "--output_path", str(tmp_path / "out")], seen


def slow_ap(similarities, query, same):
    """Trapezoidal average precision of one query, which is left out, step by step."""
    order = sorted((i for i in range(len(similarities)) if i != query), key=lambda i: -similarities[i])
    total, hits, area, before = sum(same) - 1, 0, 0.0, 1.0
    for rank, photo in enumerate(order, start=1):
        hits += same[photo]
        area += same[photo] / total * (before + hits / rank) / 2
        before = hits / rank
    return area


def test_one_vector_a_photo(tmp_path, road, capsys):
    command, seen = road
    evaluate_retrieval([*command, "--pooling", "gem", "--gem_p", "2"])
    assert len(seen) == 7  # the queries are whole photos of the index: each is seen once
    with h5py.File(tmp_path / "out/retrieval_files/index_features.h5") as file:
        names = [f"{name}/{number}.png" for name in CLASSES for number in range(3)] + ["loose.png"]
        vectors = np.stack([file[name]["global_descriptor"][:] for name in names]).astype(np.float64)
    classes = [name.split("/")[0] for name in names]
    expected = [slow_ap(vectors @ vectors[i], i, [each == classes[i] for each in classes]) for i in range(6)]
    results = json.loads((tmp_path / "out/results.json").read_text())
    queries = results["metrics"]["labelled"]["queries"]
    found = [queries[name.rpartition(".")[0]]["AP"] for name in names[:6]]
    assert min(expected) < 0.9  # some photo of the other class is nearer
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert list(read_metrics_file(tmp_path / "out/mAP.txt")) == ["labelled"] and "top-1" in results["top-k"]
    assert results["settings"]["settings"]["searcher"] == "global" and results["index_size"] == 7
    assert results["missing_images"] == ["first/damaged"]
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "similarity (cosine" in page and "1.0000" in page and "for each inlier that" not in page
    before = (tmp_path / "out/results.json").stat().st_mtime_ns
    evaluate_retrieval([*command, "--pooling", "gem", "--gem_p", "2"])
    assert len(seen) == 7 and (tmp_path / "out/results.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="made under other settings"):
        evaluate_retrieval([*command, "--pooling", "mac"])


def test_expansion_is_named(tmp_path, road):
    command, _ = road
    evaluate_retrieval([*command, "--rerank", "dba,alpha_qe", "--qe_k", "2", "--dba_k", "1"])
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["settings"]["settings"]["rerank"] == "dba,alpha_qe"
    assert "score (similarity after alpha_qe)" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "options, said",
    [
        (["--pca_path", "pca.npz"], "--pca_path is of local features"),
        (["--max_feature_num", "100"], "--max_feature_num is of local features"),
        (["--num_neighbors", "9"], "--num_neighbors has no effect with --searcher global and --rerank auto"),
        (["--qe_k", "9"], "--qe_k has no effect"),
        (["--rerank", "votes"], "'votes' is no re-ranking"),
    ],
)
def test_options_without_effect(road, options, said):
    with pytest.raises(UserError, match=said):
        evaluate_retrieval([*road[0], *options])
    local = [*road[0][:6], "--pooling", "mac"]
    with pytest.raises(UserError, match="--pooling is of global descriptors"):
        evaluate_retrieval(local)
