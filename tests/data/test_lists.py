from pathlib import Path

import numpy as np
import pytest
from landmark_sets import reference_split, write_csv

from src.data.lists import count_known, image_path, image_root, read_clean_csv, read_labelled_csv, split_by_label
from src.data.shards import build_dataset
from src.errors import UserError


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_labels_follow_the_numeric_order_of_landmarks(tmp_path, separator):
    write_csv(tmp_path / "clean.csv", {100: ["aaa1", "bbb2"], 9: ["ccc3"], 20: ["ddd4", "eee5"]}, separator)
    catalogue = read_clean_csv(tmp_path / "clean.csv")
    assert list(catalogue.file_ids) == ["aaa1", "bbb2", "ccc3", "ddd4", "eee5"]  # the order of the file
    assert catalogue.labels.tolist() == [2, 2, 0, 1, 1]
    assert catalogue.class_names == [9, 20, 100]
    assert catalogue.num_classes == 3


def test_windows_lines_a_byte_order_mark_quotes_and_long_rows_are_read(tmp_path):
    many = " ".join(f"{number:016x}" for number in range(12000))  # past the csv module's limit of 131072 characters
    text = f'"landmark_id","images"\r\n7,"{many}"\r\n\r\n3,abc\r\n'
    (tmp_path / "clean.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    catalogue = read_clean_csv(tmp_path / "clean.csv")
    assert len(catalogue.file_ids) == 12001
    assert catalogue.class_names == [3, 7]


def test_a_photo_under_two_landmarks_keeps_the_later(tmp_path, caplog):
    write_csv(tmp_path / "clean.csv", {1: ["abc", "abd"], 2: ["abc", "abe"]})
    catalogue = read_clean_csv(tmp_path / "clean.csv")
    assert dict(zip(catalogue.file_ids, catalogue.labels)) == {"abc": 1, "abd": 0, "abe": 1}
    assert "1 listings" in caplog.text


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("id,url\n", "header"),
        ("landmark_id images\n1 a\n", "header"),
        ("landmark_id,images\n", "lists no image"),
        ("landmark_id,images\n1,abc\nabc\n", "line 3"),
        ("landmark_id,images\nx,abc\n", "line 2"),
        ("landmark_id,images\n--5,abc\n", "line 2: landmark_id is '--5'"),
        (f"landmark_id,images\n{'9' * 5000},abc\n", "line 2"),
        ("landmark_id,images\n5,\n", "landmark 5"),
        ("landmark_id,images\n5,../../etc/passwd\n", "folder"),
    ],
)
def test_bad_lists_are_refused_with_the_place(tmp_path, text, fact):
    (tmp_path / "clean.csv").write_text(text)
    with pytest.raises(UserError, match=fact):
        read_clean_csv(tmp_path / "clean.csv")


def test_train_csv_is_only_counted(tmp_path):
    write_csv(tmp_path / "clean.csv", {1: ["abc", "abd"], 2: ["abe"]})
    (tmp_path / "train.csv").write_text('id,url,landmark_id\nabc,http://x,1\n"abe","http://y,z",2\nfff,http://w,3\n')
    assert count_known(tmp_path / "train.csv", read_clean_csv(tmp_path / "clean.csv")) == 2
    with pytest.raises(UserError, match="no such file"):
        count_known(tmp_path / "none.csv", read_clean_csv(tmp_path / "clean.csv"))
    with pytest.raises(UserError, match="header"):
        count_known(tmp_path / "clean.csv", read_clean_csv(tmp_path / "clean.csv"))


@pytest.mark.parametrize(("size", "seed"), [(0.2, 0), (0.2, 7), (0.5, 1), (0.01, 3)])
def test_split_equals_the_reference(size, seed):
    labels = np.random.default_rng(seed).integers(0, 12, 150).tolist()
    train, validation = split_by_label(labels, size, seed)
    names = [f"photo{number}" for number in range(len(labels))]
    expected_train, expected_validation = reference_split(names, labels, size, seed)
    assert [f"photo{position}" for position in train] == expected_train
    assert [f"photo{position}" for position in validation] == expected_validation


def test_split_counts_by_hand():
    labels = [0] * 1 + [1] * 4 + [2] * 10 + [3] * 14
    train, validation = split_by_label(labels, 0.2, 0)
    assert np.bincount([labels[position] for position in validation]).tolist() == [1, 1, 2, 2]
    assert np.bincount([labels[position] for position in train], minlength=4).tolist() == [0, 3, 8, 12]
    assert sorted([*train, *validation]) == list(range(29))


@pytest.mark.parametrize(("size", "seed"), [(0.0, 0), (1.0, 0), (-0.1, 0), (0.2, -1)])
def test_split_refuses_what_is_out_of_range(size, seed):
    with pytest.raises(UserError):
        split_by_label([0, 0], size, seed)


def test_root_from_folder_glob_and_expanded_glob(tmp_path):
    folders = [tmp_path / "train" / "a" / "b" / "c", tmp_path / "train" / "0" / "1" / "2"]
    for folder in folders:
        folder.mkdir(parents=True)
    root = tmp_path / "train"
    assert image_root([str(root)]) == root
    assert image_root([f"{root}/*/*/*/"]) == root
    assert image_root([f"{folder}/" for folder in folders]) == root
    for bad in ([f"{tmp_path}/none/*/*/*/"], [f"{tmp_path}/*/a/"], [""], [str(root), str(tmp_path)], ["/", str(root)]):
        with pytest.raises(UserError, match="train_directory|glob"):
            image_root(bad)


def test_photo_is_looked_for_under_its_first_characters_then_flat(tmp_path):
    assert image_path(str(tmp_path), "abcdef") == str(tmp_path / "a" / "b" / "c" / "abcdef.jpg")
    Path(tmp_path / "abcdef.jpg").touch()
    assert image_path(str(tmp_path), "abcdef") == str(tmp_path / "abcdef.jpg")


def test_one_long_name_does_not_widen_the_place_of_all(tmp_path):
    """20,000 names of a megabyte would take 20 GB."""
    many = " ".join(f"{number:016x}" for number in range(20_000))
    (tmp_path / "clean.csv").write_text(f"landmark_id,images\n1,{many} {'x' * 10**6}\n")
    with pytest.raises(UserError, match="clean.csv: a name is 1000000 bytes long; names have 1024 at most") as caught:
        read_clean_csv(tmp_path / "clean.csv")
    assert len(str(caught.value)) < 300
    (tmp_path / "clean.csv").write_text(f"landmark_id,images\n1,{many}\n")
    lines = "".join(f"{name},u,1\n" for name in many.split())
    (tmp_path / "train.csv").write_text(f"id,url,landmark_id\n{'0' * 10**6},u,1\n{lines}")
    assert count_known(tmp_path / "train.csv", read_clean_csv(tmp_path / "clean.csv")) == 20_000


@pytest.mark.parametrize("given", ["photos", "photos/train/train"])
def test_a_folder_one_level_off_is_told_with_the_first_path_tried(tmp_path, given):
    place = tmp_path / "photos" / "train" / "a" / "b" / "c" / "abcdef.jpg"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"photo")
    (tmp_path / "photos/train/train").mkdir()
    write_csv(tmp_path / "clean.csv", {1: ["abcdef"]})
    tried = tmp_path / given / "a" / "b" / "c" / "abcdef.jpg"
    with pytest.raises(UserError, match=f"none of the 1 listed photos .*the first was sought as {tried}: give another"):
        build_dataset(read_clean_csv(tmp_path / "clean.csv"), tmp_path / given, tmp_path / "out")


def test_a_photo_is_found_in_either_unicode_form(tmp_path):
    (tmp_path / "cafe\u0301.jpg").write_bytes(b"photo")
    rows = ["caf\u00e9.jpg", "\u00e9" * 300, "caf\u00e9\udcff.jpg"]  # the others are too long, and no text
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"{row},x\n" for row in rows), errors="surrogateescape")
    catalogue = read_labelled_csv(tmp_path / "t.csv")
    found = [catalogue.locate(str(tmp_path), name) for name in catalogue.file_ids]
    assert found == [str(tmp_path / "cafe\u0301.jpg"), *(str(tmp_path / row) for row in rows[1:])]
