import base64
import re

import cv2
import numpy as np
import pytest
from report.report_cases import NAMES, write_photos

from src.errors import UserError
from src.report.photos import MISSING, SIZES, UNREADABLE, ThumbnailSize, find_photos, read_photos, style_rules


@pytest.fixture
def folder(tmp_path):
    write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def decode(rules):
    data = dict(re.findall(r"\.(\w+)\{background-image:url\(data:image/jpeg;base64,([^)]+)\)\}", rules))
    return {
        name: cv2.imdecode(np.frombuffer(base64.b64decode(d), np.uint8), cv2.IMREAD_COLOR) for name, d in data.items()
    }


def test_each_photo_once_as_a_small_jpeg(folder):
    photos, copies = read_photos(find_photos([folder], [*NAMES, "photo_a.jpg"]))
    assert photos["photo_a"] == photos["photo_a.jpg"] and photos["photo_a"].size == (400, 200)
    assert photos["photo_k"].problem == UNREADABLE and photos["photo_l"].problem == MISSING
    rules, size = style_rules(copies, 10**7)
    images = decode(rules)
    assert size == SIZES[0] and set(images) == {photo.style for photo in photos.values() if photo.style}
    assert {image.shape for image in images.values()} == {(180, 360, 3)}
    original = cv2.resize(cv2.imread(str(folder / "photo_b.jpg")), (360, 180), interpolation=cv2.INTER_AREA)
    difference = np.abs(images[photos["photo_b"].style].astype(int) - original)
    assert difference.mean() < 3


def test_budget_shrinks_them(folder, caplog):
    _, copies = read_photos(find_photos([folder], NAMES))
    whole, _ = style_rules(copies, 10**7)
    rules, size = style_rules(copies, len(whole) // 2)
    assert len(rules) <= len(whole) // 2 and size in SIZES[1:]
    assert max(decode(rules)["p0"].shape) == min(size.side, 400)
    rules, size = style_rules(copies, 100)
    assert size == SIZES[-1] and "larger than it should be" in caplog.text


def test_small_photos_are_not_enlarged_and_no_photo_is_no_rule(folder):
    cv2.imwrite(str(folder / "tiny.png"), np.zeros((1, 900, 3), np.uint8))
    cv2.imwrite(str(folder / "small.png"), np.zeros((30, 20, 3), np.uint8))
    photos, copies = read_photos(find_photos([folder], ["tiny", "small"]))
    images = decode(style_rules(copies, 10**6)[0])
    assert [images[photos[name].style].shape[:2] for name in ("tiny", "small")] == [(1, 360), (30, 20)]
    assert style_rules({}, 0) == ("", SIZES[0])


def test_larger_thumbnails_by_choice(folder):
    _, copies = read_photos(find_photos([folder], NAMES[:1]), ThumbnailSize(500, 90))
    rules, size = style_rules(copies, 10**6, [ThumbnailSize(500, 90), *SIZES])
    assert size == ThumbnailSize(500, 90) and decode(rules)["p0"].shape == (200, 400, 3)  # the photo's own size


def test_folders(folder, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    for name in ("photo_a", "other"):
        cv2.imwrite(str(more / f"{name}.png"), np.zeros((9, 9, 3), np.uint8))
    files = find_photos([folder, more], ["photo_a", "other", "none"])
    assert files == {"photo_a": folder / "photo_a.jpg", "other": more / "other.png", "none": None}
    with pytest.raises(UserError, match="`images_path`"):
        find_photos([folder, tmp_path / "nowhere"], ["photo_a"])


def test_distractors_are_found_in_their_own_folder(folder, tmp_path):
    write_photos(tmp_path / "more")
    files = find_photos([folder, tmp_path / "more"], ["photo_a", "distractors/photo_a"])
    assert files == {"photo_a": folder / "photo_a.jpg", "distractors/photo_a": tmp_path / "more" / "photo_a.jpg"}
    assert find_photos([folder], ["distractors/photo_a"]) == {"distractors/photo_a": None}
