"""Where the pairs of tuples come from: labels, tables, pickles of retrieval-SfM, good ones and bad ones."""

import logging
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
from landmark_sets import make_set

from src.data.lists import read_clean_csv
from src.data.pairs_file import encode_pairs, named_pairs
from src.data.photo_labels import label_photos
from src.data.reader import read_records
from src.data.sfm_pickle import read_sfm_pickle
from src.data.shards import DatasetSettings, build_dataset
from src.data.split_labels import SplitLabels, read_split_labels
from src.data.summary import dataset_info
from src.data.training_pairs import training_pairs
from src.errors import UserError

PHOTOS = SplitLabels(["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/4.jpg", "b/5.jpg"], np.array([0, 0, 0, 1, 1]))
SFM = {"cids": ["1", "9", "2", "5"], "cluster": [30, 30, 31, 31], "qidxs": [0, 2, 1], "pidxs": [2, 3, 0]}


def table(folder, text, name="pairs.csv"):
    (folder / name).write_text(text)
    return folder / name


def sfm(folder, content=None, name="sfm.pkl", **changes):
    (folder / name).write_bytes(pickle.dumps({**SFM, **changes} if content is None else content, 2))
    return folder / name


def test_labels_of_a_split_are_those_of_its_records(tmp_path):
    make_set(tmp_path, {5: 12, 6: 12, 9: 6})
    catalogue = read_clean_csv(tmp_path / "train_clean.csv")
    build_dataset(catalogue, tmp_path / "train", tmp_path / "made", DatasetSettings(num_shards=3))
    info = dataset_info(tmp_path / "made")
    label_of = dict(zip(catalogue.file_ids, catalogue.labels.tolist()))
    for shards, count in ((info.train_shards, info.num_train), (info.validation_shards, info.num_validation)):
        photos = read_split_labels(shards, info)
        assert len(photos.file_ids) == len(photos.labels) == count
        assert photos.labels.tolist() == [label_of[name] for name in photos.file_ids]
        records = list(read_records(shards, np.arange(count)))
        assert [record.file_id for record in records] == photos.file_ids
    with pytest.raises(UserError, match=r"photo \S+ has label 2, outside 0 to 1; make the data set"):
        read_split_labels(info.train_shards, replace(info, num_classes=2))
    assert read_split_labels((), info).labels.shape == (0,)
    photos = read_split_labels(info.train_shards, info)
    features = [f"0/1/2/{name}.jpg" for name in [*photos.file_ids, "another"]]  # as GLDv2 lies on disk
    classes = label_photos(features, tmp_path / "made" / "train.mindrecord000")
    assert {name: label for label, names in classes.items() for name in names} == {
        f"0/1/2/{name}.jpg": str(label) for name, label in zip(photos.file_ids, photos.labels)
    }
    pair = [features[place] for place in np.flatnonzero(photos.labels == 1)[:2]]
    (tmp_path / "p.csv").write_bytes(encode_pairs([(*pair, 20)]))
    assert len(training_pairs(tmp_path / "p.csv", photos).pairs) == 2


def test_labels_alone():
    source = training_pairs("", PHOTOS)
    assert source.pairs is None and source.clusters.tolist() == [0, 0, 0, 1, 1] and source.num_queries == 5


def test_a_written_table_is_read_in_both_directions(tmp_path, caplog):
    pairs = [("a/1.jpg", "a/2.jpg", 30), ("b/4.jpg", "b/5.jpg", 20), ("c/6.jpg", "c/7.jpg", 9)]
    (tmp_path / "p.csv").write_bytes(encode_pairs(pairs))
    assert (tmp_path / "p.csv").read_text().splitlines()[:2] == ["photo_a,photo_b,inliers", "a/1.jpg,a/2.jpg,30"]
    with caplog.at_level(logging.INFO):
        source = training_pairs(tmp_path / "p.csv", PHOTOS)
    assert source.pairs.tolist() == [[0, 1], [1, 0], [3, 4], [4, 3]] and source.clusters.tolist() == [0, 0, 0, 1, 1]
    assert "2 pairs, 1 more not of two training photos, such as c/6.jpg and c/7.jpg" in caplog.text


def test_names_that_a_table_must_quote(tmp_path):
    odd = ['a,b/"x".jpg', "line\nbreak.jpg", "caf\u00e9.jpg", os.fsdecode(b"\xff.jpg")]
    (tmp_path / "p.csv").write_bytes(encode_pairs([(odd[0], odd[1], 20), (odd[2], odd[3], 21)]))
    assert [pair[1:] for pair in named_pairs(tmp_path / "p.csv")] == [tuple(odd[:2]), tuple(odd[2:])]


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,2\n", "Photo_A;inliers;PHOTO_B\n1;x;2\n", "sep=;\na;b\n1;2\n", "photo_a,photo_b,a,b\n1,2,7,8\n",
     "\ufeffa,b\n1,2\n", "b\ta\n2\t1\n"],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_forms_of_a_table(tmp_path, text, encoding):
    (tmp_path / "p.csv").write_bytes(text.lstrip("\ufeff" if encoding == "utf-16" else "").encode(encoding))
    assert [pair[1:] for pair in named_pairs(tmp_path / "p.csv")] == [("1", "2")]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no column 'photo_a': the header is ''; `pairs_path` needs photo_a,photo_b"),
        ("photo_a,b\n1,2\n", "no column 'photo_b'"),
        ("photo_a,photo_b\n", "none of its 0 pairs is of two training photos; name photos as the data set does"),
        ("photo_a,photo_b\na/1,x\n", "none of its 1 pairs is of two training photos, such as a/1 and x"),
        ("photo_a,photo_b\na/1,a/2\na/1,\n", "line 3: a row is two names of photos"),
        ("photo_a,photo_b\na/1,a/1\n", "line 2: 'a/1' is paired with itself"),
        ("photo_a,photo_b\na/1,1.jpg\n", "line 2: a/1 and 1.jpg are one photo"),
        ("photo_a,photo_b\na/1,b/4\n", "line 2: a/1 and b/4 have different labels in the data set"),
        ("photo_a,photo_b\na/1,a/2,20\n", "line 2: more fields than the header has"),
        ('photo_a,photo_b\n"a/1,a/2\n', "a quote that is never closed"),
        ("photo_a,photo_b\n" + "\0" * 60 + "\n", "a row is two names|damaged|none of its"),
    ],
)
def test_bad_tables_are_one_sentence(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        training_pairs(table(tmp_path, text), PHOTOS)


def test_a_file_that_is_not_there_is_told(tmp_path):
    for name in ("no.csv", "no.pkl"):
        with pytest.raises(UserError, match=rf"{name}: no such file \(`pairs_path`\)"):
            training_pairs(tmp_path / name, PHOTOS)
        with pytest.raises(UserError, match="is no file"):
            training_pairs(tmp_path, PHOTOS)


@pytest.mark.parametrize("parts", [False, True])
def test_a_pickle_of_retrieval_sfm(tmp_path, caplog, parts):
    content = {**SFM, "cluster": np.array(SFM["cluster"], np.int32)}
    path = sfm(tmp_path, {"train": content, "val": {}} if parts else content)
    with caplog.at_level(logging.INFO):
        source = training_pairs(path, PHOTOS)
    assert source.clusters.tolist() == [30, 31, -1, -1, 31]  # of photos 1, 2 and 5; the labels do not count
    assert source.pairs.tolist() == [[0, 1], [1, 4]]  # one direction, as the file has them
    assert "2 pairs, 1 more not of two training photos, such as 9 and 1" in caplog.text


def test_pickles_for_whitening_have_pairs_alone(tmp_path):
    path = sfm(tmp_path, {key: SFM[key] for key in ("cids", "qidxs", "pidxs")})
    assert [pair[1:] for pair in named_pairs(path)] == [("1", "2"), ("2", "5"), ("9", "1")]
    with pytest.raises(UserError, match="has no cluster of its photos.*give retrieval-SfM-120k.pkl"):
        training_pairs(path, PHOTOS)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"qidxs": [0, 4, 1]}, "qidxs holds a number outside 0 to 3"),
        ({"pidxs": [0, -1, 1]}, "pidxs holds a number outside 0 to 3"),
        ({"pidxs": [0, 1.5, 1]}, "pidxs holds something that is no whole number"),
        ({"pidxs": [0, True, 1]}, "pidxs holds something that is no whole number"),
        ({"pidxs": [[0], [1], [2]]}, "pidxs holds something that is no whole number"),
        ({"pidxs": {0, 1, 2}}, "pidxs holds something that is no whole number"),
        ({"qidxs": [0, float("nan"), 1]}, "qidxs holds something that is no whole number"),
        ({"qidxs": [0, 10**400, 1]}, "qidxs holds"),
        ({"qidxs": [0]}, "qidxs has 1 entries, pidxs 3"),
        ({"cluster": [1, 2]}, "cluster has 2 entries, cids 4"),
        ({"cluster": [1, 2, 3, "x"]}, "cluster holds something that is no whole number"),
        ({"cids": ["1", "", "2", "5"]}, "cids holds something that is no name"),
        ({"cids": [1, 2, 3, 4]}, "cids holds something that is no name"),
        ({"cids": "1925"}, "cids holds something that is no name"),
        ({"cids": ["x", "y", "z", "w"]}, "none of its 3 pairs is of two training photos, such as x and z"),
    ],
)
def test_bad_pickles_are_one_sentence(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        training_pairs(sfm(tmp_path, **changes), PHOTOS)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile_was_here",)


@pytest.mark.parametrize(
    "content, message",
    [
        (pickle.dumps({**SFM, "cids": Hostile()}, 2), r"asks for (posix|nt)\.system"),
        (pickle.dumps(SFM)[:-20], "damaged, or of another form"),
        (pickle.dumps([1, 2]), "damaged, or of another form"),
        (pickle.dumps({"train": [1]}), "damaged, or of another form"),
        (pickle.dumps({"imlist": []}), "no cids in it"),
        (b"", "damaged, or of another form"),
        (b"photo_a,photo_b\n", "damaged, or of another form"),
    ],
)
def test_hostile_and_damaged_pickles_run_nothing(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sfm.pkl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_sfm_pickle("sfm.pkl")
    assert os.listdir() == ["sfm.pkl"]


def test_any_byte_may_be_damaged(tmp_path):
    whole, draw = pickle.dumps(SFM, 2), np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(whole)
        for place in draw.integers(0, len(whole), draw.integers(1, 4)):
            damaged[place] = draw.integers(0, 256)
        (tmp_path / "sfm.pkl").write_bytes(damaged)
        try:
            training_pairs(tmp_path / "sfm.pkl", PHOTOS)
        except UserError as error:
            assert str(error).startswith(str(tmp_path / "sfm.pkl"))
