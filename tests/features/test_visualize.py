"""Pictures of keypoints and attention."""

import dataclasses

import cv2
import h5py
import numpy as np
import pytest
from matplotlib import colormaps

from src.config import Config
from src.errors import UserError
from src.features.drawing import draw_features, shown_size
from src.features.feature_file import FeatureFile, write_provenance
from src.features.visualize import visualize
from src.records import LocalFeatures
from tests.features.fake_network import load_fake_network, sections
from tests.features.made_up import PROVENANCE, make_file, make_photos

MARGIN, TOP, GAP = 22, 74, 26  # of the photo in the picture


def _features(*points):
    """Features at (x, y, pyramid scale), scores falling from 2 to 1."""
    x, y, scale = np.array(points, float).reshape(-1, 3).T
    return LocalFeatures(
        np.stack([x, y], axis=1), 1 / scale, np.linspace(2, 1, len(x)), np.eye(len(x), 8), (200, 100)
    )  # fmt: skip


def _draw(tmp_path, features, attention, image=None, **how):
    image = np.full((100, 200, 3), 128, np.uint8) if image is None else image
    draw_features(image, features, attention, "photo.jpg", tmp_path / "a.png", **how)
    return cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1].astype(int)


def _near(picture, colour, tolerance=60):
    return np.abs(picture - 255 * np.array(colour[:3])).sum(axis=2) < tolerance


def test_circles_are_where_the_keypoints_are_and_as_large_as_their_cells(tmp_path):
    scale = 860 / 200
    picture = _draw(tmp_path, _features((60, 40, 1.0), (150, 50, 2.0)), None)
    photo = picture[TOP : TOP + 430, MARGIN : MARGIN + 860]
    for (x, y), cell, share in (((60, 40), 32, 1.0), ((150, 50), 16, 0.0)):
        rows, columns = np.nonzero(_near(photo, colormaps["plasma"](share)))
        assert abs(columns.mean() - x * scale) < 4 and abs(rows.mean() - y * scale) < 4
        assert abs(np.ptp(columns) - cell * scale) < 6 and abs(np.ptp(rows) - cell * scale) < 6


def test_strongest_are_drawn_on_top_and_the_weakest_not_at_all(tmp_path):
    features = _features((60, 40, 1.0), (60, 40, 1.0), (150, 50, 2.0))
    picture = _draw(tmp_path, features, None, num_shown=2)
    photo = picture[TOP : TOP + 430, MARGIN : MARGIN + 860]
    best, second = (_near(photo, colormaps["plasma"](share)).sum() for share in (1.0, 0.0))
    assert best > 200 and second < best / 20
    assert (np.abs(photo[:, 500:] - 128) < 3).all()  # the third is not there


def test_attention_lies_over_its_place(tmp_path):
    attention = np.zeros((10, 20), np.float32)
    attention[2, 15] = 5.0
    picture = _draw(tmp_path, _features(), attention)
    top = TOP + 430 + 30  # a wide photo: the attention is below the keypoints
    photo = picture[top : top + 430, MARGIN : MARGIN + 860]
    rows, columns = np.nonzero(_near(photo, 0.8 * np.array(colormaps["plasma"](1.0)[:3]) + 0.2 * 128 / 255, 30))
    assert abs(rows.mean() - 2.5 * 43) < 3 and abs(columns.mean() - 15.5 * 43) < 3
    assert np.ptp(rows) <= 45 and np.ptp(columns) <= 45


@pytest.mark.parametrize("shape", [(300, 200), (1, 1), (1, 3000), (2000, 3), (64, 64)])
def test_any_photo_can_be_drawn(tmp_path, shape):
    image = np.zeros((*shape, 3), np.uint8)
    width, height = shown_size(image)
    assert max(width, height) == 860 and min(width, height) >= 1
    features = LocalFeatures(np.zeros((0, 2)), [], [], np.zeros((0, 8)), (shape[1], shape[0]))
    picture = _draw(tmp_path, features, np.zeros((height, width), np.float32), image)
    assert picture.shape[0] >= height and picture.shape[1] >= width


@pytest.mark.parametrize("title", ["$\\frac{a$.jpg", "a\x1b[2J\n.jpg", "\udce9.jpg"])
def test_any_name_can_be_a_title(tmp_path, title):
    image = np.zeros((48, 64, 3), np.uint8)
    draw_features(image, _features((30, 20, 1.0)), None, title, tmp_path / "a.png")
    assert cv2.imread(str(tmp_path / "a.png"))[:44].min() < 128  # there is one


def test_pictures_of_a_feature_file(tmp_path, caplog):
    names = ["a.jpg", "sub/b.png", "c.jpg", "d.jpg"]
    photos = make_photos(tmp_path / "photos", names)
    (photos / "c.jpg").write_bytes(b"no photo")
    features = make_file(tmp_path / "f.h5", names[:3])
    assert visualize(photos, tmp_path / "out", *sections(Config()), features) == 2
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")) == [
        "a.jpg.png", "sub/b.png.png",
    ]  # fmt: skip
    assert "c.jpg: cannot be read" in caplog.text
    with pytest.raises(UserError, match="none of its 4 photos"):
        visualize(photos, tmp_path / "out", *sections(Config()), make_file(tmp_path / "g.h5", ["other.jpg"]))


def test_pictures_of_a_network_show_attention_too(tmp_path, monkeypatch):
    monkeypatch.setattr("src.features.visualize.load_network", load_fake_network)
    photos = make_photos(tmp_path / "photos", ["a.jpg", "b.jpg"], (200, 100))
    (tmp_path / "delf.ckpt").write_bytes(b"weights")
    config = Config(checkpoint_path=str(tmp_path / "delf.ckpt"), image_scales=(1.0,))
    assert visualize(photos, tmp_path / "out", *sections(config), num_images=1) == 1
    (path,) = (tmp_path / "out").iterdir()
    assert cv2.imread(str(path)).shape[0] > 2 * 430  # two pictures of a wide photo, one above the other


def test_keypoints_of_a_file_on_the_attention_of_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr("src.features.visualize.load_network", load_fake_network)
    photos, drawn = make_photos(tmp_path / "photos", ["a.jpg"], (200, 100)), []
    (tmp_path / "delf.ckpt").write_bytes(b"weights")
    features = make_file(tmp_path / "f.h5", ["a.jpg"])
    monkeypatch.setattr("src.features.visualize.draw_features", lambda *given: drawn.append(given))
    visualize(photos, tmp_path / "out", *sections(Config(checkpoint_path=str(tmp_path / "delf.ckpt"))), features)
    ((_, found, attention, *_),) = drawn
    with FeatureFile(features) as file:
        assert np.array_equal(found.keypoints, file.read("a.jpg").keypoints)
    assert attention.max() > 0


@pytest.mark.parametrize(("named", "stride"), [({"weights_style": "torchvision"}, 16), ({}, 32)])
def test_circles_are_cells_of_the_network_of_the_feature_file(tmp_path, monkeypatch, named, stride):
    photos, drawn = make_photos(tmp_path / "photos", ["a.jpg"]), []
    with h5py.File(make_file(tmp_path / "f.h5", ["a.jpg"]), "r+") as file:
        write_provenance(file, dataclasses.replace(PROVENANCE, encoder={**PROVENANCE.encoder, **named}))
    monkeypatch.setattr("src.features.visualize.draw_features", lambda *given: drawn.append(given[-1]))
    visualize(photos, tmp_path / "out", *sections(Config()), tmp_path / "f.h5")
    assert drawn == [stride]


def test_circles_are_cells_of_the_resized_photo(tmp_path):
    """A photo seen at half its size: a cell of 32 pixels there is one of 64 in the photo."""
    features = dataclasses.replace(_features((100, 50, 1.0)), resize_factor=0.5)
    photo = _draw(tmp_path, features, None)[TOP : TOP + 430, MARGIN : MARGIN + 860]
    _, columns = np.nonzero(_near(photo, colormaps["plasma"](0.0)))
    assert abs(np.ptp(columns) - 64 * 860 / 200) < 6
