"""The command lines around extraction: what they refuse, and one real run of each."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.features.made_up import make_file, make_photos

ROOT = Path(__file__).resolve().parents[2]


def _run(tool, *arguments, status=0):
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("learn_pca", [], "give one of --features, a feature file, and --images_path"),
        ("learn_pca", ["--features", "a.h5", "--images_path", "b"], "give one of --features"),
        (
            "learn_pca",
            ["--features", "a.h5", "--max_feature_num", "9"],
            "--max_feature_num has no effect together with --features",
        ),
        ("learn_pca", ["--images_path", "b", "--dim", "3", "--pca_dim", "4"], "--pca_dim and --dim both say"),
        ("convert_features", ["--features", "a.h5", "--output", "x", "--images_path", "b"], "go with --delf_path"),
        ("learn_pca", ["--images_path", "none"], "none: no such folder"),
        ("merge_features", ["--features", "none.h5", "--output", "x.h5"], "none.h5: no such file"),
        ("convert_features", ["--output", "x"], "give one of --features, to convert it, and --delf_path"),
        ("convert_features", ["--delf_path", "none", "--output", "x.h5"], "none: no such folder"),
        ("choose_score_threshold", [], "give one of --features"),
        ("choose_score_threshold", ["--features", "a.h5", "--save"], "give --checkpoint_path"),
        ("choose_score_threshold", ["--features", "a.h5", "--features_per_photo", "0"], "--features_per_photo above 0"),
        (
            "choose_score_threshold",
            ["--features", "a.h5", "--image_scales", "1"],
            "--image_scales has no effect together with --features",
        ),
        (
            "choose_score_threshold",
            ["--features", "a.h5", "--checkpoint_path", "b"],
            "--checkpoint_path has no effect together with --features, without --save",
        ),
        (
            "choose_score_threshold",
            ["--images_path", "none", "--overwrite"],
            "--overwrite has no effect without --save",
        ),
        (
            "visualize_features",
            ["--images_path", "none", "--features", "a.h5", "--engine", "openvino"],
            "--engine has no effect together with --features, without --checkpoint_path",
        ),
        (
            "visualize_features",
            ["--images_path", "none", "--features", "a.h5", "--checkpoint_path", "b", "--max_feature_num", "9"],
            "--max_feature_num has no effect together with --features",
        ),
        ("visualize_features", ["--images_path", "none", "--pca_dim", "9"], "--pca_dim has no effect on"),
        (
            "visualize_features",
            ["--images_path", "none", "--checkpoint_path", "b", "--regions", "--image_scales", "1"],
            "--image_scales has no effect together with --regions",
        ),
        ("visualize_features", ["--images_path", "none"], "give --checkpoint_path to extract"),
        ("visualize_features", ["--images_path", "none", "--features", "a.h5"], "none: no such folder"),
    ],
)
def test_refuses(tmp_path, monkeypatch, tool, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in _run(tool, *arguments, status=2)
    assert list(tmp_path.iterdir()) == []


def test_real_runs_on_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"{number}.jpg" for number in range(4)]
    make_photos(tmp_path / "photos", names)
    make_file("a.h5", names[:2], shard="1/2")
    make_file("b.h5", names[2:], shard="2/2")
    assert "4 photos of 2 files" in _run("merge_features", "--features", "a.h5", "b.h5", "--output", "all.h5")
    assert "4 .delf files" in _run("convert_features", "--features", "all.h5", "--output", "delf")
    _run("convert_features", "--delf_path", "delf", "--images_path", "photos", "--output", "back.h5")
    table = _run("choose_score_threshold", "--features", "back.h5", "--features_per_photo", 1)
    assert table.count("<- proposed") == 1 and Path("score_threshold.png").exists()
    Path("delf.ckpt").write_bytes(b"weights")
    arguments = ["--features", "back.h5", "--checkpoint_path", "delf.ckpt", "--save"]
    assert "made with another checkpoint" in _run("choose_score_threshold", *arguments, status=2)
    assert "out: 2 pictures" in _run(
        "visualize_features", "--images_path", "photos", "--features", "a.h5", "--output", "out"
    )
    assert "2 dimensions from 10 descriptors" in _run("learn_pca", "--features", "back.h5", "--dim", 2)
