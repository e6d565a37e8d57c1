import io
import json

import cv2
import numpy as np
import pytest
from landmark_sets import (
    checksums,
    contents,
    encoded,
    jpeg,
    make_set,
    picture,
    place,
    reference_split,
    rows_of,
    write_csv,
)
from PIL import Image

from src.commands.build_image_dataset import main
from src.data import shards
from src.data.lists import read_clean_csv, split_by_label
from src.data.summary import dataset_info
from src.errors import UserError


def build(root, *options, output="mindrecord"):
    main(
        [
            f"--train_clean_csv_path={root / 'train_clean.csv'}",
            f"--train_directory={root / 'train'}/*/*/*/",
            f"--output_directory={root / output}/",
            "--num_shards=3",
            *options,
        ]
    )
    return root / output


def test_shards_hold_every_photo_once_with_its_own_bytes(tmp_path):
    listed = make_set(tmp_path, {30: 6, 4: 9, 17: 1})
    before = checksums(tmp_path / "train")
    folder = build(tmp_path)
    assert checksums(tmp_path / "train") == before

    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".db")
    assert names == [
        "dataset.json",
        "relabeling.csv",
        "skipped.csv",
        *(f"train.mindrecord00{number}" for number in range(3)),
        *(f"validation.mindrecord00{number}" for number in range(3)),
    ]
    catalogue = read_clean_csv(tmp_path / "train_clean.csv")
    halves = split_by_label(catalogue.labels, 0.2, 0)
    landmark_of = {file_id: landmark for landmark, ids in listed.items() for file_id in ids}
    for split, positions in zip(("train", "validation"), halves):
        rows = rows_of(sorted(folder.glob(f"{split}.mindrecord00?")))
        assert sorted(row[0] for row in rows) == sorted(catalogue.file_ids[position] for position in positions)
        for file_id, label, data in rows:
            assert [4, 17, 30][label] == landmark_of[file_id]
            assert data == (tmp_path / "train").joinpath(*file_id[:3], f"{file_id}.jpg").read_bytes()
    labels = [label for _, label, _ in rows_of(sorted(folder.glob("train.mindrecord00?")))]
    assert sorted(labels) != labels != sorted(labels, reverse=True)  # shuffled, not label by label
    assert contents(folder / "relabeling.csv") == [["new_label", "old_label"], ["0", "4"], ["1", "17"], ["2", "30"]]
    summary = json.loads((folder / "dataset.json").read_text())
    assert (summary["num_classes"], summary["train"]["images"], summary["validation"]["images"]) == (3, 13, 3)
    assert summary["classes_without_training_photo"] == 1


@pytest.mark.parametrize(("size", "seed"), [(0.2, 0), (0.35, 5)])
def test_split_and_labels_are_the_reference_s_photo_by_photo(tmp_path, size, seed):
    listed = make_set(tmp_path, {203: 7, 11: 12, 90: 1, 9: 5, 1000: 2})
    folder = build(tmp_path, f"--validation_split_size={size}", f"--seed={seed}")
    names = [name for ids in listed.values() for name in ids]
    old_labels = [landmark for landmark, ids in listed.items() for _ in ids]
    for split, expected in zip(("train", "validation"), reference_split(names, old_labels, size, seed)):
        rows = rows_of(sorted(folder.glob(f"{split}.mindrecord00?")))
        new_label_of = {name: sorted(listed).index(old) for name, old in zip(names, old_labels)}
        assert {name: label for name, label, _ in rows} == {name: new_label_of[name] for name in expected}
        assert len(rows) == len(expected)


def test_odd_photos_are_converted_or_skipped_with_a_reason(tmp_path):
    rgb = Image.fromarray(picture(3, 40, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side
    deep = np.full((40, 60), 32768, np.uint16)
    clear = Image.fromarray(np.zeros((40, 60, 4), np.uint8))
    good = jpeg(picture(1, 200, 300))
    photos = {
        "aaagrey": encoded(rgb.convert("L"), "JPEG"),
        "aabcmyk": encoded(rgb.convert("CMYK"), "JPEG"),
        "aacpng1": encoded(rgb, "PNG"),
        "aadturn": encoded(rgb.convert("CMYK"), "JPEG", exif=exif),
        "aaedeep": cv2.imencode(".png", deep)[1].tobytes(),
        "aafclear": encoded(clear, "PNG"),
        "abatext": b"this is not an image",
        "abbempty": b"",
        "abccut": good[: len(good) // 2],
    }
    for file_id, data in photos.items():
        place(tmp_path / "train", file_id, data)
    write_csv(tmp_path / "train_clean.csv", {1: [*photos, "abdmissing"]})
    folder = build(tmp_path, "--validation_split_size=0.5")

    rows = {row[0]: row[2] for row in rows_of(sorted(folder.glob("*.mindrecord00?")))}
    assert sorted(rows) == [file_id for file_id in photos if file_id < "ab"]
    assert rows["aaagrey"] == photos["aaagrey"]
    shapes = {}
    for file_id, data in rows.items():
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG"
            assert image.mode == ("L" if file_id == "aaagrey" else "RGB")
            shapes[file_id] = image.size
            pixels = np.array(image.convert("RGB")).astype(int)
        if file_id in ("aabcmyk", "aacpng1"):
            assert np.abs(pixels - np.array(rgb).astype(int)).mean() < 4
        if file_id == "aaedeep":
            assert np.abs(pixels - 127).max() <= 2
        if file_id == "aafclear":
            assert pixels.min() >= 254
    assert shapes["aadturn"] == (40, 60)
    skipped = contents(folder / "skipped.csv")
    assert skipped[0] == ["file_id", "path", "reason"]
    assert [row[0] for row in skipped[1:]] == ["abatext", "abbempty", "abccut", "abdmissing"]
    assert [row[2] for row in skipped[1:3]] == ["not an image", "empty file"]
    assert skipped[4][1:] == [str(tmp_path / "train" / "a" / "b" / "d" / "abdmissing.jpg"), "missing"]
    summary = json.loads((folder / "dataset.json").read_text())
    assert summary["train"]["converted"] == {"16 bit PNG": 1, "PNG": 1}
    assert summary["validation"]["converted"] == {"CMYK JPEG": 2, "transparent PNG": 1}


def test_second_run_is_skipped_and_other_inputs_want_overwrite(tmp_path):
    make_set(tmp_path, {1: 5, 2: 5})
    folder = build(tmp_path)
    made = checksums(folder)
    build(tmp_path)
    assert checksums(folder) == made  # times too
    for option in ("--seed=1", "--validation_split_size=0.4", "--num_shards=2"):
        with pytest.raises(UserError, match="`overwrite`"):
            build(tmp_path, option)
    assert checksums(folder) == made
    build(tmp_path, "--num_shards=2", "--overwrite")
    assert len(dataset_info(folder).train_shards) == 2 and len(list(folder.glob("train.mindrecord00?"))) == 2
    place(tmp_path / "train", read_clean_csv(tmp_path / "train_clean.csv").file_ids[0], jpeg(picture(99, 64, 64)))
    with pytest.raises(UserError, match=r"made under other settings \(photos\)"):
        build(tmp_path, "--num_shards=2")
    (folder / "train.mindrecord001").unlink()
    build(tmp_path, "--num_shards=2", "--overwrite")
    (folder / "train.mindrecord001.db").unlink()
    with pytest.raises(UserError, match="lacks train.mindrecord001.db"):
        build(tmp_path, "--num_shards=2")


def test_same_inputs_give_the_same_records_for_any_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "FEW_PHOTOS", 0)  # processes, even for these
    make_set(tmp_path, {1: 8, 2: 8})
    place(tmp_path / "train", read_clean_csv(tmp_path / "train_clean.csv").file_ids[3], b"words")
    first = build(tmp_path, "--num_workers=1", output="one")
    second = build(tmp_path, "--num_workers=3", output="three")
    for name in ("train.mindrecord000", "train.mindrecord002", "validation.mindrecord000"):
        assert rows_of([first / name]) == rows_of([second / name])
    assert (first / "dataset.json").read_text() == (second / "dataset.json").read_text()


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_folder_with_other_content_is_never_replaced(tmp_path, overwrite):
    make_set(tmp_path, {1: 5})
    (tmp_path / "mindrecord").mkdir()
    (tmp_path / "mindrecord" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="thesis.txt"):
        build(tmp_path, *overwrite)
    assert (tmp_path / "mindrecord" / "thesis.txt").read_text() == "years of work"
    folder = build(tmp_path, output="mine")
    (folder / "notes.txt").write_text("added later")
    with pytest.raises(UserError, match="notes.txt"):
        build(tmp_path, "--seed=1", *overwrite, output="mine")
    assert (folder / "notes.txt").exists()


def test_a_set_moved_aside_by_a_killed_build_comes_back(tmp_path):
    make_set(tmp_path, {1: 5, 2: 5})
    folder = build(tmp_path)
    made = checksums(folder)
    folder.rename(tmp_path / ".mindrecord.old")
    assert checksums(build(tmp_path)) == made  # times too
    assert not (tmp_path / ".mindrecord.old").exists()


def test_a_folder_whose_name_is_no_text_is_told(tmp_path):
    make_set(tmp_path, {1: 5, 2: 5})
    folder = build(tmp_path)
    odd = folder.rename(tmp_path / "a\udcff")
    with pytest.raises(UserError, match="not UTF-8, which shards need; rename it, or give `traindata_path`"):
        dataset_info(odd / "train.mindrecord000")
    with pytest.raises(UserError, match="its name is not UTF-8, which shards need; rename it, or give `output_direc"):
        shards.build_dataset(None, tmp_path, odd)


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_file_in_the_way_is_left_alone(tmp_path, overwrite):
    make_set(tmp_path, {1: 5})
    (tmp_path / "mindrecord").write_text("years of work")
    with pytest.raises(UserError, match="mindrecord: is a file; give `output_directory` a folder"):
        build(tmp_path, *overwrite)
    assert (tmp_path / "mindrecord").read_text() == "years of work"


def test_a_damaged_summary_wants_overwrite(tmp_path):
    make_set(tmp_path, {1: 5, 2: 5})
    folder = build(tmp_path)
    (folder / "dataset.json").write_text("{")
    with pytest.raises(UserError, match=r"dataset.json: damaged \(.*\); give `overwrite`"):
        build(tmp_path)
    assert dataset_info(build(tmp_path, "--overwrite")).num_train == 8


def test_a_failing_build_leaves_nothing_behind(tmp_path):
    make_set(tmp_path, {1: 1, 2: 1})  # singletons: no training photo
    with pytest.raises(UserError, match="no photo is left for training"):
        build(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train", "train_clean.csv"]


def test_wrong_folder_and_wrong_numbers_are_named(tmp_path):
    make_set(tmp_path, {1: 5})
    with pytest.raises(UserError, match="`num_shards`"):
        build(tmp_path, "--num_shards=0")
    write_csv(tmp_path / "train_clean.csv", {1: ["fff1", "fff2"]})
    with pytest.raises(UserError, match="none of the 2 listed photos"):
        build(tmp_path)


def test_no_shard_is_empty_however_few_photos_there_are(tmp_path):
    make_set(tmp_path, {1: 4})
    folder = build(tmp_path, "--num_shards=128")
    info = dataset_info(folder / "train.mindrecord000")
    assert (len(info.train_shards), info.num_train) == (3, 3)
    assert all(len(rows_of([shard])) == 1 for shard in info.train_shards)
