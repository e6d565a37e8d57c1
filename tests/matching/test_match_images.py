"""eval/match_images.py on two synthetic photos and a hand-made feature file."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from src.errors import UserError

COMMAND = Path(__file__).resolve().parents[2] / "eval" / "match_images.py"
main = runpy.run_path(str(COMMAND))["main"]


def write_features(path, photos):
    """hloc's layout, written by hand: {name: (keypoints, descriptors)}."""
    with h5py.File(path, "w") as file:
        file.attrs["format_version"] = "1"
        for name, (keypoints, descriptors) in photos.items():
            group = file.create_group(name)
            count = len(keypoints)
            group["keypoints"] = np.asarray(keypoints, np.float32).reshape(count, 2)
            group["descriptors"] = np.asarray(descriptors, np.float32).reshape(count, -1 if count else 8).T
            group["scores"] = np.ones(count, np.float32)
            group["scales"] = np.ones(count, np.float32)
            group["image_size"] = np.array([320, 240])


@pytest.fixture
def folder(tmp_path):
    """Photos a, b: 30 planted correspondences (b = a moved by (15, -5)), 10 features of their own each; c is blank."""
    generator = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), generator.integers(0, 255, (240, 320, 3), np.uint8))
    rows = np.linalg.qr(generator.normal(size=(64, 64)))[0]
    descriptors = {"a.png": rows[:40], "b.png": np.concatenate([rows[:30], rows[50:60]])}
    keypoints = generator.uniform(30, 200, (40, 2))
    photos = {
        "a.png": (keypoints, descriptors["a.png"]),
        "b.png": (keypoints + [15, -5], descriptors["b.png"]),
        "c.png": ([], []),
    }
    write_features(tmp_path / "features.h5", photos)
    return tmp_path


def options(folder, *more):
    return [f"--images_path={folder}", f"--features={folder}/features.h5", f"--output_image={folder}/m.png", *more]


def test_counts_and_map_of_the_planted_pair(folder, capsys):
    main(options(folder, "--image_a=a.png", "--image_b=b.png", "--json"))
    result = json.loads(capsys.readouterr().out)
    assert (result["correspondences"], result["inliers"]) == (30, 30)
    np.testing.assert_allclose(result["affine"], [[1, 0, 15], [0, 1, -5]], atol=1e-3)
    assert cv2.imread(str(folder / "m.png")) is not None


def test_the_same_pair_gives_the_same_answer_and_picture(folder, capsys):
    made = []
    for method in ("opencv", "opencv", "magsac", "magsac"):
        main(options(folder, "--image_a=a.png", "--image_b=b.png", "--json", f"--ransac_method={method}"))
        made.append((capsys.readouterr().out, (folder / "m.png").read_bytes()))
    assert made[0] == made[1] and made[2] == made[3]


def test_ratio_mutual_check_and_outliers_are_options(folder, capsys):
    """Every descriptor of A is orthogonal to the 10 of its own, at 1.41, and those match nothing below 0.8."""
    pair = options(folder, "--image_a=a.png", "--image_b=b.png", "--match_distance=1.5")
    main(pair)
    assert capsys.readouterr().out.startswith("40 correspondences, 30 inliers")
    plain = (folder / "m.png").read_bytes()
    main([*pair, "--show_outliers"])
    assert (folder / "m.png").read_bytes() != plain
    for strict in ("--match_ratio=0.9", "--mutual_check"):
        main([*pair, strict])
        count = int(capsys.readouterr().out.split()[-4])
        assert 30 <= count < 40, strict


def test_runs_as_a_command_from_another_folder(folder):
    (folder / "list_images.txt").write_text("a.png\n\nb.png\n")
    run = subprocess.run([sys.executable, str(COMMAND), *options(folder)], cwd=folder, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "30 correspondences, 30 inliers\n"), run.stderr


def test_a_photo_without_features_is_a_valid_pair(folder, capsys):
    main(options(folder, "--image_a=a.png", "--image_b=c.png"))
    assert capsys.readouterr().out == "0 correspondences, 0 inliers\n"
    assert (folder / "m.png").exists()


def test_a_photo_missing_from_the_feature_file(folder):
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes())
    with pytest.raises(UserError, match=r"features\.h5: no photo 'd\.png'"):
        main(options(folder, "--image_a=a.png", "--image_b=d.png"))


def test_a_list_of_three_photos_is_refused(folder):
    (folder / "list.txt").write_text("a.png\nb.png\nc.png\n")
    with pytest.raises(UserError, match="3 lines; it must name two photos"):
        main(options(folder, f"--list_images_path={folder}/list.txt"))


def test_a_picture_needs_a_known_suffix(folder):
    arguments = options(folder, "--image_a=a.png", "--image_b=b.png", f"--output_image={folder}/m.gif")
    with pytest.raises(UserError, match=r"must end in \.png or \.jpg"):
        main(arguments)
