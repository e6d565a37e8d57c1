"""The queries of a ground truth as photos to extract: their names, files and boxes."""

import pytest

from src.errors import UserError
from src.evaluation.evaluate import photos_of_queries
from src.records import Photo


@pytest.fixture
def ground_truth(tmp_path):
    root = tmp_path / "gt"
    root.mkdir()
    queries = {"all_souls_1": "oxc1_all_souls_000013 136.5 34.1 648.5 955.7", "radcliffe_1": "radcliffe_1 1 2 30 40"}
    for name, line in queries.items():
        (root / f"{name}_query.txt").write_text(line + "\n")
        for label in ("good", "ok", "junk"):
            (root / f"{name}_{label}.txt").write_text("a\n")
    return root


def test_queries_are_cropped_as_the_protocol_says(photo_folder, ground_truth):
    photos, protocol = photos_of_queries(photo_folder, ground_truth, "classic")
    assert protocol == "classic"
    assert photos == [
        Photo("all_souls_1", str(photo_folder / "jpg/all_souls_000013.jpg"), (136, 34, 648, 956)),
        Photo("radcliffe_1", str(photo_folder / "jpg/radcliffe_1.JPG"), (1, 2, 30, 40)),
    ]
    photos, protocol = photos_of_queries(photo_folder, ground_truth)
    assert protocol == "modelzoo" and [photo.box for photo in photos] == [None, None]


def test_query_without_photo(photo_folder, ground_truth):
    (photo_folder / "jpg/radcliffe_1.JPG").unlink()
    with pytest.raises(UserError, match="no photo radcliffe_1 in it, which query radcliffe_1 needs"):
        photos_of_queries(photo_folder, ground_truth)
