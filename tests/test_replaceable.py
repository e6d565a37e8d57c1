"""Pages and drawings replace their own kind alone, and never a photo that they show."""

import pytest
from PIL import Image

from src.commands import match_images, search_images
from src.errors import UserError
from src.replaceable import require_page_place, require_picture_place
from tests.features.made_up import make_file, make_photos


@pytest.mark.parametrize("content, said", [(b"\x89HDF\r\n\x1a\n", "is no"), (b"import os", "is no"), (b"", None)])
def test_another_file_is_not_replaced(tmp_path, content, said):
    path = tmp_path / "out.png"
    path.write_bytes(content)
    for require in (require_page_place, require_picture_place):
        if said:
            with pytest.raises(UserError, match="out.png: stands there and is no (page|picture); give another `output"):
                require(path)
        else:
            require(path)


def test_an_older_one_is_replaced(tmp_path):
    (tmp_path / "a.html").write_text("<!DOCTYPE html>\n<html>")
    require_page_place(tmp_path / "a.html")
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
        require_picture_place(tmp_path / name, photos=[tmp_path / "other.png"])
        with pytest.raises(UserError, match=f"{name}: stands there and is no page"):
            require_page_place(tmp_path / name)


def test_a_drawing_does_not_replace_its_photo(tmp_path, monkeypatch):
    monkeypatch.chdir(make_photos(tmp_path, ["a.png", "b.png"]))
    make_file("f.h5", ["a.png", "b.png"])
    (tmp_path / "link.png").hardlink_to(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    for name in ("a.png", "./b.png", "link.png"):
        with pytest.raises(UserError, match="is one of the photos, which the drawing would replace"):
            match_images.main([*"--images_path . --image_a a.png --image_b b.png --features f.h5".split(),
                               "--output_image", name])  # fmt: skip
    with pytest.raises(UserError, match="f.h5: stands there and is no page"):
        search_images.main(["--index", "index", "--query", "a.png", "--output", "f.h5"])
    assert (tmp_path / "a.png").read_bytes() == before
