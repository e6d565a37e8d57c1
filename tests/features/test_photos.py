"""Which photos are extracted, under which names, with which boxes."""

import os

import pytest

from src.errors import UserError
from src.features.extraction import photos_digest, photos_of_folder, photos_of_list, photos_of_shard, with_prefix
from src.records import Photo


def test_whole_folder(photo_folder):
    photos = photos_of_folder(photo_folder)
    assert [photo.name for photo in photos] == ["a.png", "b.png", "jpg/all_souls_000013.jpg", "jpg/radcliffe_1.JPG"]
    assert all(photo.path == str(photo_folder / photo.name) and photo.box is None for photo in photos)


def test_sample_is_seeded_and_sorted(photo_folder):
    samples = [[photo.name for photo in photos_of_folder(photo_folder, 2, seed)] for seed in range(20)]
    assert all(len(set(names)) == 2 and names == sorted(names) for names in samples)
    assert len({tuple(names) for names in samples}) > 2
    assert photos_of_folder(photo_folder, 2, 5) == photos_of_folder(photo_folder, 2, 5)
    assert len(photos_of_folder(photo_folder, 99)) == 4


def test_list(photo_folder, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\ufeffb.png\r\n\n ./a.png \nb.png\n", encoding="utf-8")
    assert [photo.name for photo in photos_of_list(photo_folder, path)] == ["a.png", "b.png"]


def test_a_list_finds_names_in_the_other_form_of_unicode(photo_folder, tmp_path):
    composed, apart = "caf\u00e9.png", "cafe\u0301.png"
    for there, listed in ((composed, apart), (apart, composed)):
        (photo_folder / there).write_bytes(b"1")
        (tmp_path / "list.txt").write_text(f"{listed}\n{there}\na.png\n", encoding="utf-8")
        photos = photos_of_list(photo_folder, tmp_path / "list.txt")
        assert [photo.name for photo in photos] == sorted(["a.png", there])
        (photo_folder / there).unlink()
    for name in (composed, apart):  # both there: each is itself
        (photo_folder / name).write_bytes(b"1")
    (tmp_path / "list.txt").write_text(apart, encoding="utf-8")
    assert [photo.name for photo in photos_of_list(photo_folder, tmp_path / "list.txt")] == [apart]


def test_a_list_of_paths_and_labels(photo_folder, tmp_path):
    """The two forms of dirtorch's ImageList and ImageListLabels, which may be mixed; names hold spaces."""
    composed, apart = "caf\u00e9.png", "cafe\u0301.png"
    for name in (apart, "x.jpg 7.png", "odd.png 3"):
        (photo_folder / name).write_bytes(b"1")
    lines = ["a.png 0", "b.png\tlandmark", f"{composed} 1", "x.jpg 7.png", "odd.png 3"]
    (tmp_path / "list.txt").write_text("\n".join(lines), encoding="utf-8")
    found = [photo.name for photo in photos_of_list(photo_folder, tmp_path / "list.txt")]
    assert found == sorted(["a.png", "b.png", apart, "x.jpg 7.png", "odd.png 3"])
    (tmp_path / "list.txt").write_text("none.png 4")
    with pytest.raises(UserError, match="list.txt: none.png is not a photo in"):
        photos_of_list(photo_folder, tmp_path / "list.txt")


def test_what_ends_a_line_elsewhere_belongs_to_a_name(photo_folder, tmp_path):
    name = "a\u2028b\x0bc.png"
    (photo_folder / name).write_bytes(b"1")
    (tmp_path / "list.txt").write_text(f"{name}\r\na.png", encoding="utf-8")
    assert [photo.name for photo in photos_of_list(photo_folder, tmp_path / "list.txt")] == ["a.png", name]


def test_a_list_of_pipes_and_devices(photo_folder, tmp_path):
    os.mkfifo(photo_folder / "pipe.jpg")
    (photo_folder / "zero.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "zero.jpg"):
        (tmp_path / "list.txt").write_text(name)
        with pytest.raises(UserError, match=f"{name} is not a photo in"):
            photos_of_list(photo_folder, tmp_path / "list.txt")
    for path in (photo_folder / "pipe.jpg", "/dev/zero"):
        with pytest.raises(UserError, match="pipe or a device"):
            photos_of_list(photo_folder, path)


@pytest.mark.parametrize("line", ["none.png", "jpg", "../photos/a.png", "/etc/hostname"])
def test_list_of_what_is_not_there(photo_folder, tmp_path, line):
    (tmp_path / "list.txt").write_text(f"a.png\n{line}\n")
    with pytest.raises(UserError, match="is not a photo in"):
        photos_of_list(photo_folder, tmp_path / "list.txt")


def test_list_that_is_none(photo_folder, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "photo.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UserError, match="lists no photo"):
        photos_of_list(photo_folder, tmp_path / "empty.txt")
    with pytest.raises(UserError, match="not a text file"):
        photos_of_list(photo_folder, tmp_path / "photo.txt")


def test_digest_follows_what_matters(photo_folder, tmp_path):
    photos = photos_of_folder(photo_folder)
    digest = photos_digest(photos)
    moved = tmp_path / "moved"
    photo_folder.rename(moved)
    assert photos_digest(photos_of_folder(moved)) == digest
    assert photos_digest(photos_of_folder(moved)[1:]) != digest
    (moved / "a.png").write_bytes(b"longer than before")
    assert photos_digest(photos_of_folder(moved)) != digest
    photo = Photo("q", str(moved / "a.png"), (0, 0, 5, 5))
    assert photos_digest([photo]) != photos_digest([Photo("q", photo.path)])


@pytest.mark.parametrize("count", [1, 3, 4])
def test_shards_share_the_photos_out(photo_folder, count):
    photos = photos_of_folder(photo_folder)
    shards = [photos_of_shard(photos, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted(photo.name for shard in shards for photo in shard) == [photo.name for photo in photos]
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert photos_of_shard(photos, "") == photos


@pytest.mark.parametrize("shard", ["0/4", "5/4", "2", "2/", "/2", "-1/4", "1/4/4", "a/b", "1/0", "\u0661/4", "1/4\n"])
def test_what_is_no_shard(photo_folder, shard):
    with pytest.raises(UserError, match="give one such as 2/8"):
        photos_of_shard(photos_of_folder(photo_folder), shard)


def test_more_shards_than_photos(photo_folder):
    with pytest.raises(UserError, match="5/9: there are only 4 photos"):
        photos_of_shard(photos_of_folder(photo_folder), "5/9")


def test_prefix(photo_folder):
    photos = photos_of_folder(photo_folder)
    renamed = with_prefix(photos, "far/off_")
    assert [photo.name for photo in renamed][0] == "far/off_a.png" and renamed[0].path == photos[0].path
    assert with_prefix(photos, "") == photos
    assert with_prefix(photos, "distractors/")[0].name == "distractors/a.png"
    for prefix in ("/", "/a", "../", "a//b", "./"):
        with pytest.raises(UserError, match="`name_prefix` is"):
            with_prefix(photos, prefix)
