import cv2
import numpy as np
import pytest

from src.errors import UserError
from src.evaluation.upright import rotate_photos
from src.images import load_image


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "jpg"
    folder.mkdir()
    image = np.zeros((40, 80, 3), np.uint8)
    image[:20, :40] = 255  # white in the upper left
    for name in ("100000", "100001", "100100"):
        cv2.imwrite(str(folder / f"{name}.jpg"), image)
    return folder


def turn(photos, text, **more):
    (photos.parent / "list.txt").write_text(text)
    return rotate_photos(photos, photos.parent / "list.txt", photos.parent / "upright", **more)


def white_corner(path):
    image = load_image(path).mean(axis=2) > 128
    height, width = image.shape
    rows, columns = np.nonzero(image)
    return (width, height), (
        "left" if columns.mean() < width / 2 else "right",
        "top" if rows.mean() < height / 2 else "bottom",
    )


def test_turned_counter_clockwise_and_others_copied(photos):
    assert turn(photos, "100000.jpg 90\n\n100001 180\n100100.jpg 0\n") == 2
    upright = photos.parent / "upright"
    assert white_corner(upright / "100000.jpg") == ((40, 80), ("left", "bottom"))
    assert white_corner(upright / "100001.jpg") == ((80, 40), ("right", "bottom"))
    assert (upright / "100100.jpg").read_bytes() == (photos / "100100.jpg").read_bytes()
    written = (upright / "100000.jpg").stat().st_mtime_ns
    assert turn(photos, "100000 90\n100001.jpg 180") == 2 and (upright / "100000.jpg").stat().st_mtime_ns == written
    with pytest.raises(UserError, match=r"upright: made under other settings \(turns\); give `overwrite`"):
        turn(photos, "100000 270")
    assert turn(photos, "100000 270", overwrite=True) == 1
    assert white_corner(upright / "100000.jpg") == ((40, 80), ("right", "top"))


def test_a_folder_of_something_else_is_never_replaced(photos):
    kept = photos.parent / "upright" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="upright: not a folder of turned photos"):
            turn(photos, "100000 90", overwrite=overwrite)
    assert kept.read_text() == "mine"


@pytest.mark.parametrize(
    "text, said", [("100000 45", "expected a photo's name and 90"), ("90", "expected"), ("x 90", "x is not a photo")]
)
def test_malformed_list(photos, text, said):
    with pytest.raises(UserError, match=said):
        turn(photos, text)
    assert not (photos.parent / "upright").exists()
