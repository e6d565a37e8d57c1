"""The three kinds of input of the data set builder, their combinations, and what it does with photos it cannot use."""

import csv
import hashlib
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from landmark_sets import checksums, contents, encoded, jpeg, make_set, picture, place, rows_of, write_csv
from PIL import Image
from runs import SMALL

from src.commands.build_image_dataset import main
from src.config import TrainingConfig
from src.data.catalogue import make_catalogue
from src.data.lists import read_image_folder, read_labelled_csv
from src.data.reader import TrainingStream
from src.data.summary import dataset_info
from src.errors import UserError

CLASSES = {"Été à Paris": 5, "alpha": 4, 'Ω 東京, "quoted"\r\x1b': 3}


@pytest.fixture
def folder(tmp_path):
    """ROOT/<class>/..., photos at two depths and with endings of any case."""
    root = tmp_path / "photos"
    for number, (name, count) in enumerate(CLASSES.items()):
        for photo in range(count):
            path = (
                root / name / ("deep/er" if photo % 2 else "") / f"bild {photo}{('.jpg', '.JPEG', '.Jpg')[photo % 3]}"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(picture(10 * number + photo)))
    (root / "alpha" / "e.PNG").write_bytes(encoded(Image.fromarray(picture(77)), "PNG"))
    (root / "alpha" / "notes.txt").write_text("no photo")
    (root / "alpha" / ".hidden.jpg").write_bytes(jpeg(picture(1)))
    (root / "stray.jpg").write_bytes(jpeg(picture(1)))
    (root / "empty class").mkdir()
    return root


def build(output, *options):
    main([*map(str, options), f"--output_directory={output}", "--num_shards=2"])
    return output


def records(output):
    return {row[0]: row[1:] for row in rows_of(sorted(output.glob("*.mindrecord00?")))}


def test_one_folder_a_class(folder, tmp_path, caplog):
    before = checksums(folder)
    made = build(tmp_path / "out", "--image_folder", folder)
    assert checksums(folder) == before
    assert "1 photos lie in no sub-folder" in caplog.text
    names = sorted(CLASSES)
    assert contents(made / "relabeling.csv")[1:] == [[str(label), name] for label, name in enumerate(names)]
    rows = records(made)
    assert len(rows) == 13
    for file_id, (label, data) in rows.items():
        assert file_id.split("/")[0] == names[label]
        assert data == (folder / file_id).read_bytes() or file_id == "alpha/e.PNG"
    summary = json.loads((made / "dataset.json").read_text())
    assert (summary["num_classes"], summary["listed"], summary["validation"]["images"]) == (3, 13, 3)
    main(["--verify", f"--output_directory={made}"])


def test_a_table_of_paths_and_labels(folder, tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    labels = {"../photos/stray.jpg": "7", str(folder / "alpha" / "e.PNG"): 'a, "b"'}
    for name in CLASSES:
        labels.update({f"../{path.relative_to(tmp_path)}": name for path in sorted((folder / name).glob("bild*"))})
    with open(tmp_path / "lists" / "mine.csv", "w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.writer(stream)
        writer.writerow(["note", "label", "path"])
        writer.writerows(["x", label, path] for path, label in labels.items())
        writer.writerow(["x", "lost", "../photos/lost.jpg"])
    monkeypatch.chdir(tmp_path / "lists")
    made = build(tmp_path / "out", "--csv", "mine.csv")
    names = [row[1] for row in contents(made / "relabeling.csv")[1:]]
    assert names == sorted([*CLASSES, "7", 'a, "b"', "lost"])
    rows = records(made)
    assert {file_id: names[label] for file_id, (label, _) in rows.items()} == labels
    assert [row[::2] for row in contents(made / "skipped.csv")[1:]] == [["../photos/lost.jpg", "missing"]]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("file;label\na;b\n", "no column 'path': the header is 'file;label'; `csv` needs path,label"),
        ("", "no column 'path'"),
        ("path,label\n", "lists no image"),
        ("path,label\na.jpg\n", "line 2: a row is one path and one label"),
        ("path,label\na.jpg,x,y\n", "line 2"),
        ("path,label\na.jpg,x\n ,y\n", "line 3"),
        ('path,label\n"a.jpg,x\n', "no valid csv"),
    ],
)
def test_bad_tables_are_refused_with_the_place(tmp_path, text, fact):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(UserError, match=fact):
        read_labelled_csv(tmp_path / "mine.csv")


def test_tables_of_windows_name_the_same_photos(tmp_path):
    (tmp_path / "mine.csv").write_bytes("Path; Label\r\nimg\\p0.jpg;A\r\n".encode("utf-16"))
    assert list(read_labelled_csv(tmp_path / "mine.csv").file_ids) == ["img/p0.jpg"]


FAULTS = Path(__file__).resolve().parents[3] / "shared" / "faults"


@pytest.mark.parametrize("path", sorted(FAULTS.glob("*.csv")), ids=lambda path: path.name)
def test_the_tables_that_were_refused(path):
    catalogue = read_labelled_csv(path)
    assert list(catalogue.file_ids)[:2] == ["img/p0.jpg", "img/p1.jpg"]
    assert catalogue.class_names[0] == "A" and catalogue.labels[:2].tolist() == [0, 0]


def test_folders_without_classes_are_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(picture(1)))
    with pytest.raises(UserError, match="sub-folder for each class"):
        read_image_folder(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_image_folder(tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ([], "give --train_clean_csv_path with --train_directory, or --image_folder, or --csv"),
        (["--train_clean_csv_path=a"], "with --train_directory"),
        (["--train_csv_path=a"], "with --train_directory"),
        (["--image_folder=a", "--csv=b"], "--image_folder and --csv do not go together"),
        (["--csv=b", "--train_directory=a"], "--csv and --train_directory do not go together"),
        (["--image_folder=b", "--train_csv_path=a"], "do not go together"),
        (["--image_folder=b", "--min_image_size=50"], "--min_image_size has no effect"),
        (["--verify", "--csv=b"], "--verify reads a finished data set and takes no --csv"),
        (["--verify", "--num_shards=3"], "takes no --num_shards"),
        (["--verify", "--overwrite"], "takes no --overwrite"),
        (["--csv=none.csv"], "none.csv: no such file"),
        (["--min_photo_size=0", "--csv=mine.csv"], "`min_photo_size`"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, monkeypatch, options, fact):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("path,label\na.jpg,x\n")
    with pytest.raises(UserError, match=fact):
        main([*options, "--output_directory=out"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


def test_the_last_listing_of_a_photo_counts_and_its_first_place():
    listings = [("b", "one"), ("a", "two"), ("b", "three"), ("a", "one"), ("c", "two"), ("b", "two"), ("d", "four")]
    catalogue = make_catalogue(listings, str, "list")
    as_a_dictionary = {}
    for name, photo in listings:
        as_a_dictionary[photo] = name
    assert list(catalogue.file_ids) == list(as_a_dictionary)
    assert [catalogue.class_names[label] for label in catalogue.labels] == list(as_a_dictionary.values())
    assert catalogue.class_names == ["a", "b", "d"]


def test_on_error_stop_names_the_photo_and_leaves_nothing(tmp_path):
    listed = make_set(tmp_path, {1: 6, 2: 6})
    bad = place(tmp_path / "train", listed[2][3], b"not a photo")
    options = [f"--train_clean_csv_path={tmp_path / 'train_clean.csv'}", f"--train_directory={tmp_path / 'train'}"]
    with pytest.raises(UserError, match=f"{bad}: not an image .*`on_error` skip"):
        build(tmp_path / "out", *options, "--on_error=stop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train", "train_clean.csv"]
    assert json.loads((build(tmp_path / "out", *options) / "dataset.json").read_text())["listed"] == 12


def test_too_small_photos_are_left_out(tmp_path, capsys):
    make_set(tmp_path, {1: 6, 2: 6})
    place(tmp_path / "train", "fff1", jpeg(picture(1, 19, 64)))
    with open(tmp_path / "train_clean.csv", "a") as stream:
        stream.write("3,fff1\n")
    options = [f"--train_clean_csv_path={tmp_path / 'train_clean.csv'}", f"--train_directory={tmp_path / 'train'}"]
    made = build(tmp_path / "out", *options, "--min_photo_size=20")
    assert [row[::2] for row in contents(made / "skipped.csv")[1:]] == [["fff1", "too small: 64 x 19 pixels"]]
    assert "skipped 1 (1 too small)" in capsys.readouterr().out
    with pytest.raises(UserError, match="`overwrite`"):
        build(tmp_path / "out", *options)


def test_the_shell_may_expand_the_glob_to_4096_folders(tmp_path):
    digits = "0123456789abcdef"
    photos = {}
    for number, name in enumerate(a + b + c for a in digits for b in digits for c in digits):
        (tmp_path / "train").joinpath(*name).mkdir(parents=True)
        if number % 128 == 5:
            photos[f"{name}{number:013x}"] = place(tmp_path / "train", f"{name}{number:013x}", jpeg(picture(number)))
    write_csv(tmp_path / "train_clean.csv", {9: list(photos)[:16], 4: list(photos)[16:]})
    (tmp_path / "train.csv").write_text("id,url,landmark_id\n" + "".join(f"{name},http://x,1\n" for name in photos))
    command = Path(__file__).resolve().parents[2] / "build_image_dataset.py"
    line = (
        f"{sys.executable} {command} --train_csv_path={tmp_path}/train.csv "
        f"--train_clean_csv_path={tmp_path}/train_clean.csv --train_directory {tmp_path}/train/*/*/*/ "
        f"--output_directory={tmp_path}/mindrecord/ --num_shards=2 --validation_split_size=0.2"
    )
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "knows 32 of the 32 listed photos" in done.stdout
    assert set(records(tmp_path / "mindrecord")) == set(photos)


def awkward_photos(root):
    """Write 200 photos of 20 kinds into ten classes; returns {path below root: reason, or None for a usable one}."""
    exif = Image.Exif()
    exif[0x0112] = 8
    fates = {}
    for number in range(200):
        image = Image.fromarray(picture(number, 40 + number % 9, 50 + number % 7))
        good = encoded(image, "JPEG")
        kind, name, reason = number % 20, f"{number:03d}.jpg", None
        data = good
        if kind == 0:
            data, reason = good[: len(good) * (1 + number // 20) // 12], "truncated"
        elif kind == 1:
            data, reason = b"", "empty file"
        elif kind == 2:
            data = encoded(image.convert("CMYK"), "JPEG")
        elif kind == 3:
            data = encoded(image.convert("L"), "JPEG")
        elif kind == 4:
            data = encoded(image, "PNG")
        elif kind == 5:
            data, reason = jpeg(picture(number, 1, 1)), "too small"
        elif kind == 6:
            data = encoded(image, "JPEG", exif=exif)
        elif kind == 7:
            name = f"Ünïcödé {number} 東京 🗼.jpg"
        elif kind == 8:
            data, reason = b"these are words\n" * number, "not an image"
        elif kind == 9:
            data, reason = None, "missing"
        elif kind == 10:
            data = encoded(image, "JPEG", progressive=True)
        elif kind == 11:
            data = encoded(image.convert("RGBA"), "PNG")
        elif kind == 12:
            data = encoded(image, "WEBP")
        path = root / f"class {number % 10}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is not None:
            path.write_bytes(data)
        fates[path.relative_to(root).as_posix()] = reason
    return fates


def test_every_one_of_200_awkward_photos_is_in_a_shard_or_in_skipped_csv(tmp_path):
    root = tmp_path / "photos"
    fates = awkward_photos(root)
    with open(root / "list.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label"])
        writer.writerows([path, path.split("/")[0]] for path in fates)
    before = checksums(root)
    made = build(tmp_path / "out", "--csv", root / "list.csv")
    assert checksums(root) == before

    rows = records(made)
    skipped = {row[0]: row[1:] for row in contents(made / "skipped.csv")[1:]}
    assert set(rows) == {path for path, reason in fates.items() if reason is None}
    assert {path: reason.partition(":")[0] for path, (_, reason) in skipped.items()} == {
        path: reason for path, reason in fates.items() if reason
    }
    assert all(path == str(root / file_id) for file_id, (path, _) in skipped.items())
    for file_id, (_, data) in rows.items():
        if int("".join(filter(str.isdigit, file_id.split("/")[1]))) % 20 not in (2, 4, 11, 12):
            assert hashlib.sha256(data).digest() == hashlib.sha256((root / file_id).read_bytes()).digest()

    info = dataset_info(made)
    training = TrainingConfig(batch_size=8, image_size=33)
    stream = TrainingStream(training, info)
    seen = []
    for batch in islice(stream.batches(stream.steps_per_epoch), stream.steps_per_epoch):
        assert np.isfinite(batch.images).all() and batch.images.std() > 0.1
        seen += batch.file_ids
    seen += [name for batch in stream.validation_batches() for name in batch.file_ids]
    assert len(set(seen)) == len(seen) >= len(rows) - 7 and set(seen) <= set(rows)


@pytest.mark.slow
def test_what_is_left_of_awkward_photos_trains(tmp_path):
    awkward_photos(tmp_path / "photos")
    made = build(tmp_path / "out", "--image_folder", tmp_path / "photos")
    train = [sys.executable, str(Path(__file__).resolve().parents[2] / "train.py"), "--traindata_path", str(made)]
    options = ["--image_size", "33", "--batch_size", "8", "--max_iters", "3", "--save_ckpt", "run"]
    options += ["--architecture", "resnet18"]
    done = subprocess.run(train + options, cwd=tmp_path, env=SMALL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/checkpoint_delf_tuning-1_3.ckpt").exists()
    assert "step 3, validation: loss" in (tmp_path / "run/tuning.log").read_text()
