"""The feature file as hloc and as this project read it."""

import fcntl
import os

import h5py
import numpy as np
import pytest

from src.errors import UserError
from src.features.feature_file import FORMAT_VERSION, FeatureFile, provenance_of, write_group, write_provenance
from src.features.merge import merge_features
from src.records import GlobalDescriptor, LocalFeatures, Provenance

MADE = Provenance("ab" * 32, {"name": "delf"}, {"image_scales": [0.25, 1.0], "score_threshold": None}, {"shard": ""})


def make_features(seed, count=5, dimension=4):
    generator = np.random.default_rng(seed)
    return LocalFeatures(
        keypoints=generator.random((count, 2)) * 100,
        scales=generator.random(count),
        scores=np.sort(generator.random(count))[::-1],
        descriptors=generator.normal(size=(count, dimension)),
        image_size=(640, 480 + seed),
        resize_factor=0.5,
    )


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "features.h5", "w") as file:
        write_provenance(file, MADE)
        write_group(file, "sub/b.jpg", make_features(1))
        write_group(file, "a.jpg", make_features(2))
        write_group(file, "sub/empty.jpg", make_features(3, count=0))
    return tmp_path / "features.h5"


def test_round_trip(path):
    with FeatureFile(path) as source:
        assert source.names == ["a.jpg", "sub/b.jpg", "sub/empty.jpg"] and len(source) == 3
        assert source.provenance == MADE and provenance_of(path) == MADE
        assert source.shape("sub/b.jpg") == (5, 4) and source.shape("sub/empty.jpg") == (0, 4)
        assert "a.jpg" in source and "sub" not in source
        for seed, (name, features) in zip((2, 1, 3), source):
            expected = make_features(seed, count=len(features))
            assert features.image_size == expected.image_size and features.resize_factor == 0.5, name
            for part in ("keypoints", "scales", "scores", "descriptors"):
                assert np.array_equal(getattr(features, part), getattr(expected, part)), name
            assert np.array_equal(source.read_descriptors(name), expected.descriptors), name


def test_damaged_descriptors_are_told_when_read_alone(path):
    with h5py.File(path, "r+") as file:
        file["a.jpg"]["descriptors"][0, 0] = np.inf
    with FeatureFile(path) as source, pytest.raises(UserError, match="a.jpg: damaged .*not finite.*extract again"):
        source.read_descriptors("a.jpg")


def test_layout_is_hlocs(path):
    with h5py.File(path, "r") as file:
        group = file["sub/b.jpg"]
        shapes = {name: group[name].shape for name in group}
        assert group["image_size"][:].tolist() == [640, 481]
        assert np.array_equal(group["descriptors"][:, 0], make_features(1).descriptors[0])
    assert shapes == {"keypoints": (5, 2), "descriptors": (4, 5), "scores": (5,), "scales": (5,), "image_size": (2,)}


def test_half_keeps_keypoints_whole(tmp_path):
    features = LocalFeatures([[4001, 2.25]], [4.0], [1e6], [[0.6, -0.8]], (5000, 3000))
    with h5py.File(tmp_path / "half.h5", "w") as file:
        write_provenance(file, MADE)
        write_group(file, "a.jpg", features, half=True, orientation=8, truncated=1)
        kinds = {name: file["a.jpg"][name].dtype for name in ("keypoints", "scales", "scores", "descriptors")}
        assert dict(file["a.jpg"].attrs) == {"orientation": 8, "truncated": 1, "resize_factor": 1.0}
    assert kinds == {"keypoints": "f4", "scales": "f4", "scores": "f2", "descriptors": "f2"}
    with FeatureFile(tmp_path / "half.h5") as source:
        read = source.read("a.jpg")
    assert all(getattr(read, name).dtype == np.float32 for name in kinds)
    assert read.keypoints.tolist() == [[4001, 2.25]] and read.scales.tolist() == [4]
    assert read.scores.tolist() == [65504]  # float16's largest, not infinity
    np.testing.assert_allclose(read.descriptors, [[0.6, -0.8]], atol=5e-4)


def test_unknown_photo(path):
    with FeatureFile(path) as source, pytest.raises(UserError, match="no photo 'c.jpg' among its 3"):
        source.read("c.jpg")


def test_damaged_photo(path):
    with h5py.File(path, "r+") as file:
        del file["a.jpg/scores"]
    with FeatureFile(path) as source, pytest.raises(UserError, match=r"a.jpg: damaged \(no scores in it\)"):
        source.read("a.jpg")


def test_what_is_no_feature_file(path, tmp_path):
    (tmp_path / "text.h5").write_text("no")
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:1500])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["keypoints"] = [1]
    for name in ("text.h5", "cut.h5", "other.h5"):
        with pytest.raises(UserError, match=f"{name}: not a finished feature file"):
            FeatureFile(tmp_path / name)
    with pytest.raises(UserError, match="none.h5: no such file"):
        FeatureFile(tmp_path / "none.h5")


@pytest.mark.parametrize("version", [1, 2, FORMAT_VERSION + 1])
def test_another_format_is_refused(path, version):
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = version
    with pytest.raises(UserError, match=f"format {version}, this program reads 3; extract the photos again"):
        FeatureFile(path)


def test_damaged_provenance(path):
    for text in ("{", "[]", '{"weights": 1}', '{"else": {}}'):
        with h5py.File(path, "r+") as file:
            file.attrs["provenance"] = np.bytes_(text)
        with pytest.raises(UserError, match=r"features.h5: damaged \(.*\); extract the photos again"):
            FeatureFile(path)


def test_global_descriptors_beside_local_features_or_alone(path):
    vector = np.float32([0.6, 0.8])
    with h5py.File(path, "r+") as file:
        write_group(file, "both.jpg", make_features(4), global_descriptor=GlobalDescriptor(vector, (640, 484)))
        write_group(file, "alone.jpg", None, global_descriptor=GlobalDescriptor(vector, (30, 20)), orientation=1)
        assert file["alone.jpg/global_descriptor"].dtype == np.float32
        assert sorted(file["alone.jpg"]) == ["global_descriptor", "image_size"]
        assert dict(file["alone.jpg"].attrs) == {"orientation": 1}
        with pytest.raises(ValueError, match="neither local features nor a global descriptor"):
            write_group(file, "none.jpg", None)
    with FeatureFile(path) as source:
        assert {"both.jpg", "alone.jpg"} < set(source.names)
        assert len(source.read("both.jpg")) == 5 and source.read("both.jpg").image_size == (640, 484)
        for name, size in (("both.jpg", (640, 484)), ("alone.jpg", (30, 20))):
            found = source.read_global(name)
            assert np.array_equal(found.vector, vector) and found.image_size == size
        for read in (source.read, source.shape):
            with pytest.raises(UserError, match="features.h5: alone.jpg has no local features in it"):
                read("alone.jpg")
        with pytest.raises(UserError, match="features.h5: a.jpg has no global descriptor in it"):
            source.read_global("a.jpg")


def test_folders_may_be_called_as_data_sets_are(tmp_path):
    names = ["descriptors/b.jpg", "global_descriptor/a/c.jpg", "keypoints/a.jpg", "sub/keypoints/scores/d.jpg"]
    with h5py.File(tmp_path / "features.h5", "w") as file:
        write_provenance(file, MADE)
        for name in names:
            write_group(file, name, make_features(1))
    with FeatureFile(tmp_path / "features.h5") as source:
        assert source.names == names and all(len(features) == 5 for _, features in source)


def _loop(file):
    file["sub/again"] = file["sub"]


NOT_PASSED_OVER = {
    "keypoints are a group": (lambda file: file.create_group("c.jpg/keypoints"), "nothing in the group c.jpg/keyp"),
    "no keypoints": (lambda file: file.move("a.jpg/keypoints", "a.jpg/points"), "a.jpg holds .*, but no data set keyp"),
    "data beside photos": (lambda file: file.update({"sub/scores": [1.0]}), "sub holds scores, but no data set keyp"),
    "no photos": (lambda file: file.create_group("sub/c/d.jpg"), "nothing in the group sub/c/d.jpg"),
    "a photo in a photo": (lambda file: write_group(file, "a.jpg/c.jpg", make_features(1)), "c.jpg in a.jpg lies in a"),
    "data of a folder": (lambda file: file.update({"sub/keypoints": [[1.0]]}), "(b|empty).jpg in sub lies in a"),
    "link": (lambda file: file.update({"c.jpg": h5py.SoftLink("/a.jpg")}), "c.jpg is a link"),
    "link to a file": (lambda file: file.update({"c.jpg": h5py.ExternalLink("x.h5", "/a.jpg")}), "c.jpg is a link"),
    "keypoints are a link": (lambda file: file.update({"c/keypoints": h5py.SoftLink("/")}), "keypoints is a link"),
    "two places": (lambda file: file.update({"c.jpg": file["a.jpg"]}), "lies in a photo or at two places"),
    "within itself": (_loop, "lies in a photo or at two places"),
    "the whole file again": (lambda file: file.update({"again": file["/"]}), "lies in a photo or at two places"),
    "Latin-1": (lambda file: h5py.h5g.create(file.id, b"\xe9.jpg"), "is not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_PASSED_OVER)
def test_no_photo_is_lost_without_a_word(path, case):
    make, message = NOT_PASSED_OVER[case]
    with h5py.File(path, "r+") as file:
        make(file)
    with pytest.raises(UserError, match=rf"features.h5: damaged \(.*{message}.*; extract the photos again"):
        FeatureFile(path)


@pytest.mark.parametrize("name", ["../x.jpg", "a/../../x.jpg", "..", "C:/x.jpg", "a\\b.jpg", "a/..\\..\\x.jpg"])
def test_names_that_would_leave_a_folder(path, name):
    with h5py.File(path, "r+") as file:
        write_group(file, name, make_features(1))
    with pytest.raises(UserError, match="features.h5: unusable name '"):
        FeatureFile(path)


def _replace(part, **data_set):
    def make(file, folder):
        del file[f"a.jpg/{part}"]
        file.create_dataset(f"a.jpg/{part}", **data_set)

    return make


def _behind_a_pipe(file, folder):
    os.mkfifo(folder / "pipe")
    _replace("scores", shape=(5,), dtype="f4", external=[(folder / "pipe", 0, 20)])(file, folder)


DAMAGED = {
    "points in space": (_replace("keypoints", data=np.zeros((5, 3))), r"keypoints are \(5, 3\)"),
    "one point": (_replace("keypoints", data=1.0), "damaged"),
    "few scores": (_replace("scores", data=np.ones(4)), r"scores are \(4,\), not \[5\]"),
    "few descriptors": (_replace("descriptors", data=np.ones((4, 4))), r"keypoints|descriptors|scales"),
    "flat descriptors": (_replace("descriptors", data=np.ones(20)), r"descriptors are \(20,\), not \[D, N\]"),
    "long descriptors": (_replace("descriptors", data=np.ones((70000, 0))), r"descriptors are \(70000, 0\)"),
    "huge": (_replace("descriptors", shape=(2**20, 2**20), dtype="f4", chunks=(64, 64)), "not the bytes of its shape"),
    "not finite": (_replace("scores", data=np.full(5, np.nan)), "scores holds a number that is not finite"),
    "text": (_replace("scales", data="text"), "does not hold numbers"),
    "behind a pipe": (_behind_a_pipe, "lies in another file"),
    "a link": (lambda file, _: file.update({"a.jpg/global_descriptor": h5py.SoftLink("/")}), "is a link"),
    "size of a line": (_replace("image_size", data=[4]), "damaged"),
    "size of nothing": (_replace("image_size", data=[np.inf, 1]), "damaged"),
    "factors": (lambda file, _: file["a.jpg"].attrs.update(resize_factor=[1, 2]), "resize_factor is neither"),
    "factor 0": (lambda file, _: file["a.jpg"].attrs.update(resize_factor=0), "resize_factor is 0.0, not above 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_features_are_a_sentence_and_nothing_is_merged_of_them(path, case, tmp_path):
    make, message = DAMAGED[case]
    with h5py.File(path, "r+") as file:
        make(file, tmp_path)
    with pytest.raises(UserError, match=rf"features.h5.*{message}.*; extract") as told:
        merge_features([path], tmp_path / "merged.h5")
    assert not (tmp_path / "merged.h5").exists() and len(str(told.value).splitlines()) == 1


def test_a_file_that_another_program_writes_is_finished_later(path):
    with open(path, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # as HDF5 does
        with pytest.raises(UserError, match="features.h5: another program has it open for writing; close it"):
            FeatureFile(path)
