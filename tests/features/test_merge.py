"""Merging feature files."""

import dataclasses
import logging

import h5py
import pytest

from src.errors import UserError
from src.features.feature_file import FeatureFile, write_provenance
from src.features.merge import merge_features, select_features
from tests.features.made_up import PROVENANCE, contents, make_file

NAMES = [f"{'sub/' if number % 2 else ''}{number}.jpg" for number in range(7)]


def _shards(tmp_path, count=3):
    return [make_file(tmp_path / f"{i}.h5", NAMES[i::count], shard=f"{i + 1}/{count}") for i in range(count)]


def test_shards_make_the_file_made_in_one_go(tmp_path):
    whole = make_file(tmp_path / "whole.h5", NAMES, shard="")
    merge_features(reversed(_shards(tmp_path)), tmp_path / "out" / "merged.h5")
    assert contents(tmp_path / "out" / "merged.h5") == contents(whole)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["merged.h5"]


def test_folders_extracted_alike(tmp_path):
    paths = [make_file(tmp_path / f"{i}.h5", [f"{i}.jpg"], photos=f"list {i}") for i in range(2)]
    merge_features(paths, tmp_path / "merged.h5")
    merge_features(paths[::-1], tmp_path / "other.h5")
    assert contents(tmp_path / "merged.h5") == contents(tmp_path / "other.h5")
    with FeatureFile(tmp_path / "merged.h5") as merged:
        assert merged.names == ["0.jpg", "1.jpg"] and merged.provenance.sources["photos"] not in ("list 0", "list 1")
        assert merged.provenance.settings == PROVENANCE.settings and merged.provenance.sources["shard"] == ""


def test_missing_shards_are_named_and_the_file_does_not_pass_for_whole(tmp_path, caplog):
    shards = _shards(tmp_path, 4)
    merge_features([shards[0], shards[2]], tmp_path / "merged.h5")
    assert "shards 2/4, 4/4 are missing" in caplog.text
    with FeatureFile(tmp_path / "merged.h5") as merged, FeatureFile(shards[0]) as shard:
        assert merged.provenance.sources["photos"] != shard.provenance.sources["photos"]
    with pytest.raises(UserError, match="made under other settings .photos.*`overwrite`"):
        merge_features(shards, tmp_path / "merged.h5")


def test_a_shard_of_very_many(tmp_path, caplog):
    parts = [make_file(tmp_path / f"{i}.h5", [f"{i}.jpg"], shard=f"{i}/99999999999") for i in (1, 3)]
    merge_features(parts, tmp_path / "merged.h5")
    assert "shards 2/99999999999, 4/99999999999, 5/" in caplog.text and "10/99999999999, ... are miss" in caplog.text


@pytest.mark.parametrize("shard", ["1", "0/2", "3/2", "a/b", "1/2/3", "-1/2", "1/²", "1/" + "9" * 5000, 7, ["1/2"], {}])
def test_what_is_no_shard(tmp_path, shard):
    path = make_file(tmp_path / "part.h5", ["a.jpg"], shard=shard)
    with pytest.raises(UserError, match=r"part.h5: damaged \(it is shard .*, not one such as 2/8\); extract"):
        merge_features([path], tmp_path / "merged.h5")
    assert not (tmp_path / "merged.h5").exists()


def test_sources_and_notes_of_any_kind(tmp_path):
    merge_features([make_file(tmp_path / "a.h5", ["a.jpg"], photos=["x"], engine=3)], tmp_path / "merged.h5")
    with FeatureFile(tmp_path / "merged.h5") as merged:
        assert merged.names == ["a.jpg"] and merged.provenance.notes["engine"] == "3"


def test_mixed_settings_are_refused(tmp_path):
    paths = [make_file(tmp_path / f"{i}.h5", [f"{i}.jpg"], score_threshold=i) for i in range(2)]
    with pytest.raises(UserError, match=r"1.h5: made under other settings than .*0.h5 \(score_threshold\)"):
        merge_features(paths, tmp_path / "merged.h5")
    more = make_file(tmp_path / "2.h5", ["2.jpg"], score_threshold=0, half=True)
    with pytest.raises(UserError, match=r"\(half\)"):
        merge_features([paths[0], more], tmp_path / "merged.h5")
    assert not (tmp_path / "merged.h5").exists()


def test_engines_may_differ_at_float32_only(tmp_path):
    def files(precision):
        def make(engine):
            path = make_file(tmp_path / f"{engine}.h5", [f"{engine}.jpg"], engine=engine, precision=precision)
            if precision != "float32":  # as extraction records it
                with h5py.File(path, "r+") as file:
                    meaning = {**PROVENANCE.encoder, "engine": engine, "precision": precision}
                    write_provenance(file, dataclasses.replace(PROVENANCE, encoder=meaning, notes={}))
            return path

        return [make("openvino"), make("mindspore")]

    merge_features(files("float32"), tmp_path / "merged.h5")
    with FeatureFile(tmp_path / "merged.h5") as merged:
        assert merged.provenance.notes["engine"] == "mindspore+openvino"
    with pytest.raises(UserError, match=r"\(engine\)"):
        merge_features(files("bfloat16"), tmp_path / "other.h5")


def test_the_same_photo_twice(tmp_path):
    one, two = make_file(tmp_path / "1.h5", ["a.jpg", "b.jpg"]), make_file(tmp_path / "2.h5", ["b.jpg"])
    with pytest.raises(UserError, match="2.h5: holds b.jpg, as .*1.h5 does"):
        merge_features([one, two], tmp_path / "merged.h5")
    with pytest.raises(UserError, match="is one of the files to merge"):
        merge_features([one, two], two)
    (tmp_path / "loop.h5").symlink_to("loop.h5")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        merge_features([one], tmp_path / "loop.h5")


def test_finished_work_is_kept_and_a_killed_run_leaves_no_trace(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    shards, output = _shards(tmp_path), tmp_path / "merged.h5"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("src.artifacts.put_in_place", killed)
        with pytest.raises(KeyboardInterrupt):
            merge_features(shards, output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.h5", "1.h5", "2.h5"]
    merge_features(shards, output)
    with h5py.File(output) as file:
        assert len(file) == 5
    before = output.stat().st_mtime_ns
    merge_features(shards, output)
    assert output.stat().st_mtime_ns == before and "already made" in caplog.text


def test_some_photos_under_other_names(tmp_path):
    whole = make_file(tmp_path / "f.h5", ["a/1.jpg", "a/2.jpg", "b.jpg"])
    wanted = {"a/2": "a/2.jpg", "q": "b.jpg", "unreadable": "c.jpg"}
    made = select_features(whole, tmp_path / "q.h5", wanted)
    there, here = contents(whole), contents(made)
    assert {name.partition("@")[0].rpartition("/")[0] for name in here if "@" not in name} == {"a/2", "q"}
    for new, old in (("a/2", "a/2.jpg"), ("q", "b.jpg")):
        parts = {name[len(old) :] for name in there if name.startswith(old)}
        assert parts and all(here[new + part] == there[old + part] for part in parts)
    with FeatureFile(whole) as first, FeatureFile(made) as second:
        assert second.provenance.compatible_with(first.provenance)
    before = made.stat().st_mtime_ns
    assert select_features(whole, made, wanted).stat().st_mtime_ns == before
    make_file(whole, ["b.jpg"])  # the photos have changed: nothing to ask
    with FeatureFile(select_features(whole, made, wanted)) as again:
        assert again.names == ["q"]
    with pytest.raises(UserError, match="has none of the 1 photos that are wanted of it"):
        select_features(whole, tmp_path / "other.h5", {"c": "c.jpg"})
