"""Codes of bits in place of descriptors: by hand, slow twins, what commands make of them, and damage."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_up import make_features, make_file

from src.commands.binarize_features import main as binarize
from src.commands.build_index import main as build
from src.commands.convert_features import main as convert
from src.commands.learn_codebook import main as learn_codebook
from src.commands.merge_features import main as merge
from src.commands.perform_retrieval import main as retrieve
from src.errors import UserError
from src.features.binary_codes import Rotation, learn_rotation, pack, unpack
from src.features.feature_file import FeatureFile, provenance_of, write_group, write_provenance
from src.features.kinds import GLOBAL, LOCAL, joined, part_of
from src.features.merge import select_features
from src.records import GlobalDescriptor, LocalFeatures, Provenance
from src.retrieval.ranking_file import load_ranking

ROOT = Path(__file__).resolve().parents[2]
D = 12
NAMES = ("a.jpg", "b/c.jpg", "d.jpg", "e.jpg", "f.jpg")
FEW = Rotation(np.eye(8, 10), np.zeros(10))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def quick(monkeypatch):
    """Rotations are learnt in few steps."""
    monkeypatch.setattr("src.features.binary_codes._ITERATIONS", 3)


@pytest.fixture
def place(tmp_path, quick):
    """photos.h5 of five photos of 80 features in 12-D, the last one of none; queries.h5: four of them with noise."""
    generator = np.random.default_rng(0)
    spread = np.linspace(1, 0.3, D)
    photos, queries = {}, {}
    for number, name in enumerate(NAMES):
        count = 0 if number == 4 else 80
        descriptors = unit(generator.normal(size=(count, D)) * spread) if count else np.zeros((0, D))
        points, scores = generator.uniform(0, 700, (count, 2)), np.sort(generator.exponential(size=count))[::-1]
        photos[name] = LocalFeatures(points, np.full(count, 2**0.5), scores, descriptors, (800, 750), 0.5)
        noisy = unit(descriptors + 0.06 * generator.normal(size=(count, D))) if count else descriptors
        queries[f"q{number}"] = LocalFeatures(points, np.ones(count), scores, noisy, (800, 750), 0.5)
    for path, features in (("photos.h5", photos), ("queries.h5", queries)):
        with h5py.File(tmp_path / path, "w") as file:
            encoder, settings = {"name": "delf", "pca": "x"}, {"max_feature_num": 1000}
            write_provenance(file, Provenance("ab", encoder, settings, {"photos": path, "shard": ""}))
            for name, each in features.items():
                write_group(file, name, each)
    return tmp_path


def run(place, features="photos.h5", output="bits.h5", *options):
    binarize([f"--features={place / features}", f"--output={place / output}", *options])
    return place / output


def read_all(path):
    with FeatureFile(path) as file:
        return dict(file)


def test_codes_by_hand():
    rotation = Rotation(np.eye(8, 8)[::-1], [0.5, 0, 0, 0, 0, 0, 0, 0])
    codes = rotation.encode(np.array([[1, -1, 1, 1, -1, 0, 0, 1], [0.5, 1, 1, 1, 1, 1, 1, 1]], np.float32))
    assert codes.tolist() == [[0b10001101], [0b11111110]]
    np.testing.assert_allclose(rotation.decode(codes[1:]), [[*[8**-0.5] * 7, -(8**-0.5)]], rtol=1e-6)
    assert rotation.encode(np.zeros((0, 3))).shape == (0, 1) and rotation.dimension == 8
    wide = Rotation(np.repeat(np.eye(2), 4, axis=0) / 2, [0, 0])  # of 2 numbers 8 bits; four are one number's sign
    codes = wide.encode(np.array([[0.6, -0.8]], np.float32))
    assert codes.tolist() == [[0b11110000]] and wide.dimension == 2
    np.testing.assert_allclose(wide.decode(codes), [[0.5**0.5, -(0.5**0.5)]], rtol=1e-6)
    np.testing.assert_allclose(wide.decode(np.array([[0b11010001]], np.uint8)), [[0.5**0.5, -(0.5**0.5)]], rtol=1e-6)
    with pytest.raises(UserError, match="the codes are of descriptors of 2 numbers, these have 3"):
        wide.encode(np.zeros((1, 3)))
    for matrix, mean in ((np.eye(7, 8), np.zeros(8)), (np.eye(8), np.zeros(7)), (np.full((8, 8), np.nan), np.zeros(8))):
        with pytest.raises(ValueError, match="not"):
            Rotation(matrix, mean)


def test_packed_features_come_back_with_small_errors():
    features = make_features(3, count=40, dimension=10, image_size=(4000, 47))
    rows = pack(features, FEW)
    assert rows.shape == (40, 9) and rows.dtype == np.uint8
    back = unpack(rows, FEW, features.image_size, 0.25)
    assert np.abs(back.keypoints - features.keypoints).max() <= 4000 / 65535 / 2 + 1e-3
    np.testing.assert_allclose(back.scores, features.scores, rtol=1e-3)
    np.testing.assert_array_equal(back.scales, features.scales)
    assert (np.diff(back.scores) <= 0).all() and back.resize_factor == 0.25 and back.image_size == (4000, 47)
    assert (np.sign(back.descriptors) == np.where(features.descriptors[:, :8] > 0, 1, -1)).all()
    again = unpack(pack(back, Rotation(np.eye(8), np.zeros(8))), FEW, back.image_size, 1)
    np.testing.assert_array_equal(again.keypoints, back.keypoints)
    empty = unpack(pack(make_features(0, 0, 10), FEW), FEW, (5, 5), 1)
    assert len(empty) == 0 and empty.descriptors.shape == (0, 8)
    for wrong in (rows[:, :8], rows.astype(np.int16), rows[0]):
        with pytest.raises(ValueError, match="packed"):
            unpack(wrong, FEW, (5, 5), 1)


def test_a_slow_twin_of_the_layout(place):
    """Bytes, by Python's own struct: x, y, score, scale, then the signs of the rotated descriptor."""
    import struct

    with FeatureFile(run(place)) as file:
        rotation, read = file.rotation, file.read("b/c.jpg")
    source = read_all(place / "photos.h5")["b/c.jpg"]
    with h5py.File(place / "bits.h5", "r") as file:
        rows, attributes = file["b/c.jpg/packed"][()], dict(file["b/c.jpg"].attrs)
    assert attributes == {"width": 800, "height": 750, "resize_factor": 0.5} and rows.shape == (50, 24)
    for number in (0, 17, 49):
        x, y, score, scale = struct.unpack("<HHee", rows[number, :8].tobytes())
        assert abs(x / 65535 * 800 - source.keypoints[number, 0]) < 0.01
        assert abs(y / 65535 * 750 - source.keypoints[number, 1]) < 0.01
        assert score == pytest.approx(source.scores[number], rel=1e-3) and scale == pytest.approx(2**0.5, rel=1e-3)
        bits = "".join(f"{byte:08b}" for byte in rows[number, 8:].tolist())
        turned = [float(row @ (source.descriptors[number] - rotation.mean)) for row in rotation.matrix]
        assert bits == "".join("1" if value > 0 else "0" for value in turned)
        back = sum(row if bit == "1" else -row for row, bit in zip(rotation.matrix, bits))
        np.testing.assert_allclose(read.descriptors[number], back / np.linalg.norm(back), atol=1e-6)


@pytest.mark.parametrize("bits, dimension", [(8, 8), (8, 20), (32, 20), (24, 12)])
def test_a_rotation_is_orthonormal_and_loses_less_than_a_random_one(bits, dimension):
    generator = np.random.default_rng(1)
    mixed = generator.normal(size=(dimension, dimension)) * np.linspace(1, 0.1, dimension)
    sample = unit(generator.normal(size=(3000, dimension)) @ mixed).astype(np.float32)
    found = learn_rotation(sample, bits, 0)
    small = min(bits, dimension)
    products = found.matrix @ found.matrix.T if bits == small else found.matrix.T @ found.matrix
    np.testing.assert_allclose(products, np.eye(small), atol=1e-4)
    assert learn_rotation(sample, bits, 0).identity == found.identity

    def loss(matrix):
        turned = unit(sample - sample.mean(axis=0)) @ matrix.T
        return np.mean(np.square(turned - np.where(turned > 0, 1, -1) / np.sqrt(bits)))

    first = np.linalg.qr(generator.normal(size=(max(bits, dimension), small)))[0]
    assert loss(found.matrix) < loss(first.T if bits == small else first)
    if bits > dimension:  # distances keep their meaning
        assert (found.decode(found.encode(sample)) * sample).sum(axis=1).mean() > 0.75
    with pytest.raises(UserError, match="too few to learn codes"):
        learn_rotation(sample[: 2 * dimension - 1], bits, 0)


def test_the_command_keeps_refuses_and_says_the_size(place, capsys):
    path = run(place)
    assert "bits.h5: 5 photos, codes of 128 bits, " in capsys.readouterr().out
    made = provenance_of(path)
    assert made.encoder["binary"]["bits"] == 128 and made.settings == {"max_feature_num": 50} and made.weights == "ab"
    first, stamp = path.read_bytes(), path.stat().st_mtime_ns
    run(place)
    assert path.stat().st_mtime_ns == stamp
    for options, name in (
        (["--bits=64"], "binary, photos"),
        (["--max_feature_num=9"], "max_feature_num"),
        (["--seed=1"], "photos"),
    ):
        with pytest.raises(UserError, match=rf"other settings \({name}\)"):
            run(place, "photos.h5", "bits.h5", *options)
    run(place, "photos.h5", "bits.h5", "--overwrite")
    assert path.read_bytes() == first
    assert {name: len(each) for name, each in read_all(path).items()} == dict(zip(NAMES, (50, 50, 50, 50, 0)))
    with FeatureFile(path) as file:
        assert file.shape("a.jpg") == (50, D) and file.shape("f.jpg") == (0, D) and file.has_local("a.jpg")
        assert not file.has_global("a.jpg")
    everything = read_all(run(place, "photos.h5", "all.h5", "--max_feature_num=0", "--bits=8"))
    assert len(everything["a.jpg"]) == 80 and everything["a.jpg"].descriptors.shape[1] == 8


@pytest.mark.parametrize(
    "features, options, said",
    [
        ("photos.h5", ["--bits=12"], "`bits` is 12; give a multiple of 8 up to 1024"),
        ("photos.h5", ["--bits=0"], "`bits` is 0"),
        ("photos.h5", ["--like={}/bits.h5", "--bits=64"], "--bits has no effect with --like"),
        ("photos.h5", ["--like={}/photos.h5"], "its descriptors are no codes"),
        ("bits.h5", [], "bits.h5: its descriptors are codes already"),
        ("other.h5", ["--like={}/bits.h5"], r"of other features than those of .*other.h5 \(weights, pca, precision\)"),
        ("global.h5", [], "x.jpg has no local features in it; extract them"),
        ("gone.h5", [], "gone.h5: no such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_packed_is_refused(place, features, options, said):
    run(place)
    make_file(place / "other.h5", ["x.jpg"])
    with h5py.File(place / "global.h5", "w") as file:
        write_provenance(file, Provenance("ab", {"name": "global"}))
        write_group(file, "x.jpg", None, global_descriptor=GlobalDescriptor([1, 0], (5, 5)))
    with pytest.raises(UserError, match=said):
        run(place, features, "out.h5", *(option.format(place) for option in options))
    assert not (place / "out.h5").exists()


@pytest.mark.parametrize("searcher", ["votes", "asmk_star"])
def test_a_search_over_codes_finds_the_photos(place, searcher):
    photos, queries = run(place), run(place, "queries.h5", "q.h5", f"--like={place}/bits.h5")
    assert provenance_of(photos).compatible_with(provenance_of(queries))
    build([f"--features={photos}", f"--output={place}/index", f"--searcher={searcher}"])
    retrieve([f"--index={place}/index", f"--query_features={queries}", f"--output={place}/r.npz"])
    ranking, _ = load_ranking(place / "r.npz")
    best = {name: ranking.index_names[row[0]] for name, row in zip(ranking.query_names, ranking.ranks)}
    assert {name: best[name] for name in ("q0", "q1", "q2", "q3")} == dict(
        zip(("q0", "q1", "q2", "q3"), ("a", "b/c", "d", "e"))
    )
    assert int(ranking.scores[:4, 0].min()) >= 25  # inliers
    with pytest.raises(UserError, match=r"made otherwise than the index \(binary\)"):
        others = run(place, "queries.h5", "other.h5", "--seed=3")
        retrieve([f"--index={place}/index", f"--query_features={others}", f"--output={place}/s.npz"])
    with pytest.raises(UserError, match=r"made otherwise than the index \(binary\)"):
        retrieve([f"--index={place}/index", f"--query_features={place}/queries.h5", f"--output={place}/s.npz"])


def test_files_of_one_rotation_stand_side_by_side_and_others_do_not(place):
    photos, more = run(place), run(place, "queries.h5", "more.h5", f"--like={place}/bits.h5")
    other = run(place, "queries.h5", "other.h5")
    with pytest.raises(UserError, match=r"extracted with other settings than .* \(binary\)"):
        build(["--features", str(photos), str(other), f"--output={place}/index"])
    build(["--features", str(photos), str(more), f"--output={place}/index", "--searcher=asmk"])
    build([f"--features={photos}", f"--output={place}/one", "--index_type=Flat"])
    build([f"--features={more}", f"--output={place}/one", "--add"])
    with pytest.raises(UserError, match=r"made under other settings than .*\(binary\)"):
        merge(["--features", str(photos), str(other), f"--output={place}/m.h5"])
    merge(["--features", str(photos), str(more), f"--output={place}/m.h5"])
    select_features(place / "m.h5", place / "s.h5", {"x.jpg": "a.jpg"})
    for path, name, old in ((place / "m.h5", "q1", more), (place / "s.h5", "x.jpg", photos)):
        with FeatureFile(path) as file, FeatureFile(old) as source:
            assert file.rotation.identity == source.rotation.identity
            ours, theirs = file.read(name), source.read({"x.jpg": "a.jpg"}.get(name, name))
        np.testing.assert_array_equal(ours.descriptors, theirs.descriptors)
        np.testing.assert_array_equal(ours.keypoints, theirs.keypoints)
    run(place, "queries.h5", "again.h5", f"--like={place}/s.h5")
    learn_codebook([f"--features={photos}", f"--output={place}/words.npz", "--codebook_size=4"])
    convert([f"--features={photos}", f"--output={place}/delf"])
    assert sorted(path.name for path in (place / "delf").rglob("*.delf"))[:2] == ["a.delf", "c.delf"]


def test_global_descriptors_stay_beside_the_codes(place):
    generator = np.random.default_rng(0)
    local = Provenance("ab", {"name": "delf", "pca": "x"}, {"max_feature_num": 1000})
    both = joined(local, Provenance("ab", {"name": "global", "pooling": "gem"}, {"head": "none"}))
    with h5py.File(place / "both.h5", "w") as file:
        write_provenance(file, both)
        for name, features in read_all(place / "photos.h5").items():
            vector = GlobalDescriptor(unit(generator.normal(size=(1, 6)))[0], features.image_size)
            write_group(file, name, features, global_descriptor=vector)
    path = run(place, "both.h5", "packed.h5")
    made = provenance_of(path)
    assert "binary" in part_of(made, LOCAL).encoder and "binary" not in part_of(made, GLOBAL).encoder
    with FeatureFile(path) as file, FeatureFile(place / "both.h5") as source:
        assert file.names == source.names and file.has_local("a.jpg") and file.has_global("a.jpg")
        for name in file.names:
            np.testing.assert_array_equal(file.read_global(name).vector, source.read_global(name).vector)
        assert len(file.read("b/c.jpg")) == 50
    queries = run(place, "queries.h5", "q.h5", f"--like={path}")
    assert provenance_of(queries).encoder["binary"] == made.encoder["binary"]


@pytest.mark.parametrize(
    "harm, said",
    [
        (lambda file: file.attrs.__delitem__("rotation_0"), "no rotation of its codes"),
        (lambda file: file.attrs.__setitem__("rotation_0", np.bytes_("!!")), "damaged"),
        (lambda file: file.attrs.__setitem__("code_bits", 136), "damaged"),
        (lambda file: swap(file), "another rotation than that of its codes"),
        (lambda file: replace(file, np.zeros((3, 23), np.uint8)), r"packed is \(3, 23\), not \[N, 24\]"),
        (lambda file: replace(file, np.zeros((3, 24), np.float32)), "packed holds float32, not bytes"),
        (lambda file: file["a.jpg"].attrs.__delitem__("width"), "not positive"),
        (lambda file: replace(file, np.full((3, 24), 0xFF, np.uint8)), "not finite"),
    ],
)
def test_damage_is_one_sentence(place, harm, said):
    path = run(place)
    with h5py.File(path, "a") as file:
        harm(file)
    with pytest.raises(UserError, match=rf"bits.h5: .*{said}") as caught:
        build([f"--features={path}", f"--output={place}/index"])
    assert "\n" not in str(caught.value)


def swap(file):
    del file.attrs["code_bits"], file.attrs["rotation_0"]
    Rotation(np.eye(128, D), np.zeros(D)).write(file)


def replace(file, rows):
    del file["a.jpg/packed"]
    file["a.jpg/packed"] = rows


def test_a_long_rotation_lies_in_pieces(tmp_path):
    rotation = Rotation(np.random.default_rng(0).normal(size=(128, 700)), np.ones(700))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        rotation.write(file)
    with h5py.File(tmp_path / "x.h5", "r") as file:
        assert len(file.attrs) > 10
        np.testing.assert_array_equal(Rotation.read(file, rotation.identity).matrix, rotation.matrix)


def test_fifty_features_of_many_photos_take_less_than_two_kilobytes(tmp_path, quick):
    with h5py.File(tmp_path / "many.h5", "w") as file:
        write_provenance(file, Provenance("ab", {"name": "delf", "pca": "x"}))
        for number in range(120):
            write_group(file, f"{number}.jpg", make_features(number, 50, 40))
    size = os.path.getsize(run(tmp_path, "many.h5", "bits.h5")) - 30_000  # the rotation, once
    assert size / 120 < 1900 and os.path.getsize(tmp_path / "many.h5") / 120 > 5.5 * size / 120


_KILLED = """
import sys
sys.path[:0] = [{root!r}]
from src.features import binarize
copy = binarize._copy
def slow(*arguments):
    copy(*arguments)
    print("now", flush=True)
    import time
    time.sleep(30)
binarize._copy = slow
from src.commands.binarize_features import main
main(sys.argv[1:])
"""


def test_a_killed_run_leaves_the_old_file(place):
    old = run(place).read_bytes()
    command = [f"--features={place}/photos.h5", f"--output={place}/bits.h5", "--bits=64", "--overwrite"]
    script = _KILLED.format(root=str(ROOT))
    process = subprocess.Popen([sys.executable, "-c", script, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "now\n"
    process.kill()
    process.wait()
    assert (place / "bits.h5").read_bytes() == old
    binarize(command)
    with FeatureFile(place / "bits.h5") as file:
        assert file.rotation.bits == 64
