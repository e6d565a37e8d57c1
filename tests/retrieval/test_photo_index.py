"""A photo index follows its folder: what is new, changed, whole now, gone or renamed; and builds that are killed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from own_photos import build, found_in, picture

from src.errors import UserError
from src.retrieval.index import load_index
from src.retrieval.photo_index import load_photo_index
from tests.features.fake_network import load_fake_network


class Counting:
    """A network that counts the photos put through it."""

    def __init__(self):
        self.photos = 0

    def __call__(self, run, model, device_id, threads):
        network = load_fake_network(run, model, device_id, threads)

        def count(level):
            self.photos += 1
            return network(level)

        return count


def no_network(*_):
    raise AssertionError("nothing is to be extracted")


def assert_as_made_anew(place, made):
    """The index is what a first build makes of the folder as it is now."""
    anew = build(place, output="anew")
    for name in ("index.faiss", "keypoints.npy", "starts.npy", "image_names.json"):
        assert (made.index / name).read_bytes() == (anew.index / name).read_bytes(), name
    shutil.rmtree(anew.folder)


def test_an_index_follows_its_folder(place, caplog):
    caplog.set_level("INFO")
    photos = place / "photos"
    picture(8).save(place / "whole.png")
    (photos / "half.png").write_bytes((place / "whole.png").read_bytes()[:20])  # still being copied
    build(place)
    os.replace(place / "whole.png", photos / "half.png")
    picture(9).save(photos / "2.png")  # another one of the same name
    (photos / "0.png").unlink()
    (photos / "trip" / "1.png").rename(photos / "trip" / "one.png")
    picture(7).save(photos / "0a.png")
    caplog.clear()
    network = Counting()
    made = build(place, load_network=network)
    names = ["0a.png", "2.png", "4.png", "6.png", "half.png", "trip/3.png", "trip/5.png", "trip/one.png"]
    assert load_index(made.index).image_names == names and network.photos == 4
    assert "3 photos are new, 1 changed, 2 gone, 4 kept" in caplog.text
    assert_as_made_anew(place, made)
    assert not Path(f"{made.features}.failed.txt").exists()
    assert found_in(made, photos / "2.png")[0].left_out == "2.png"


def test_nothing_changed_is_told_without_a_network(place):
    made = build(place)
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*") if path.name != "settings.json"}
    assert build(place, load_network=no_network)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_copy_of_the_folder_needs_no_extraction(place):
    """Its photos have other times; and the network may be gone."""
    build(place)
    shutil.copytree(place / "photos", place / "copy", copy_function=shutil.copyfile)
    for path in (place / "copy").rglob("*.png"):
        os.utime(path, (1, 1))
    made = build(place, "copy", load_network=no_network)
    assert load_photo_index(made.folder).images_path == place / "copy" and len(load_index(made.index)) == 7


def test_a_photo_of_equal_size_and_another_content_is_noticed(place):
    photo = place / "photos" / "0.bmp"
    picture(10).save(photo)
    (place / "photos" / "0.png").unlink()
    made = build(place)
    size = photo.stat().st_size
    picture(11).save(photo)
    assert photo.stat().st_size == size
    made = build(place)
    assert_as_made_anew(place, made)


def test_photos_that_differ_by_extension_are_told_before_the_work_and_renaming_helps(place):
    picture(9).save(place / "photos" / "2.jpg")
    with pytest.raises(UserError, match=r"photos: 2\.jpg and 2\.png differ only by extension; rename one"):
        build(place, load_network=no_network)
    assert not (place / "made").exists()
    (place / "photos" / "2.jpg").rename(place / "photos" / "two.jpg")
    made = build(place)
    picture(9).save(place / "photos" / "two.png")
    with pytest.raises(UserError, match="two.jpg and two.png differ only by extension"):
        build(place)
    (place / "photos" / "two.jpg").unlink()
    assert "two.png" in load_index(build(place).index).image_names
    assert_as_made_anew(place, made)


def test_a_damaged_index_is_made_again_from_its_features(place, caplog):
    made = build(place)
    faiss_file = made.index / "index.faiss"
    sound = faiss_file.read_bytes()
    faiss_file.write_bytes(sound[:-9] + bytes([sound[-9] ^ 1]) + sound[-8:])
    with pytest.raises(UserError, match=r"index\.faiss: damaged.*run the command build_photo_index again"):
        found_in(made, place / "photos" / "0.png")
    build(place, load_network=no_network)
    assert faiss_file.read_bytes() == sound and "(its checksum differs); made again" in caplog.text


@pytest.mark.parametrize("text", ["[" * 10_000, "7", '{"format_version": 3, "checksum": "0"}', "\0"])
def test_damaged_settings_are_one_sentence(place, text):
    made = build(place)
    (made.folder / "settings.json").write_text(text)
    for use in (lambda: load_photo_index(made.folder), lambda: build(place)):
        with pytest.raises(UserError, match=r"settings\.json: damaged .* the command build_photo_index, `overwrite`"):
            use()
    assert len(load_index(build(place, overwrite=True).index)) == 7


def test_photos_whose_names_are_no_unicode_or_hold_control_characters(place, caplog):
    """An HDF5 file names its groups in Unicode, so the first are left out; the others are photos as any."""
    for name in (b"caf\xe9.png", b"\xff/x.png", b"a\nb.png", b"tab\t.png"):
        path = place / "photos" / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        picture(len(name)).save(path)
    for _ in range(2):
        made = build(place)
        assert {"a\nb.png", "tab\t.png", "0.png"} < set(load_index(made.index).image_names)
    assert_as_made_anew(place, made)


def test_folders_whose_names_are_no_unicode(place):
    odd = os.fsdecode(b"caf\xe9")
    os.rename(place / "photos", place / odd)
    made = build(place, odd)
    assert load_photo_index(made.folder).images_path == place / odd
    assert found_in(made, place / odd / "0.png")[0].left_out == "0.png"


def test_a_photo_that_cannot_be_read_is_left_out_until_it_changes(place, caplog):
    caplog.set_level("INFO")
    (place / "photos" / "broken.jpg").write_bytes(b"no photo")
    build(place)
    assert "broken.jpg: cannot be read" in caplog.text
    caplog.clear()
    made = build(place, load_network=no_network)
    assert "features of 7 of 8 photos" in caplog.text and len(load_index(made.index)) == 7


def test_a_stopped_build_goes_on(place):
    network = Counting()

    def load_stopping_network(*arguments):
        count = network(*arguments)

        def stop_at_the_fifth(level):
            if network.photos == 4:
                raise KeyboardInterrupt
            return count(level)

        return stop_at_the_fifth

    with pytest.raises(KeyboardInterrupt):
        build(place, load_network=load_stopping_network)
    with pytest.raises(UserError, match="no such folder"):
        load_index(place / "made" / "index")
    picture(7).save(place / "photos" / "0a.png")  # does not make it start again
    made = build(place, load_network=network)
    assert network.photos == 8 and len(load_index(made.index)) == 8


def test_a_build_stopped_before_or_while_its_index_is_replaced_makes_it(place):
    made = build(place)
    shutil.rmtree(made.index)
    assert len(load_index(build(place, load_network=no_network).index)) == 7
    (made.index / "index.json").unlink()
    assert len(load_index(build(place, load_network=no_network).index)) == 7
    picture(7).save(place / "photos" / "0a.png")
    os.rename(made.index, made.folder / ".index.old")  # where a kill between two renames leaves it
    assert len(load_index(build(place).index)) == 8 and not (made.folder / ".index.old").exists()


def test_other_settings_are_refused_and_replaced_on_request(place):
    build(place)
    with pytest.raises(UserError, match=r"other settings \(max_feature_num\)"):
        build(place, max_feature_num=20)
    made = build(place, max_feature_num=20, overwrite=True)
    assert load_index(made.index).keypoints.shape == (140, 2)
    (place / "model" / "net.ckpt").write_bytes(b"other weights")
    with pytest.raises(UserError, match=r"other settings \(weights\)"):
        build(place, max_feature_num=20)


def test_other_photos_and_other_folders_are_refused(place):
    made = build(place)
    (place / "else").mkdir()
    picture(9).save(place / "else" / "x.png")
    with pytest.raises(UserError, match="made of other photos, none of which"):
        build(place, "else")
    with pytest.raises(UserError, match="no photo index"):
        build(place, output="else", overwrite=True)
    assert (place / "else" / "x.png").exists()
    assert load_photo_index(made.folder).images_path == place / "photos"


def test_a_pca_that_is_too_small_is_told_before_anything_is_written(place):
    with pytest.raises(UserError, match="model/pca.npz: keeps 8 dimensions, `pca_dim` is 9; give `pca_dim` 8"):
        build(place, pca_dim=9)
    assert not (place / "made").exists()
    assert load_index(build(place, pca_dim=8).index).faiss_index.d == 8


def test_what_is_missing_or_damaged_is_told_with_advice_that_helps(place):
    made = build(place)
    whole, query = made.pca_path.read_bytes(), place / "photos" / "0.png"
    for content in (b"", b"no PCA", whole[:600] + b"?" + whole[601:], None):
        made.pca_path.write_bytes(content) if content is not None else made.pca_path.unlink()
        with pytest.raises(UserError, match="pca.npz: missing or damaged; .* build_photo_index, `overwrite`"):
            found_in(made, query)
    made = build(place, overwrite=True)
    shutil.rmtree(made.index)
    with pytest.raises(UserError, match="half-made, no folder index in it; run the command build_photo_index again"):
        found_in(made, query)
    assert found_in(build(place), query)


_KILLED = """
import os, random, signal, time
from pathlib import Path
from own_photos import build, picture

def change(state):
    for number in range(7):  # each state has other photos, and others under the same names
        path = Path("photos", f"{number}.png")
        path.unlink(missing_ok=True)
        if number % 3 != state:
            picture(10 * state + number).save(path)

moments = random.Random(3)
for kill in range(10):
    child = os.fork()
    if not child:
        while True:
            for state in (kill % 3, (kill + 1) % 3):
                change(state)
                build(Path())
    time.sleep(moments.uniform(0.05, 0.6))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
change(0)
"""


def test_kills_at_random_moments_cost_nothing(place):
    """The last build ends with the bytes of a first one, and nothing of the killed ones lies about."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    subprocess.run([sys.executable, "-c", _KILLED], cwd=place, env=environment, check=True, capture_output=True)
    made = build(place)
    assert sorted(path.name for path in made.folder.iterdir()) == ["features.h5", "index", "pca.npz", "settings.json"]
    assert_as_made_anew(place, made)
