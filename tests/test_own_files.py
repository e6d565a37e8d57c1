"""A folder that is made anew loses nothing that somebody else put into it; damaged records of one are told."""

import shutil

import pytest

from src.errors import UserError
from src.evaluation.upright import rotate_photos
from src.features.convert import features_to_delf
from src.retrieval.build import add_to_index, build_index
from tests.features.made_up import make_file, make_photos

PHOTOS = ["a.jpg", "b/c.jpg"]


def _turn(place, overwrite):
    rotate_photos(make_photos(place / "photos", PHOTOS), place / "turns.txt", place / "made", overwrite)


def _to_delf(place, overwrite):
    features_to_delf(place / "features.h5", place / "made", overwrite)


def _index(place, overwrite):
    build_index(place / "features.h5", place / "made", overwrite=overwrite)


@pytest.fixture
def place(tmp_path):
    make_file(tmp_path / "features.h5", PHOTOS)
    make_file(tmp_path / "more.h5", ["d.jpg"])
    (tmp_path / "turns.txt").write_text("a 90\n")
    return tmp_path


def _change(place):
    """Another list of turns, other features."""
    (place / "turns.txt").write_text("a 180\n")
    shutil.copy(place / "more.h5", place / "features.h5")


@pytest.mark.parametrize("make", [_turn, _to_delf, _index])
def test_what_somebody_put_into_a_folder_is_not_lost_with_it(place, make):
    make(place, False)
    notes = place / "made" / "mine" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    make(place, False)  # finished already: nothing is replaced
    _change(place)
    fact = "made: holds mine/notes.txt, which is no part of .* and would be lost; move it away"
    with pytest.raises(UserError, match=fact):
        make(place, True)
    assert notes.read_text() == "mine"
    shutil.rmtree(notes.parent)
    make(place, True)


def test_photos_are_added_to_an_index_without_a_loss(place):
    _index(place, False)
    (place / "made/ranks.npz").write_text("mine")
    with pytest.raises(UserError, match="holds ranks.npz, which is no part of an index"):
        add_to_index(place / "more.h5", place / "made")
    (place / "made/ranks.npz").unlink()
    add_to_index(place / "more.h5", place / "made")


def test_a_record_nested_without_end_is_no_record(place):
    (place / "made").mkdir()
    (place / "made/provenance.json").write_text("[" * 100_000)
    for make, said in ((_turn, "not a folder of turned photos"), (_to_delf, r"damaged \(maximum recursion")):
        with pytest.raises(UserError, match=said):
            make(place, True)
    assert (place / "made/provenance.json").stat().st_size == 100_000
