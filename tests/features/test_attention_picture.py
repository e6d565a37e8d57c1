"""The attention of two networks in one picture: the right map over the right photo, each network in its own scale."""

import cv2
import numpy as np
import pytest
from matplotlib import colormaps

from src.config import Config
from src.errors import UserError
from src.features.attention_picture import compare_attention, draw_attention
from tests.features.fake_network import load_fake_network, sections
from tests.features.made_up import make_photos


def test_each_map_lies_over_its_photo_in_the_colours_of_its_network(tmp_path):
    photos = [np.full((240, 320, 3), 128, np.uint8), np.full((240, 160, 3), 128, np.uint8)]
    maps = [[np.zeros((6, 8)), np.zeros((6, 4))], [np.zeros((6, 8)), np.zeros((6, 4))]]
    maps[0][1][1, 3], maps[1][0][4, 2] = 5.0, 700.0  # (row, column): each the highest of its network
    draw_attention(photos, maps, ["a", "b"], ["before.h5", "after.ckpt"], tmp_path / "a.png")
    picture = cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1].astype(int)
    assert picture.shape[:2] == (3 * 264 + 10, 320 + 160 + 30)
    wanted = 255 * (0.8 * np.array(colormaps["plasma"](1.0)[:3]) + 0.2 * 128 / 255)
    rows, columns = np.nonzero(np.abs(picture - wanted).sum(axis=2) < 20)
    first = rows < 2 * 264
    assert abs(rows[first].mean() - (264 + 24 + 1.5 * 40)) < 3 and abs(columns[first].mean() - (340 + 3.5 * 40)) < 3
    assert abs(rows[~first].mean() - (528 + 24 + 4.5 * 40)) < 3 and abs(columns[~first].mean() - (10 + 2.5 * 40)) < 3
    assert np.ptp(rows[first]) <= 42 and np.ptp(columns[~first]) <= 42


def test_photos_of_a_folder(tmp_path):
    (tmp_path / "net.ckpt").write_bytes(b"weights")
    make_photos(tmp_path / "photos", ["a.png", "b.png", "c.png"], (320, 256))
    config = Config(checkpoint_path=str(tmp_path / "net.ckpt"), image_scales=(1.0,))
    run, model, extraction = sections(config)
    arguments = (tmp_path / "photos", tmp_path / "a.png", run, model, extraction, model.checkpoint_path)
    assert compare_attention(*arguments, num_images=2, network=load_fake_network) == 2
    assert cv2.imread(str(tmp_path / "a.png")).shape[0] == 3 * 264 + 10
    with pytest.raises(UserError, match="no such folder"):
        compare_attention(tmp_path / "nope", *arguments[1:], network=load_fake_network)
