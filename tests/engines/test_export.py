"""The command export_model and the cache: what is written, what it says about itself, and what is refused."""

import errno
import hashlib
import os
from multiprocessing import get_context

import h5py
import numpy as np
import pytest

from src.commands.export_model import main
from src.config import ModelConfig, RunConfig
from src.engines import export, export_texts, onnx_graph, weights_identity
from src.engines.export import export_model
from src.engines.identity import describe_export, sealed
from src.engines.mindspore_engine import load_mindir, on_arrays
from src.errors import UserError
from src.features.pca import Pca, pca_from_text, save_pca
from src.model.architectures import architecture_of
from src.records import Provenance

pytest.importorskip("onnx")


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch):
    monkeypatch.setattr(export, "SIZES", ((37, 42), (64, 65)))


@pytest.fixture(scope="module")
def pca():
    generator = np.random.default_rng(5)
    components = np.linalg.qr(generator.normal(size=(1024, 40)))[0].T
    return Pca(generator.normal(size=1024), components, np.arange(40, 0, -1), Provenance(settings={"photos": 7}))


def recipe(checkpoint, **keys):
    return RunConfig(), ModelConfig(checkpoint_path=str(checkpoint), **keys)


def identity(path, seed=0, **keys):
    return weights_identity(RunConfig(seed=seed), ModelConfig(checkpoint_path=str(path), **keys))


@pytest.mark.parametrize("file_format,suffix", [("ONNX", ".onnx"), ("MINDIR", ".mindir")])
def test_an_export_agrees_and_knows_where_it_comes_from(checkpoint, tmp_path, file_format, suffix):
    if file_format == "ONNX":
        pytest.importorskip("onnxruntime")
    output = tmp_path / f"model{suffix}"
    differences = export_model(*recipe(checkpoint), output, file_format, {"pca": "some text"})
    assert {(found.batch, found.height, found.width) for found in differences} == {
        (batch, *size) for batch in (1, 2) for size in export.SIZES
    }
    assert max(max(found.feature_map, found.attention) for found in differences) < 1e-5
    assert 36e6 < output.stat().st_size < 37e6
    assert output.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.glob(".*")) == []
    texts = export_texts(output)
    assert (texts["receptive_field"], texts["stride"], texts["padding"]) == ("291", "32", "145")
    assert "(value - 128) / 128" in texts["input"]
    assert "feature_map [batch, 1024, rows, columns]" in texts["outputs"] and texts["pca"] == "some text"
    assert (texts["architecture"], texts["weights_style"]) == ("resnet50", "keras")
    assert identity(output) == hashlib.sha256(checkpoint.read_bytes()).hexdigest() == identity(checkpoint)


def test_an_export_of_another_architecture_describes_itself(checkpoint_of, tmp_path):
    pytest.importorskip("onnxruntime")
    keys = {"architecture": "resnet18", "weights_style": "torchvision"}
    export_model(*recipe(checkpoint_of(*keys.values()), **keys), tmp_path / "model.onnx", "ONNX")
    texts = export_texts(tmp_path / "model.onnx")
    assert (texts["receptive_field"], texts["stride"], texts["padding"]) == ("211", "16", "105")
    assert "(value - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375)" in texts["input"]
    assert "[batch, 256, rows, columns]" in texts["outputs"]


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
    assert "pca" not in export_texts(onnx_file)


def test_a_finished_export_is_checked_again_and_another_refused(checkpoint, tmp_path):
    output = tmp_path / "model.mindir"
    export_model(*recipe(checkpoint), output, "MINDIR")
    written = output.stat().st_mtime_ns
    assert export_model(*recipe(checkpoint), output, "MINDIR")
    assert output.stat().st_mtime_ns == written
    with pytest.raises(UserError, match="made under other settings \\(pca\\); give `overwrite`"):
        export_model(*recipe(checkpoint), output, "MINDIR", {"pca": "some text"})


def test_an_export_that_differs_is_not_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(
        export, "_reload", lambda path, *_: {"broken": lambda images: on_arrays(load_mindir(path))(images * 1.1)}
    )
    with pytest.raises(UserError, match="differs from the checkpoint by more than 0.001"):
        export_model(*recipe(checkpoint), tmp_path / "model.mindir", "MINDIR")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_said(checkpoint, onnx_file, tmp_path):
    with pytest.raises(UserError, match="ends in .onnx"):
        export_model(*recipe(checkpoint), tmp_path / "model.mindir", "ONNX")
    with pytest.raises(UserError, match="an export already"):
        export_model(*recipe(onnx_file), tmp_path / "model.mindir", "MINDIR")


def test_the_command_prints_differences_and_size(checkpoint, tmp_path, capsys, pca):
    pytest.importorskip("onnxruntime")
    save_pca(tmp_path / "pca.npz", pca)
    main(["--checkpoint_path", str(checkpoint), "--format", "ONNX", "--output", str(tmp_path / "m.onnx"),
          "--pca", str(tmp_path / "pca.npz")])  # fmt: skip
    output = capsys.readouterr().out
    assert "batch 2,   64x65 " in output and "(ONNX Runtime)" in output
    assert "m.onnx: 36.5 MB, differs by" in output  # 0.2 of it the PCA
    stored = pca_from_text(export_texts(tmp_path / "m.onnx")["pca"])
    assert stored.identity == pca.identity and stored.provenance == pca.provenance


def test_the_command_refuses_another_networks_pca(checkpoint, tmp_path):
    save_pca(tmp_path / "pca.npz", Pca(np.zeros(1024), np.eye(40, 1024), np.ones(40), Provenance("0" * 64)))
    with pytest.raises(UserError, match="fitted on checkpoint 000000000000"):
        main(["--checkpoint_path", str(checkpoint), "--format", "ONNX", "--output", str(tmp_path / "m.onnx"),
              "--pca", str(tmp_path / "pca.npz")])  # fmt: skip


def test_files_that_are_no_exports(tmp_path):
    for content in (b"", b"no network", b"\x08\x07"):
        (tmp_path / "a.onnx").write_bytes(content)
        with pytest.raises(UserError, match="a.onnx: not an exported network"):
            identity(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(sealed(b"\x3a\x00", {}))  # field 7, the graph, empty
    with pytest.raises(UserError, match="does not say which checkpoint"):
        identity(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(sealed(b"\x3a\x00", {"checkpoint_sha256": "ab"}))
    assert identity(tmp_path / "a.onnx") == "ab"
    with pytest.raises(UserError, match="missing.onnx: no such file"):
        identity(tmp_path / "missing.onnx")


def test_bytes_of_texts_by_hand():
    """Field 14 holds entries of a key (field 1) and a value (field 2), each with its length before it."""
    content = b"\x3a\x00" + b"\x72\x07\x0a\x01a\x12\x02\xc3\xa9" + b"\x72\x05\x0a\x01b\x12\x00"
    checksum = b"\x72\x4a\x0a\x06sha256\x12\x40" + hashlib.sha256(content).hexdigest().encode()
    assert sealed(b"\x3a\x00", {"a": "é", "b": ""}) == content + checksum


@pytest.mark.parametrize("place", ["graph", "checkpoint_sha256", "QUJD", "sha256\x12"])
def test_a_bit_that_changed_anywhere_in_an_export_is_told(tmp_path, place):
    """In the network, in whose it is, in the numbers of its PCA, in the checksum itself."""
    content = bytearray(sealed(b"\x3a\x0b\x12\x09graph abc", {"checkpoint_sha256": "ab" * 32, "pca": "QUJDREVG"}))
    (tmp_path / "a.onnx").write_bytes(content)
    assert export_texts(tmp_path / "a.onnx") == {"checkpoint_sha256": "ab" * 32, "pca": "QUJDREVG"}
    content[content.index(place.encode()) + len(place) + 2] ^= 1
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.onnx: .*checksum is missing or another\); export it again"):
        export_texts(tmp_path / "a.onnx")


def test_identity_of_imagenet_weights_covers_what_the_attention_starts_from(tmp_path):
    for name, value in (("a.ckpt", 1), ("b.h5", 2)):  # known by their content
        with h5py.File(tmp_path / name, "w") as file:
            file["conv1/kernel:0"] = value
    found = {
        identity(tmp_path / "a.ckpt"),
        identity(tmp_path / "b.h5"),
        identity(tmp_path / "a.ckpt", seed=1),
        identity(tmp_path / "a.ckpt", attention_init="normal"),
        identity(tmp_path / "a.ckpt", architecture="resnet101"),
        identity(tmp_path / "a.ckpt", load_stem=False),
    }
    assert len(found) == 6 and all(len(text) == 64 for text in found)
    assert identity(tmp_path / "a.ckpt", precision="bfloat16", batch_norm_momentum=0.5) in found


def _cache(run, model, results):
    results.put(hashlib.sha256(onnx_graph.cached_onnx(run, model)).hexdigest())


def test_processes_that_race_for_the_cache_agree(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    context = get_context("spawn")
    results = context.SimpleQueue()
    processes = [context.Process(target=_cache, args=(*recipe(checkpoint), results)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = {results.get() for _ in processes}
    (path,) = (tmp_path / "delf").iterdir()
    assert found == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert identity(path) == identity(checkpoint)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A recipe and an empty cache folder; what is built is 'a network' with a number that counts how often."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("src.engines.mindspore_engine.folded_weights", lambda *_: {})
    builds = []

    def build(*_):
        builds.append(0)
        return b"\x3a\x05\x12\x03" + b"%3d" % len(builds)

    monkeypatch.setattr(onnx_graph, "build_onnx", build)
    (tmp_path / "net.ckpt").write_bytes(b"weights")
    return recipe(tmp_path / "net.ckpt"), tmp_path / "cache" / "delf", builds


def test_the_cache_is_used_again_and_drops_what_is_old(small):
    asked, folder, builds = small
    folder.mkdir(parents=True)
    for age in range(onnx_graph.KEPT):
        (folder / f"{age}.onnx").write_bytes(b"")
    os.utime(folder / "3.onnx", (1, 1))
    content = onnx_graph.cached_onnx(*asked)
    assert not (folder / "3.onnx").exists() and len(list(folder.iterdir())) == onnx_graph.KEPT
    assert onnx_graph.cached_onnx(*asked) == content and len(builds) == 1


def _damages(content):
    yield content[:-40]
    yield b""
    yield content[:5] + bytes(2) + content[7:]
    yield sealed(b"\x3a\x00", describe_export("cd" * 32, architecture_of(ModelConfig())))  # another's


@pytest.mark.parametrize("number", range(4))
def test_a_damaged_file_of_the_cache_is_made_again_with_one_line(small, caplog, number):
    asked, folder, builds = small
    content = onnx_graph.cached_onnx(*asked)
    (path,) = folder.iterdir()
    path.write_bytes(list(_damages(content))[number])
    fresh = onnx_graph.cached_onnx(*asked)
    assert len(builds) == 2 and path.read_bytes() == fresh
    (line,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith(f"{path}: not used, and made again (")
    assert onnx_graph.cached_onnx(*asked) == fresh and len(builds) == 2


@pytest.mark.parametrize("hindrance", ["a file for the folder", "a folder for the file", "a pipe", "full", "no home"])
def test_without_a_cache_the_network_is_made_each_time(small, caplog, monkeypatch, hindrance):
    asked, folder, builds = small
    path = folder / f"{identity(asked[1].checkpoint_path)}-resnet50-keras-v{onnx_graph.GRAPH_VERSION}.onnx"
    if hindrance == "a file for the folder":
        folder.parent.mkdir()
        folder.write_bytes(b"")
    elif hindrance == "a folder for the file":
        path.mkdir(parents=True)
    elif hindrance == "a pipe":
        folder.mkdir(parents=True)
        os.mkfifo(path)
    elif hindrance == "full":
        monkeypatch.setattr(onnx_graph, "atomic_write_bytes", _full)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setattr(os.path, "expanduser", lambda text: text)  # as for a user whom the system does not know
    contents = [onnx_graph.cached_onnx(*asked) for _ in range(2)]
    assert len(builds) == 2 and b"\x12\x03  1" in contents[0]
    lines = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == (0 if hindrance == "no home" else 2)
    assert all("not kept, so each run makes it again" in line for line in lines)


def _full(path, content):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))
