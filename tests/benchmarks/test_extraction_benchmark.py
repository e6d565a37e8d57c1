"""tools/benchmarks/run.py extract, and the drift that it prints."""

import cv2
import numpy as np
import pytest
from runs import run

from src.config import ModelConfig, RunConfig
from src.engines import export_texts
from src.engines.identity import sealed
from src.records import LocalFeatures
from tools.benchmarks.extraction_processes import draw_photo, drift


def features(keypoints, descriptors):
    count = len(keypoints)
    return LocalFeatures(keypoints, np.ones(count), np.ones(count), descriptors, (100, 100))


def test_drift_by_hand():
    first = features([[0, 32], [64, 0], [32, 32], [96, 96]], [[1, 0], [0, 1], [1, 0], [0.6, 0.8]])
    second = features([[96, 96], [0, 32], [32, 0]], [[0.8, 0.6], [1, 0], [1, 0]])
    found = drift(second, first)  # (0, 32) and (96, 96) of the first one's four
    np.testing.assert_allclose(found, (0.5, (1 + 0.96) / 2, 0.96), rtol=1e-6)
    assert drift(first, features([[1, 1]], [[1, 0]])).shared == 0


@pytest.fixture
def onnx_file(tmp_path):
    """A network as it starts."""
    pytest.importorskip("onnx")
    from src.engines.onnx_graph import cached_onnx
    from src.model.weights import write_untrained

    write_untrained(ModelConfig(kernel_init="he"), tmp_path / "delf.ckpt")
    content = cached_onnx(RunConfig(), ModelConfig(checkpoint_path=tmp_path / "delf.ckpt"))
    (tmp_path / "delf.onnx").write_bytes(content)
    return tmp_path / "delf.onnx"


def test_the_command_compares_the_engines_installed(onnx_file, tmp_path):
    for engine in ("onnxruntime", "openvino"):
        pytest.importorskip(engine)
    cv2.imwrite(str(tmp_path / "a.png"), draw_photo(96, 64))
    short = tmp_path / "int8.onnx"  # known by its text alone
    short.write_bytes(sealed(onnx_file.read_bytes(), {**export_texts(onnx_file), "precision": "int8"}))
    fake = tmp_path / "python"  # in place of PyTorch's: a line for each of its own
    fake.write_text("#!/bin/sh\necho ready; while read line; do echo 70.0; done\n")
    fake.chmod(0o755)
    output = run("tools/benchmarks/run.py", "extract", "--checkpoint_path", onnx_file, "--image", "a.png", "--turns", 1,
                 "--int8", short, "--pytorch", "--pytorch_python", fake, cwd=tmp_path)  # fmt: skip
    assert "a photo of 96 x 64 pixels at 7 scales" in output
    assert "ONNX Runtime float32" in output and "OpenVINO float32" in output
    assert "100.0% of ONNX Runtime float32's keypoints" in output and "peak memory" in output
    assert "OpenVINO int8 is " in output and "PyTorch, eager            70 ms, the network alone" in output
