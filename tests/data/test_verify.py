"""--verify accepts what was built and names what was damaged since."""

import json

import pytest
from landmark_sets import jpeg, make_set, picture, rows_of

from src.commands.build_image_dataset import main
from src.data.shard_writer import write_shard
from src.data.verify import verify_dataset
from src.errors import UserError


@pytest.fixture
def made(tmp_path):
    make_set(tmp_path, {1: 8, 2: 8})
    arguments = [f"--train_clean_csv_path={tmp_path / 'train_clean.csv'}", f"--train_directory={tmp_path / 'train'}"]
    main([*arguments, f"--output_directory={tmp_path / 'out'}", "--num_shards=2"])
    return tmp_path / "out"


def rewrite(folder, change):
    """Write the first training shard again with changed records."""
    shard = folder / "train.mindrecord000"
    rows = change([{"file_id": row[0], "label": row[1], "data": row[2]} for row in rows_of([shard])])
    for path in (shard, folder / "train.mindrecord000.db"):
        path.unlink()
    write_shard(shard, rows)


def edit_summary(folder, change):
    summary = json.loads((folder / "dataset.json").read_text())
    change(summary)
    (folder / "dataset.json").write_text(json.dumps(summary))


def test_a_whole_data_set_passes_from_anywhere(made, tmp_path, capsys):
    made.rename(tmp_path / "moved")
    main(["--verify", f"--output_directory={tmp_path / 'moved'}"])
    assert "whole; 14 + 2 photos of 2 classes" in capsys.readouterr().out
    assert verify_dataset(tmp_path / "moved", workers=3).num_train == 14


def with_first(rows, **values):
    return [{**rows[0], **values}, *rows[1:]]


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda rows: rows[1:], "holds 6 photos, dataset.json says 7"),
        (lambda rows: rows + rows[:1], "holds 8 photos"),
        (lambda rows: with_first(rows, label=2), "label 2, outside 0 to 1"),
        (lambda rows: with_first(rows, label=1 - rows[0]["label"]), "not what was written"),
        (lambda rows: with_first(rows, file_id="other"), "not what was written"),
        (lambda rows: with_first(rows, data=jpeg(picture(99))), "not what was written"),
        (lambda rows: rows[::-1], "not what was written"),
        (lambda rows: with_first(rows, data=rows[0]["data"][:-30]), "does not decode .truncated"),
        (lambda rows: with_first(rows, data=b"words"), "does not decode .not a JPEG"),
    ],
)
def test_changed_records_are_found(made, change, fact):
    rewrite(made, change)
    with pytest.raises(UserError, match=f"train.mindrecord000: .*{fact}"):
        verify_dataset(made)


def test_a_flipped_byte_of_a_photo_is_found(made):
    shard = made / "validation.mindrecord001"
    data = rows_of([shard])[0][2]
    content = bytearray(shard.read_bytes())
    content[content.index(data) + len(data) - 10] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match="validation.mindrecord001"):
        verify_dataset(made)


@pytest.mark.parametrize(("name", "size"), [("train.mindrecord001", 100), ("train.mindrecord001.db", 0)])
def test_shards_cut_short_are_named(made, name, size):
    (made / name).write_bytes((made / name).read_bytes()[:size])
    with pytest.raises(UserError, match=f"{name}: damaged"):
        verify_dataset(made)


def test_rows_that_mindspore_cannot_read_are_named(made):
    data = (made / "train.mindrecord001").read_bytes()
    (made / "train.mindrecord001").write_bytes(data[:-50] + b"\xff" * 50)  # the last row's name and label
    with pytest.raises(UserError, match="train.mindrecord001: damaged, MindSpore cannot read it"):
        verify_dataset(made)


def test_missing_files_and_wrong_counts_are_named(made, tmp_path):
    edit_summary(made, lambda summary: summary.update(listed=17))
    with pytest.raises(UserError, match="do not add up"):
        verify_dataset(made)
    edit_summary(made, lambda summary: summary.update(listed=16))
    (made / "relabeling.csv").write_text("new_label,old_label\n0,1\n")
    with pytest.raises(UserError, match="relabeling.csv: does not list the labels 0 to 1"):
        verify_dataset(made)
    (made / "relabeling.csv").write_text("new_label,old_label\n0,1\n1,2\n")
    (made / "train.mindrecord001").unlink()
    with pytest.raises(UserError, match="train.mindrecord001: missing"):
        verify_dataset(made)
    with pytest.raises(UserError, match="no such data set"):
        verify_dataset(tmp_path / "none")
