"""The encoder with a real network in a program of its own, against the commands."""

import subprocess
import sys

import pytest

from tests.features.made_up import make_photos
from tests.runs import ENVIRONMENT, run

pytestmark = pytest.mark.slow

PROGRAM = """
from src.config import Config
from src.device import prepare_process
from src.features.encoder import load_encoder

prepare_process()
config = Config(checkpoint_path="delf.ckpt", pca_path="pca.npz", max_feature_num=20, pca_dim=8)
encoder = load_encoder(config.run, config.model, config.extraction)
features = encoder.encode("photos/a.png").local
print(features.image_size, len(features))
for (x, y), scale, score in zip(features.keypoints, features.scales, features.scores):
    print(f"{x:.1f} {y:.1f} {scale:.2f} {score:.3f}")
print(features.descriptors.shape)
"""
CHECK = """
import numpy as np
from src.features.feature_file import FeatureFile
with FeatureFile("features.h5") as made:
    expected = made.read("a.png")
assert len(expected) == 20
for name in ("keypoints", "scales", "scores", "descriptors"):
    assert np.array_equal(getattr(features, name), getattr(expected, name)), name
"""


def test_a_program_gets_what_the_command_gives(tmp_path):
    make_photos(tmp_path / "photos", ["a.png", "b.png", "c.png"], (160, 120))
    run("tools/make_untrained_checkpoint.py", "--output", "delf.ckpt", "--kernel_init", "he", cwd=tmp_path)
    common = ["--images_path", "photos", "--checkpoint_path", "delf.ckpt"]
    assert "8 dimensions from" in run("tools/learn_pca.py", *common, "--dim", 8, "--output", "pca.npz", cwd=tmp_path)
    options = ["--pca_path", "pca.npz", "--pca_dim", 8, "--max_feature_num", 20]
    run("eval/extract_features.py", *common, *options, cwd=tmp_path)
    code = PROGRAM + CHECK
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(160, 120) 20\n") and done.stdout.endswith("(20, 8)\n")
    run("tools/visualize_features.py", *common, *options[-2:], "--num_images", 1, "--output", "pictures", cwd=tmp_path)
    assert len(list((tmp_path / "pictures").iterdir())) == 1
