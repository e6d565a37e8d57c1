"""tools/export_model.py and the cache: what is written, what it says about itself, and what is refused."""

import hashlib
import os
from multiprocessing import get_context

import numpy as np
import pytest

from src.config import Config
from src.engines import export, metadata, onnx_cache
from src.engines.export import export_model
from src.engines.identity import embedded_pca, weights_sha256
from src.engines.mindspore_engine import as_model, load_mindir
from src.errors import UserError
from src.features.pca import Pca, save_pca
from tools.export_model import main

pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch):
    monkeypatch.setattr(export, "SIZES", ((37, 42), (64, 65)))


@pytest.fixture(scope="module")
def pca():
    generator = np.random.default_rng(5)
    components = np.linalg.qr(generator.normal(size=(1024, 40)))[0].T
    return Pca(generator.normal(size=1024), components, np.arange(40, 0, -1), {"photos": 7})


def recipe(checkpoint, **keys):
    return Config(checkpoint_path=str(checkpoint), **keys)


@pytest.mark.parametrize("file_format,suffix", [("ONNX", ".onnx"), ("MINDIR", ".mindir")])
def test_an_export_agrees_and_knows_where_it_comes_from(checkpoint, tmp_path, pca, file_format, suffix):
    if file_format == "ONNX":
        pytest.importorskip("onnxruntime")
    save_pca(tmp_path / "pca.npz", pca)
    output = tmp_path / f"model{suffix}"
    differences = export_model(recipe(checkpoint), output, file_format, tmp_path / "pca.npz")
    assert {(found.batch, found.height, found.width) for found in differences} == {
        (batch, *size) for batch in (1, 2) for size in export.SIZES
    }
    assert max(max(found.feature_map, found.attention) for found in differences) < 1e-5
    assert 36e6 < output.stat().st_size < 37e6
    assert output.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.glob(".*")) == []
    texts = metadata.read(output)
    assert (texts["receptive_field"], texts["stride"], texts["padding"]) == ("291", "32", "145")
    assert "(value - 128) / 128" in texts["input"]
    assert weights_sha256(output) == hashlib.sha256(checkpoint.read_bytes()).hexdigest() == weights_sha256(checkpoint)
    stored = embedded_pca(output)
    assert stored.identity == pca.identity and stored.provenance == pca.provenance


def test_the_onnx_library_finds_the_model_sound(onnx_file):
    import onnx

    model = onnx.load(str(onnx_file))
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key for entry in model.metadata_props} >= {"checkpoint_sha256", "input", "stride"}
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["image", "feature_map", "attention"]
    assert [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        "",
        "height",
        "width",
    ]
    assert embedded_pca(onnx_file) is None


def test_a_finished_export_is_checked_again_and_another_refused(checkpoint, tmp_path, pca):
    output = tmp_path / "model.mindir"
    export_model(recipe(checkpoint), output, "MINDIR")
    written = output.stat().st_mtime_ns
    assert export_model(recipe(checkpoint), output, "MINDIR")
    assert output.stat().st_mtime_ns == written
    save_pca(tmp_path / "pca.npz", pca)
    with pytest.raises(UserError, match="--overwrite"):
        export_model(recipe(checkpoint), output, "MINDIR", tmp_path / "pca.npz")


def test_an_export_that_differs_is_not_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(
        export, "_reload", lambda path: {"broken": lambda images: as_model(load_mindir(path))(images * 1.1)}
    )
    with pytest.raises(UserError, match="differs from the checkpoint by more than 0.001"):
        export_model(recipe(checkpoint), tmp_path / "model.mindir", "MINDIR")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_said(checkpoint, onnx_file, tmp_path):
    with pytest.raises(UserError, match="ends in .onnx"):
        export_model(recipe(checkpoint), tmp_path / "model.mindir", "ONNX")
    with pytest.raises(UserError, match="an export already"):
        export_model(recipe(onnx_file), tmp_path / "model.mindir", "MINDIR")
    foreign = tmp_path / "pca.npz"
    save_pca(foreign, Pca(np.zeros(1024), np.eye(40, 1024), np.ones(40), {"checkpoint_sha256": "0" * 64}))
    with pytest.raises(UserError, match="fitted on checkpoint 000000000000"):
        export_model(recipe(checkpoint), tmp_path / "model.onnx", "ONNX", foreign)


def test_the_command_prints_differences_and_size(checkpoint, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    main(["--checkpoint_path", str(checkpoint), "--format", "ONNX", "--output", str(tmp_path / "m.onnx")])
    output = capsys.readouterr().out
    assert "batch 2,   64x65 " in output and "(ONNX Runtime)" in output
    assert "m.onnx: 36.2 MB, differs by" in output


def test_files_that_are_no_exports(tmp_path):
    for content in (b"", b"no network", b"\x08\x07"):
        (tmp_path / "a.onnx").write_bytes(content)
        with pytest.raises(UserError, match="a.onnx: not an exported network"):
            weights_sha256(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"\x3a\x00")  # field 7, the graph, empty
    with pytest.raises(UserError, match="does not say which checkpoint"):
        weights_sha256(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"\x3a\x00" + metadata.encode({"checkpoint_sha256": "ab", "pca": '{"mean": 3}'}))
    assert weights_sha256(tmp_path / "a.onnx") == "ab"
    with pytest.raises(UserError, match="its PCA is damaged"):
        embedded_pca(tmp_path / "a.onnx")


def _cache(config, results):
    results.put(str(onnx_cache.cached_onnx(config)))


def test_processes_that_race_for_the_cache_agree(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    context = get_context("spawn")
    results = context.SimpleQueue()
    processes = [context.Process(target=_cache, args=(recipe(checkpoint), results)) for _ in range(2)]
    for process in processes:
        process.start()
    paths = {results.get() for _ in processes}
    for process in processes:
        process.join()
    (path,) = (tmp_path / "delf").iterdir()
    assert paths == {str(path)}
    assert weights_sha256(path) == weights_sha256(checkpoint)


def test_the_cache_is_used_again_and_drops_what_is_old(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "delf"
    folder.mkdir()
    for age in range(onnx_cache.KEPT):
        (folder / f"{age}.onnx").write_bytes(b"")
    os.utime(folder / "3.onnx", (1, 1))
    path = onnx_cache.cached_onnx(recipe(checkpoint))
    assert not (folder / "3.onnx").exists() and len(list(folder.iterdir())) == onnx_cache.KEPT
    monkeypatch.setattr(onnx_cache, "build_onnx", None)
    assert onnx_cache.cached_onnx(recipe(checkpoint)) == path
