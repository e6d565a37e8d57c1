"""Feature files to the reference's .delf files and back."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from src.errors import UserError
from src.features.convert import delf_to_features, features_to_delf
from src.features.delf_format import parse_delf, serialise_delf
from src.features.feature_file import FeatureFile
from src.records import Provenance
from tests.features.made_up import PROVENANCE, contents, make_features, make_file, make_photos

NAMES = ["a.jpg", "sub/b.c.PNG", "sub/d.jpg"]


@pytest.fixture
def features(tmp_path):
    return make_file(tmp_path / "features.h5", NAMES)


def _delf_folder(folder, names, dimension=8):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        made = make_features(number, dimension=dimension)
        arrays = made.keypoints[:, ::-1], made.scales, made.descriptors, made.scores
        (folder / name).write_bytes(serialise_delf(*arrays))
    return folder


def test_a_file_for_each_photo_named_as_the_reference_names_it(features, tmp_path):
    features_to_delf(features, tmp_path / "delf")
    found = sorted(path.relative_to(tmp_path / "delf").as_posix() for path in (tmp_path / "delf").rglob("*.delf"))
    assert found == ["a.delf", "sub/b.c.delf", "sub/d.delf"]
    with FeatureFile(features) as source:
        for name, path in zip(NAMES, found):
            arrays, expected = parse_delf((tmp_path / "delf" / path).read_bytes()), source.read(name)
            assert np.array_equal(arrays.locations, expected.keypoints[:, ::-1])
            assert np.array_equal(arrays.descriptors, expected.descriptors)
            assert np.array_equal(arrays.attention, expected.scores) and np.array_equal(arrays.scales, expected.scales)


def test_there_and_back(features, tmp_path):
    photos = make_photos(tmp_path / "photos", [*NAMES, "other.jpg"])
    features_to_delf(features, tmp_path / "delf")
    delf_to_features(tmp_path / "delf", tmp_path / "back.h5", photos)
    there, back = contents(features), contents(tmp_path / "back.h5")
    differing = {name for name in {*there, *back} if there.get(name) != back.get(name)}
    assert differing == {"@provenance", *(f"{name}@orientation" for name in NAMES)}
    with FeatureFile(tmp_path / "back.h5") as made:
        assert made.provenance.differences(PROVENANCE) == ["photos", "shard"]  # of the .delf files instead


def test_foreign_files_get_sizes_of_upright_photos_and_the_given_identity(tmp_path):
    folder = _delf_folder(tmp_path / "delf", ["x.delf", "y.delf"])
    make_photos(tmp_path / "photos", ["jpg/y.jpg"], (40, 30))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "photos/jpg/x.jpg", exif=turned)
    delf_to_features(folder, tmp_path / "plain.h5", tmp_path / "photos")
    delf_to_features(folder, tmp_path / "known.h5", tmp_path / "photos", checkpoint_sha256="cd" * 32)
    with FeatureFile(tmp_path / "plain.h5") as plain, FeatureFile(tmp_path / "known.h5") as known:
        assert plain.names == ["jpg/x.jpg", "jpg/y.jpg"]
        assert plain.read("jpg/x.jpg").image_size == (30, 40) and plain.read("jpg/y.jpg").image_size == (40, 30)
        assert plain.provenance.weights == "" and known.provenance.weights == "cd" * 32
        assert plain.provenance.encoder == {}
        assert np.array_equal(plain.read("jpg/x.jpg").descriptors, make_features(0).descriptors)


def test_finished_work_is_kept_and_other_work_refused(features, tmp_path):
    photos, folder, back = make_photos(tmp_path / "photos", NAMES), tmp_path / "delf", tmp_path / "back.h5"
    features_to_delf(features, folder)
    delf_to_features(folder, back, photos)
    times = (folder / "a.delf").stat().st_mtime_ns, back.stat().st_mtime_ns
    features_to_delf(features, folder)
    delf_to_features(folder, back, photos)
    assert times == ((folder / "a.delf").stat().st_mtime_ns, back.stat().st_mtime_ns)
    other = make_file(tmp_path / "other.h5", NAMES, score_threshold=1.0)
    with pytest.raises(UserError, match="made under other settings .score_threshold, features.; give `overwrite`"):
        features_to_delf(other, folder)
    with pytest.raises(UserError, match="made under other settings .*weights.*`overwrite`"):
        delf_to_features(folder, back, photos, checkpoint_sha256="ef" * 32)
    features_to_delf(other, folder, overwrite=True)
    made = Provenance.from_json(json.loads((folder / "provenance.json").read_text()))
    assert made.settings["score_threshold"] == 1.0
    delf_to_features(folder, back, photos, overwrite=True)


def test_a_folder_of_something_else_is_never_replaced(features, tmp_path):
    photos = make_photos(tmp_path / "photos", ["a.jpg"])
    with pytest.raises(UserError, match="was not made by this command"):
        features_to_delf(features, photos, overwrite=True)
    assert (photos / "a.jpg").exists()


def test_names_that_would_meet(tmp_path):
    with pytest.raises(UserError, match="x.jpg and x.png would get one .delf file"):
        features_to_delf(make_file(tmp_path / "f.h5", ["x.jpg", "x.png"]), tmp_path / "delf")
    assert not (tmp_path / "delf").exists()
    folder = _delf_folder(tmp_path / "in", ["x.delf", "x.jpg.delf"])
    with pytest.raises(UserError, match="belongs to x.jpg, as .*x.delf does"):
        delf_to_features(folder, tmp_path / "y.h5", make_photos(tmp_path / "photos", ["x.jpg"]))


def test_what_cannot_be_gathered(tmp_path):
    photos = make_photos(tmp_path / "photos", ["x.jpg", "y.jpg"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no .delf file in this folder"):
        delf_to_features(tmp_path / "empty", tmp_path / "out.h5", photos)
    folder = _delf_folder(tmp_path / "delf", ["x.delf"])
    with pytest.raises(UserError, match="give the photos' folder as `images_path`"):
        delf_to_features(folder, tmp_path / "out.h5", "")
    _delf_folder(folder, ["z.delf"])
    with pytest.raises(UserError, match="no photo z in it"):
        delf_to_features(folder, tmp_path / "out.h5", photos)
    (folder / "z.delf").unlink()
    (folder / "y.delf").write_bytes(b"\x0a\x05abc")
    with pytest.raises(UserError, match="y.delf: damaged .*; make it again"):
        delf_to_features(folder, tmp_path / "out.h5", photos)
    made = make_features(1, dimension=9)
    (folder / "y.delf").write_bytes(serialise_delf(made.keypoints, made.scales, made.descriptors, made.scores))
    with pytest.raises(UserError, match="y.delf: descriptors of 9 numbers, those before have 8"):
        delf_to_features(folder, tmp_path / "out.h5", photos)
    assert not list(tmp_path.glob("*out*"))


def test_no_regular_file_is_waited_for(tmp_path):
    photos, folder = make_photos(tmp_path / "photos", ["x.jpg"]), tmp_path / "delf"
    folder.mkdir()
    os.mkfifo(folder / "x.delf")
    with pytest.raises(UserError, match="x.delf: is a pipe or a device"):
        delf_to_features(folder, tmp_path / "out.h5", photos)
    (folder / "x.delf").unlink()
    (folder / "x.delf").mkdir()
    with pytest.raises(UserError, match="x.delf: is no file"):
        delf_to_features(folder, tmp_path / "out.h5", photos)


@pytest.mark.parametrize("name", [b"a\\b", b"\xe9"])
def test_names_that_no_feature_file_may_hold(tmp_path, name):
    photos = make_photos(tmp_path / "photos", [os.fsdecode(name + b".jpg")])
    folder = _delf_folder(tmp_path / "delf", [os.fsdecode(name + b".delf")])
    with pytest.raises(UserError, match="unusable name|its name is not UTF-8"):
        delf_to_features(folder, tmp_path / "out.h5", photos)
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("text", ["[" * 10**5, "7", "\0", '{"weights": "a", "encoder": 1}'])
def test_damaged_provenance_of_a_folder(tmp_path, text):
    features = make_file(tmp_path / "f.h5", ["x.jpg"])
    features_to_delf(features, tmp_path / "delf")
    (tmp_path / "delf/provenance.json").write_text(text)
    with pytest.raises(UserError, match=r"provenance.json: damaged \(.*\); give another `output`"):
        features_to_delf(features, tmp_path / "delf", overwrite=True)
    assert (tmp_path / "delf/x.delf").exists()


def test_empty_photos_and_odd_lengths(tmp_path, caplog):
    photos = make_photos(tmp_path / "photos", ["x.jpg", "y.jpg"])
    folder = _delf_folder(tmp_path / "delf", ["y.delf"])
    (folder / "x.delf").write_bytes(b"")
    delf_to_features(folder, tmp_path / "out.h5", photos)
    with FeatureFile(tmp_path / "out.h5") as made:
        assert len(made.read("x.jpg")) == 0 and len(made.read("y.jpg")) == 5
    assert "whose norm is not 1" not in caplog.text
    made = make_features(1)
    (folder / "y.delf").write_bytes(serialise_delf(made.keypoints, made.scales, 2 * made.descriptors, made.scores))
    delf_to_features(folder, tmp_path / "long.h5", photos)
    assert "1 files hold descriptors whose norm is not 1" in caplog.text


def test_a_name_that_no_file_can_have_is_told(tmp_path):
    make_file(tmp_path / "clash.h5", ["a.jpg", "a.delf/b.jpg"])
    with pytest.raises(UserError, match=r"a.jpg would get the file a.delf, which is a folder of other photos; rename"):
        features_to_delf(tmp_path / "clash.h5", tmp_path / "made")
    make_file(tmp_path / "long.h5", ["b/" + "n" * 300])
    with pytest.raises(OSError, match="File name too long: '.*/made/b/nnn"):
        features_to_delf(tmp_path / "long.h5", tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clash.h5", "long.h5"]
