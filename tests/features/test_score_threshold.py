"""The score threshold of a model: proposed from a sample of scores, saved beside the checkpoint, found again."""

import os

import cv2
import numpy as np
import pytest

from src.artifacts import sha256_of
from src.config import Config
from src.errors import UserError
from src.features.drawing import draw_scores
from src.features.extraction import photos_of_folder
from src.features.saved_threshold import saved_threshold
from src.features.score_threshold import ScoreSample, save_threshold, scores_of_file, scores_of_photos
from tests.features.fake_network import fake_network, load_fake_network, sections
from tests.features.made_up import make_file, make_photos

SHA = "ab" * 32
SAMPLE = ScoreSample([np.float32([9, 7, 5, 3, 1]), np.float32([8, 6, 4]), np.float32([0.5])], SHA, 1000)


def test_threshold_keeps_so_many_on_average():
    assert SAMPLE.threshold_for(1) == 7.0  # 9, 8, 7 of three photos
    assert SAMPLE.kept(7.0) == (1.0, 1 / 3)
    assert SAMPLE.threshold_for(2) == 4.0 and SAMPLE.kept(4.0) == (2.0, 1 / 3)
    assert SAMPLE.threshold_for(3) == 0.5 and SAMPLE.kept(0.5) == (3.0, 0.0)
    assert SAMPLE.threshold_for(4) == 0.0  # there are only 3 a photo


def test_features_above_the_maximum_of_a_photo_do_not_count():
    sample = ScoreSample(SAMPLE.scores, SHA, max_feature_num=2)
    assert sample.threshold_for(1) == 7.0
    assert sample.threshold_for(5 / 3) == 0.5 and sample.kept(0.0) == (5 / 3, 0.0)


def test_table_holds_the_proposal_and_falls():
    generator = np.random.default_rng(0)
    sample = ScoreSample([-np.sort(-generator.gamma(2, 5, 600)) for _ in range(4)], SHA, 1000)
    rows = sample.table(sample.threshold_for(300))
    assert sample.threshold_for(300) in [row[0] for row in rows] and rows[0][0] == 0
    assert [round(row[1]) for row in rows] == [600, 500, 300, 200, 100, 50, 20]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_saved_threshold_is_found_again_and_belongs_to_its_checkpoint(tmp_path):
    checkpoint = tmp_path / "delf.ckpt"
    assert saved_threshold(checkpoint, SHA) is None
    record = {"checkpoint_sha256": SHA, "score_threshold": float(np.float32(0.1)), "features_per_photo": 300.0}
    path = save_threshold(checkpoint, {**record, "num_photos": 9}, overwrite=False)
    assert path == tmp_path / "score_threshold.json"
    assert np.float32(saved_threshold(checkpoint, SHA)) == np.float32(0.1)
    with pytest.raises(UserError, match="score_threshold.json: made for checkpoint abab.*choose_score_threshold"):
        saved_threshold(checkpoint, "cd" * 32)
    save_threshold(checkpoint, {**record, "num_photos": 9}, overwrite=False)  # the same again
    with pytest.raises(UserError, match=r"other settings \(num_photos, score_threshold\); give `overwrite`"):
        save_threshold(checkpoint, {**record, "score_threshold": 2.0}, overwrite=False)
    save_threshold(checkpoint, {**record, "score_threshold": 2.0}, overwrite=True)
    assert saved_threshold(checkpoint, SHA) == 2.0


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "7", '{"checkpoint_sha256": "a"}', '{"checkpoint_sha256": 1, "score_threshold": 1}',
     '{"checkpoint_sha256": "a", "score_threshold": "high"}', '{"checkpoint_sha256": "a", "score_threshold": NaN}',
     '{"checkpoint_sha256": "a", "score_threshold": 1e999}', "[" * 100_000,
     '{"checkpoint_sha256": "a", "score_threshold": 1' + "0" * 400 + "}"],
    ids=range(11),
)  # fmt: skip
def test_damaged_file(tmp_path, text):
    (tmp_path / "score_threshold.json").write_text(text)
    with pytest.raises(UserError, match=r"score_threshold.json: damaged \(.*\); delete it, or make it anew"):
        saved_threshold(tmp_path / "delf.ckpt", SHA)


def test_a_pipe_in_its_place(tmp_path):
    os.mkfifo(tmp_path / "score_threshold.json")
    with pytest.raises(UserError, match="score_threshold.json: is a pipe or a device"):
        saved_threshold(tmp_path / "delf.ckpt", SHA)


def test_scores_of_a_feature_file(tmp_path):
    features = make_file(tmp_path / "f.h5", [f"{number}.jpg" for number in range(9)])
    sample = scores_of_file(features, 1000)
    assert len(sample.scores) == 9 and sample.weights == SHA
    assert all((np.diff(scores) <= 0).all() for scores in sample.scores)
    assert len(scores_of_file(features, 1000, num_photos=4, seed=1).scores) == 4
    cut = make_file(tmp_path / "cut.h5", ["a.jpg"], score_threshold=2.5)
    odd = make_file(tmp_path / "odd.h5", ["a.jpg"], score_threshold="high")
    with pytest.raises(UserError, match="odd.h5: made with score_threshold high"):
        scores_of_file(odd, 1000)
    with pytest.raises(UserError, match="made with score_threshold 2.5, .*`score_threshold` 0"):
        scores_of_file(cut, 1000)
    with pytest.raises(UserError, match="no features in 0 photos"):
        scores_of_file(make_file(tmp_path / "none.h5", []), 1000)


def test_scores_of_photos_are_those_of_every_cell(tmp_path):
    (tmp_path / "delf.ckpt").write_bytes(b"weights")
    save_threshold(tmp_path / "delf.ckpt", {"checkpoint_sha256": SHA, "score_threshold": 9.0}, False)  # of another one
    config = Config(checkpoint_path=str(tmp_path / "delf.ckpt"), image_scales=(1.0,), max_feature_num=2)
    photos = photos_of_folder(make_photos(tmp_path / "photos", ["a.png", "b.png"], (96, 64)))
    sample = scores_of_photos(photos, *sections(config), load_fake_network)
    assert [len(scores) for scores in sample.scores] == [6, 6]
    assert sample.weights == sha256_of(config.model.checkpoint_path) and sample.max_feature_num == 2
    pixels = cv2.imread(str(tmp_path / "photos/a.png"))[:, :, ::-1].astype(np.float32)
    _, attention = fake_network((pixels.transpose(2, 0, 1)[None] - 128) / 128)
    np.testing.assert_allclose(sample.scores[0], np.sort(attention.reshape(-1))[::-1], atol=1e-5)


def test_histogram_is_a_picture(tmp_path):
    draw_scores(SAMPLE, 4.0, tmp_path / "a.png")
    picture = cv2.imread(str(tmp_path / "a.png")).reshape(-1, 3)
    for colour in ((0x1F, 0x6F, 0xB4), (0xC9, 0xCE, 0xD6), (0x3C, 0x40, 0x43)):  # kept, left out, the line
        assert (picture == colour[::-1]).all(axis=1).sum() > 100
    draw_scores(ScoreSample([np.ones(3, np.float32)], SHA, 1000), 1.0, tmp_path / "one_value.png")
    assert cv2.imread(str(tmp_path / "one_value.png")) is not None
