"""Extraction and matching of two photos from an exported file where MindSpore cannot be imported."""

import json
import os
import subprocess
import sys

import cv2
import h5py
import pytest
from runs import ROOT

from tools.benchmarks.extraction_processes import draw_photo

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("mindspore", "onnx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def run_blocked(tmp_path):
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker/sitecustomize.py").write_text(BLOCKER)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "blocker")}

    def run(script, *arguments):
        command = [sys.executable, str(ROOT / script), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)

    return run


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = draw_photo(320, 240)
    cv2.imwrite(str(folder / "a.png"), photo)
    cv2.imwrite(str(folder / "b.png"), photo[20:, 30:])
    return folder


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_two_photos_are_matched(run_blocked, photos, onnx_file, tmp_path, engine):
    pytest.importorskip(engine)
    extract = run_blocked("eval/extract_features.py", "--images_path", photos, "--checkpoint_path", onnx_file,
                          "--engine", engine, "--output", "f.h5")  # fmt: skip
    assert extract.returncode == 0, extract.stderr
    with h5py.File(tmp_path / "f.h5") as features:
        assert json.loads(features.attrs["provenance"])["notes"]["engine"] == engine
        assert features["a.png/descriptors"].shape == (1024, 100)  # the number of features of so small a photo
    match = run_blocked("eval/match_images.py", "--images_path", photos, "--image_a", "a.png", "--image_b", "b.png",
                        "--features", "f.h5", "--output_image", "m.png")  # fmt: skip
    assert match.returncode == 0, match.stderr
    assert "inliers" in match.stdout and (tmp_path / "m.png").exists()


def test_a_checkpoint_is_refused_with_the_way_out(run_blocked, photos, checkpoint):
    done = run_blocked("eval/extract_features.py", "--images_path", photos, "--checkpoint_path", checkpoint,
                       "--output", "f.h5")  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1 and "requirements" in done.stderr
