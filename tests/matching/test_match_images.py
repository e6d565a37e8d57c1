"""The command match_images on two synthetic photos: with a hand-made feature file, and with a network."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from src.artifacts import sha256_of
from src.commands.match_images import main
from src.config import Config
from src.errors import UserError
from src.features.feature_file import write_provenance
from src.features.pca import Pca, save_pca
from src.matching.match import match_features
from src.matching.same_place import Calibration, conditions, save_calibration
from src.records import LocalFeatures, Provenance
from tests.features.fake_network import load_fake_network

COMMAND = Path(__file__).resolve().parents[2] / "eval" / "match_images.py"


def write_features(path, photos):
    """hloc's layout, written by hand: {name: (keypoints, descriptors)}."""
    with h5py.File(path, "w") as file:
        write_provenance(file, Provenance("ab" * 32))
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


def test_verdict_of_a_calibration_for_pairs(folder, capsys, caplog):
    """It is one of exact correspondences below the same distance."""
    caplog.set_level(logging.INFO)
    pair = options(folder, "--image_a=a.png", "--image_b=b.png")
    main([*pair, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["same_place"] is None and "no same_place_exact.json beside the checkpoint" in caplog.text
    config = Config(correspondences="exact", search_distance=0.8)
    search = {**config.matching.values(), **config.retrieval.values()}
    holds = conditions(Provenance("ab" * 32), search)
    save_calibration(folder / "given.json", Calibration([0, 25], [0.1, 0.9], 25, 0, holds, {}))
    pair.append(f"--same_place={folder}/given.json")
    main(pair)
    assert capsys.readouterr().out.splitlines()[1] == "the same place: yes, 90 %"
    main([*pair, "--json"])
    assert json.loads(capsys.readouterr().out)["probability"] == 0.9
    with pytest.raises(UserError, match="other settings .search_distance 0.8 there, 0.7 here"):
        main([*pair, "--match_distance=0.7"])


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


@pytest.mark.parametrize("name", [r"$\frac{a$.png", "a\x1b[31m\nb.png", os.fsdecode(b"caf\xe9.png")])
def test_photos_of_awkward_names_are_matched_and_drawn(network, folder, capsys, name):
    try:
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    main([name, "b.png", "--json", *network])
    out = capsys.readouterr().out
    assert json.loads(out)["image_a"] == name and out.isascii()
    assert cv2.imread(str(folder / "eval_match.png")) is not None


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


def test_the_library_function_takes_features_and_plain_values():
    rows = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0]
    points = np.random.default_rng(2).uniform(0, 300, (20, 2))
    a = LocalFeatures(points, np.ones(20), np.ones(20), rows, (320, 240))
    b = LocalFeatures(points + [7, 3], np.ones(20), np.ones(20), rows, (320, 240))
    matches = match_features(a, b, match_distance=0.5, seed=3)
    assert len(matches) == matches.num_inliers == 20
    np.testing.assert_allclose(matches.affine, [[1, 0, 7], [0, 1, 3]], atol=1e-3)
    opposite = LocalFeatures(points, np.ones(20), np.ones(20), -rows, (320, 240))
    assert len(match_features(a, opposite, match_distance=0.5)) == 0


def test_the_residual_follows_the_resize_factor_of_photo_b():
    generator = np.random.default_rng(3)
    rows, points = np.eye(40), generator.uniform(0, 300, (40, 2))
    a = LocalFeatures(points, np.ones(40), np.ones(40), rows, (320, 240))
    moved = points + generator.uniform(-9, 9, (40, 2))
    same, large = (
        LocalFeatures(factor * moved, np.ones(40), np.ones(40), rows, (factor * 320, factor * 240), 1 / factor)
        for factor in (1, 4)
    )
    inliers = match_features(a, same).inliers
    assert match_features(a, large).inliers.tolist() == inliers.tolist() and inliers.sum() > 30
    assert match_features(a, large, residual_unit="original").num_inliers < 20


@pytest.fixture
def network(folder, monkeypatch):
    """A made-up network instead of the checkpoint's, and photos that it sees something in."""
    monkeypatch.setattr("src.features.encoder.load_in_engine", load_fake_network)
    small = np.random.default_rng(5).integers(0, 256, (15, 20, 3), np.uint8)
    for name, shift in (("a.png", 0), ("b.png", 32)):
        image = np.roll(cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC), shift, axis=1)
        cv2.imwrite(str(folder / name), image)
    (folder / "delf.ckpt").write_bytes(b"weights")
    (folder / "features.h5").unlink()
    monkeypatch.chdir(folder)
    return ["--checkpoint_path=delf.ckpt", "--image_scales=1", "--engine=mindspore", "--device_target=CPU"]


def test_two_photos_and_a_checkpoint_are_enough(network, capsys):
    main(["a.png", "b.png", *network])
    counts = capsys.readouterr().out
    assert counts.endswith(" inliers\n") and int(counts.split()[0]) > 10
    assert cv2.imread("eval_match.png") is not None
    main(["--images_path=.", "--image_a=a.png", "--image_b=b.png", *network, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert f"{result['correspondences']} correspondences, {result['inliers']} inliers\n" == counts
    main(["a.png", "a.png", *network, "--match_distance=0.01"])
    count, _, inliers, _ = capsys.readouterr().out.split()
    assert count == inliers == "80"  # 10 x 8 cells of 320 x 240 pixels


def test_the_list_is_that_of_the_current_folder_then_of_the_photos_then_the_first_two(network, folder, capsys, caplog):
    caplog.set_level(logging.INFO)
    photos = folder / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).rename(photos / name)

    def matched():
        main(["--images_path=photos", *network, "--json"])
        result = json.loads(capsys.readouterr().out)
        return result["image_a"], result["image_b"]

    assert matched() == ("a.png", "b.png")
    assert "no list_images.txt: matching the first two photos of photos, a.png and b.png" in caplog.text
    (photos / "list_images.txt").write_text("b.png\nc.png\n")
    assert matched() == ("b.png", "c.png")
    (folder / "list_images.txt").write_text("c.png\na.png\n")
    assert matched() == ("c.png", "a.png")
    (folder / "other.txt").write_text("b.png\na.png\n")
    main(["--images_path=photos", "--list_images_path=other.txt", *network, "--json"])
    assert json.loads(capsys.readouterr().out)["image_a"] == "b.png"


def test_the_pca_is_the_one_given_then_the_one_beside_the_checkpoint(network, folder, capsys, caplog):
    caplog.set_level(logging.INFO)
    rows = np.linalg.qr(np.random.default_rng(0).normal(size=(1024, 4)))[0].T
    save_pca(folder / "pca.npz", Pca(np.zeros(1024), rows, np.ones(4), Provenance(sha256_of("delf.ckpt"))))
    main(["a.png", "b.png", *network, "--pca_dim=4"])
    assert "pca.npz: this PCA is used" in caplog.text
    beside = capsys.readouterr().out
    (folder / "pca.npz").rename(folder / "mine.npz")
    main(["a.png", "b.png", *network, "--pca_path=mine.npz", "--pca_dim=4"])
    assert capsys.readouterr().out == beside
    main(["a.png", "b.png", *network])
    without = capsys.readouterr().out
    assert without != beside
    save_pca(folder / "pca.npz", Pca(np.zeros(1024), rows, np.ones(4), Provenance("ab" * 32)))
    main(["a.png", "b.png", *network])
    assert capsys.readouterr().out == without
    assert "pca.npz: left aside, as it was not fitted on this checkpoint" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png"], "the number of photos given as paths is 1: give two"),
        (["a.png", "b.png", "--images_path=."], "--images_path has no effect on photos given as paths"),
        (["a.png", "b.png", "--image_b=c.png"], "--image_b has no effect on photos given as paths"),
        (["a.png", "b.png", "--features=f.h5"], "by their names in a folder: give --images_path, --image_a and"),
        (["--images_path=.", "--image_a=a", "--image_b=b", "--list_images_path=l"], "both choose the photos"),
        (["--images_path=.", "--list_images_path=a.png"], "a.png: not a text file; list one photo a line"),
        (["a.png", "b.png"], "give --checkpoint_path to extract the features, or --features"),
        ([], "give two photos as paths, or --images_path"),
        (["--images_path=.", "--image_a=a.png"], "--image_a and --image_b go together"),
        (["--images_path=.", "--image_a=a.png", "--image_b=b.png", "--features=f.h5", "--checkpoint_path=x"],
         "--checkpoint_path has no effect together with --features"),
    ],
)  # fmt: skip
def test_refuses(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=message):
        main(arguments)
