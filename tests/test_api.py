"""The ten lines of the README, run as they stand, and what the API says to wrong input."""

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import src as delf
from src.commands import build_photo_index, make_untrained_checkpoint
from src.errors import UserError
from src.records import Provenance, Ranking
from src.retrieval.ranking_file import save_ranking

README = Path(__file__).resolve().parents[1] / "README.md"
SCALES = ["--image_scales", "0.7071,1"]


def draw_photo(seed):
    """[120, 160, 3] uint8: a picture of random shapes."""
    generator = np.random.default_rng(seed)
    photo = np.full((120, 160, 3), 128, np.uint8)
    for size in np.geomspace(60, 4, 60):
        corners = generator.normal(generator.integers(0, (160, 120)), size / 2, (4, 2)).astype(np.int32)
        cv2.fillPoly(photo, [corners], generator.integers(0, 256, 3).tolist())
    return photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """net.ckpt, a.jpg, b.jpg, query.jpg, my_index, ranks.npz and gt_files, as the README has them."""
    folder = tmp_path_factory.mktemp("api")
    make_untrained_checkpoint.main(["--output", str(folder / "net.ckpt"), "--device_target", "CPU"])
    (folder / "photos").mkdir()
    for number in range(4):
        Image.fromarray(draw_photo(number)).save(folder / "photos" / f"{number}.png")
    for name, number in (("a", 0), ("b", 1), ("query", 2)):
        Image.fromarray(draw_photo(number)).save(folder / f"{name}.jpg", quality=95)
    build_photo_index.main(
        ["--images_path", str(folder / "photos"), "--checkpoint_path", str(folder / "net.ckpt"), "--pca_dim", "8",
         "--output", str(folder / "my_index"), *SCALES]
    )  # fmt: skip
    (folder / "gt_files").mkdir()
    for kind, text in (("query", "oxc1_a 0 0 10 10"), ("good", "a\nb"), ("ok", ""), ("junk", "")):
        (folder / "gt_files" / f"all_souls_1_{kind}.txt").write_text(text)
    ranking = Ranking(["all_souls_1"], ["a", "b", "c"], [[0, 2, 1]], [[3.0, 2.0, 1.0]])
    save_ranking(folder / "ranks.npz", ranking, Provenance())
    return folder


def test_the_readme_s_lines_run_as_they_stand(folder, monkeypatch, capsys):
    block = re.search(r"```python\n(import delf\n.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "delf", delf)
    exec(compile(block, "README.md", "exec"), {})
    shapes, inliers, *results, figures = capsys.readouterr().out.splitlines()
    count = int(re.fullmatch(r"\((\d+), 2\) \(\1, 1024\)", shapes)[1])
    assert count > 10 and re.fullmatch(r"\d+ inliers of \d+", inliers)
    assert results[0].split()[:2] == ["1", "2.png"] and int(results[0].split()[2]) >= 4  # the query's own photo
    # positives at ranks 0 and 2: ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2
    assert figures == str({"classic": (1 + (1 / 2 + 2 / 3) / 2) / 2})


def _kinds_of(path):
    return path, str(path), path.read_bytes(), Image.open(path), np.array(Image.open(path)), draw_photo(3)


def test_photos_come_as_files_bytes_images_and_arrays(folder):
    encoder = delf.load_encoder(folder / "net.ckpt", image_scales=(1,), max_feature_num=7, engine="mindspore")
    path = folder / "photos/3.png"
    features = [encoder.encode(photo).local for photo in _kinds_of(path)]
    assert len(features[0]) == 7 and repr(features[0]) == "LocalFeatures(7 of 1024 numbers, photo 160 x 120)"
    for other in features[1:]:
        np.testing.assert_array_equal(features[0].descriptors, other.descriptors)
    matches = delf.match(encoder, features[0], path, match_distance=0.5, ransac_trials=50)
    assert len(matches) == 7 and matches.num_inliers == 7 and np.allclose(matches.affine, np.eye(2, 3), atol=1e-3)


def test_unknown_keywords_are_type_errors_that_name_the_nearest(folder):
    with pytest.raises(TypeError, match="'max_features' is no keyword here; did you mean max_feature_num"):
        delf.load_encoder(folder / "net.ckpt", max_features=5)
    for name in ("help", "max_iters", "num_rerank", "overwrite", "half"):
        with pytest.raises(TypeError, match=f"'{name}' is no keyword here"):
            delf.load_encoder(folder / "net.ckpt", **{name: 1})
    with pytest.raises(TypeError, match="did you mean match_distance"):
        delf.match(None, None, None, match_distanc=1)
    with pytest.raises(TypeError, match="did you mean num_rerank"):
        delf.open_index(folder / "my_index", num_reranks=1)


def test_wrong_values_and_files_are_one_sentence(folder):
    for call, said in (
        (lambda: delf.load_encoder(folder / "none.ckpt"), "none.ckpt: no such file"),
        (
            lambda: delf.load_encoder(folder / "net.ckpt", max_feature_num=0),
            "`max_feature_num` is 0; it must be above 0",
        ),
        (lambda: delf.load_encoder(folder / "a.jpg"), "a.jpg: "),
        (lambda: delf.open_index(folder / "photos"), "not a photo index"),
        (lambda: delf.evaluate(folder / "a.jpg", folder / "gt_files"), "a.jpg: not a .npz file; give a ranking"),
        (lambda: delf.evaluate(folder / "ranks.npz", folder / "none"), "none: no such ground truth"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)
