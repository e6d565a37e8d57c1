"""Training data that is damaged, forged or no file: one sentence, before MindSpore is asked where it would crash."""

import json
import os
import shutil
import sqlite3
import stat
from contextlib import closing

import pytest
from landmark_sets import encoded, jpeg, make_set, picture

from src.config import TrainingConfig
from src.data.augmentation import decode_jpeg
from src.data.lists import read_clean_csv
from src.data.reader import TrainingStream
from src.data.shard_writer import write_shard
from src.data.shards import DatasetSettings, build_dataset
from src.data.summary import dataset_info, stored_provenance
from src.errors import UserError

SHARD, INDEX = "train.mindrecord000", "train.mindrecord000.db"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    make_set(root, {5: 5, 6: 5})
    before = os.umask(0o027)
    try:
        catalogue = read_clean_csv(root / "train_clean.csv")
        build_dataset(catalogue, root / "train", root / "made", DatasetSettings(num_shards=2))
    finally:
        os.umask(before)
    return root / "made"


@pytest.fixture
def folder(whole, tmp_path):
    """A data set of 8 + 2 photos of 2 classes, to damage; its files are links, so replace them."""
    return shutil.copytree(whole, tmp_path / "made", copy_function=os.link)


def replace(path, data):
    path.unlink()
    path.write_bytes(data)


def edit_summary(folder, change):
    summary = json.loads((folder / "dataset.json").read_text())
    change(summary)
    replace(folder / "dataset.json", json.dumps(summary).encode())


def test_shards_have_the_mode_of_any_new_file(whole):
    assert {stat.S_IMODE(path.stat().st_mode) for path in whole.iterdir()} == {0o640}


def counts(split="train", **values):
    return lambda summary: summary[split].update(values)


def of_shard(**values):
    return lambda summary: summary["train"]["shards"][SHARD].update(values)


@pytest.mark.parametrize(
    "change",
    [
        lambda summary: summary.update(num_classes=10**9),
        lambda summary: summary.update(num_classes=10**9, listed=10**9),
        lambda summary: summary.update(num_classes=0),
        lambda summary: summary.update(num_classes="3"),
        lambda summary: summary.update(num_classes=True),
        lambda summary: summary.update(num_classes=2.0),
        lambda summary: summary.pop("num_classes"),
        lambda summary: (summary.update(listed=10**9 + 10), summary["train"].update(skipped={"missing": 10**9})),
        lambda summary: summary.update(train=[]),
        lambda summary: summary.update(made_with="x", train=None),
        counts(images=10**9),
        counts(images=-1),
        counts(shards={}),
        counts(shards=[SHARD]),
        counts(skipped={"missing": -1}),
        of_shard(photos=10**9),
        of_shard(photos=4.0),
        of_shard(crc32="x"),
        lambda summary: summary["train"]["shards"].update({"../train.mindrecord000": {"photos": 0, "crc32": 0}}),
        lambda summary: summary["train"]["shards"].update({"validation.mindrecord000": {"photos": 0, "crc32": 0}}),
    ],
)
def test_counts_that_are_none_or_do_not_add_up_are_one_sentence(folder, change):
    edit_summary(folder, change)
    with pytest.raises(UserError, match=r"dataset.json: damaged \(.*\); copy the whole folder again, or make"):
        dataset_info(folder)
    with pytest.raises(UserError, match=r"dataset.json: damaged \(.*\); give `overwrite`"):
        stored_provenance(folder)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100000, b"[]", b"9" * 5000, b" " * (5 << 20) + b"{}"])
def test_a_summary_that_is_no_table_is_one_sentence(folder, text):
    replace(folder / "dataset.json", text)
    with pytest.raises(UserError, match=r"dataset.json: damaged \([^\n]{1,220}\); "):
        dataset_info(folder)


def test_counts_are_those_of_the_shards(folder):
    """Numbers that agree with each other, and with no shard."""

    def claim(summary):
        summary["train"]["shards"][SHARD]["photos"] += 10**9
        summary["train"]["images"] += 10**9
        summary["listed"] += 10**9
        summary["num_classes"] = 10**9

    edit_summary(folder, claim)
    with pytest.raises(UserError, match=f"{SHARD}: holds 4 photos, dataset.json says 1000000004; "):
        dataset_info(folder)


@pytest.mark.parametrize("name", ["dataset.json", SHARD, INDEX])
def test_pipes_are_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match=f"{name}: is a pipe or a device"):
        dataset_info(folder)
    if name == SHARD:
        with pytest.raises(UserError, match=f"{name}: is a pipe or a device.*traindata_path"):
            dataset_info(folder / name)


def header(change):
    """Changes the JSON header of a shard."""

    def damage(data):
        length = int.from_bytes(data[:8], "little")
        values = json.loads(data[8 : 8 + length])
        change(values)
        text = json.dumps(values, separators=(",", ":")).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + len(text) :]

    return damage


def of_page(**values):
    return header(lambda values_: values_["page"][0].update(values))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:100],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: bytes(8) + data[8:],
        lambda data: data[:8] + b"[" * 600 + data[608:],
        lambda data: data[:8] + b"\xff" * 600 + data[608:],
        header(dict.clear),
        header(lambda values: values.update(page_size="x")),
        header(lambda values: values.update(page_size=2**62)),
        header(lambda values: values.update(page=[])),
    ],
)
def test_a_damaged_shard_is_one_sentence(folder, damage):
    replace(folder / SHARD, damage((folder / SHARD).read_bytes()))
    with pytest.raises(UserError, match=rf"{SHARD}: damaged \([^\n]{{1,220}}\); copy the whole folder again"):
        dataset_info(folder)


@pytest.mark.parametrize("rows", [-1, 3, 9, 2**31 + 5])
def test_a_header_with_other_rows_does_not_reach_mindspore_which_ends_with_a_signal(folder, rows):
    replace(folder / SHARD, of_page(end_row_id=rows)((folder / SHARD).read_bytes()))
    with pytest.raises(UserError, match=f"{SHARD}: holds {rows} photos, dataset.json says 4; "):
        dataset_info(folder)


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:100], lambda data: data[:8192], lambda data: b"\x7f" * len(data)],
)
def test_a_damaged_index_is_one_sentence(folder, damage):
    replace(folder / INDEX, damage((folder / INDEX).read_bytes()))
    with pytest.raises(UserError, match=rf"{INDEX}: damaged \(.*\); copy the whole folder again"):
        dataset_info(folder)


@pytest.mark.parametrize(
    "statement,said",
    [
        ("DELETE FROM INDEXES WHERE ROW_ID = 3", "holds 3 photos, dataset.json says 4"),
        ("DELETE FROM INDEXES WHERE ROW_ID = 1", "damaged .its rows are not numbered from 0 on"),
        ("DELETE FROM INDEXES", "holds 0 photos"),
        ("UPDATE INDEXES SET ROW_ID = ROW_ID + 100", "damaged .its rows are not numbered from 0 on"),
        ("DROP TABLE INDEXES", "damaged .no such table"),
        ("UPDATE SHARD_NAME SET NAME = 'train.mindrecord001'", f"is not the index of {SHARD}"),
    ],
)
def test_an_index_that_is_not_the_shard_s_is_one_sentence(folder, statement, said):
    replace(folder / INDEX, (folder / INDEX).read_bytes())
    with closing(sqlite3.connect(folder / INDEX)) as database, database:
        database.execute(statement)
    with pytest.raises(UserError, match=f"{INDEX}: {said}"):
        dataset_info(folder)


def test_the_index_of_another_shard_and_a_missing_one_are_named(folder):
    replace(folder / INDEX, (folder / "train.mindrecord001.db").read_bytes())
    with pytest.raises(UserError, match=f"{INDEX}: is not the index of {SHARD}; copy"):
        dataset_info(folder)
    (folder / INDEX).unlink()
    with pytest.raises(UserError, match=f"{INDEX}: missing; copy"):
        dataset_info(folder)


def first_step(folder):
    stream = TrainingStream(TrainingConfig(batch_size=8, image_size=20), dataset_info(folder))
    return next(stream.batches(1))


def test_damage_that_only_mindspore_finds_names_the_shard(folder):
    data = bytearray((folder / SHARD).read_bytes())
    data[-50:] = b"\xff" * 50  # the last row's name and label
    replace(folder / SHARD, bytes(data))
    with pytest.raises(UserError, match="damaged, MindSpore cannot read it; copy the whole folder again") as error:
        first_step(folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def bomb():
    """A small JPEG whose header says 60000 x 60000 pixels."""
    data = bytearray(jpeg(picture(1)))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = (60000).to_bytes(2, "big") * 2
    return bytes(data)


@pytest.mark.parametrize(
    "data", [b"", b"words", jpeg(picture(1))[:60], encoded(picture(1), "PNG"), encoded(picture(1), "TIFF"), bomb()]
)
def test_bytes_that_are_no_jpeg_are_refused(data):
    with pytest.raises(ValueError, match="not a readable JPEG"):
        decode_jpeg(data)


@pytest.mark.parametrize(
    "values,said", [({"data": b"words"}, "photo odd: not a readable JPEG"), ({"label": -1}, "photo odd has label -1")]
)
def test_rows_that_no_builder_writes_are_named(folder, values, said):
    for name in (SHARD, INDEX):
        (folder / name).unlink()
    row = {"file_id": "odd", "label": 1, "data": jpeg(picture(3)), **values}
    write_shard(folder / SHARD, [row] * 4)
    with pytest.raises(UserError, match=said):
        first_step(folder)
