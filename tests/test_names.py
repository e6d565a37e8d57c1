import pytest

from src.errors import UserError
from src.names import NameTable, bare_name, require_inside


def test_bare_name():
    assert bare_name("jpg\\a.JPG") == "jpg/a"
    assert bare_name("st.mary") == "st.mary"


def test_folder_and_extension_do_not_matter():
    table = NameTable(["jpg/a", "jpg/b.jpg", "c"])
    assert [table.find(name) for name in ("a", "a.jpg", "b", "c.png", "oxford/c", "oxford/jpg/a")] == [0, 0, 1, 2, 2, 0]
    assert table.find("d") is None and table.find("png/a") is None and table.find("pg/a") is None


def test_the_same_path_wins_and_two_candidates_are_an_error():
    table = NameTable(["x", "a/x", "a/y", "b/y"])
    assert table.find("x") == 0 and table.find("a/x") == 1 and table.find("b/y") == 3
    with pytest.raises(UserError, match="a/y and b/y"):
        table.find("y")


def test_a_distractor_is_no_benchmark_photo():
    table = NameTable(["jpg/x", "distractors/x", "distractors/jpg/x", "data/distractors/y.jpg", "z", "distractors/z"])
    assert table.find("x") == 0 and table.find("jpg/x.jpg") == 0  # neither ambiguous nor the distractor
    assert table.find("y") is None and table.find("z") == 4
    assert table.find("distractors/x") == 1 and table.find("distractors/y") is None
    assert table.find("distractors/w") is None and NameTable(["w"]).find("distractors/w") is None


def test_names_as_other_programs_write_them():
    assert NameTable(["all_souls_000013.jpg"]).find("oxbuild\\all_souls_000013") == 0
    assert bare_name("x.tar") == "x.tar" and bare_name(".jpg") == "" and bare_name("a.jpg.png") == "a.jpg"


def test_a_name_is_found_in_either_unicode_form():
    composed, decomposed = "caf\u00e9/a.jpg", "cafe\u0301/a.jpg"
    assert NameTable([decomposed]).find(composed) == 0 and NameTable([composed]).find(decomposed) == 0
    assert NameTable([decomposed, composed]).find(composed) == 1  # as it is written wins
    assert NameTable(["x/" + decomposed]).find("caf\u00e9/a") == 0


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/..", "./a", "a\\b", "C:/a", "a\0b"])
def test_names_that_leave_their_folder_are_refused(name):
    with pytest.raises(UserError, match="unusable name"):
        require_inside(name, "features.h5")


def test_usual_names_stay():
    for name in ("a.jpg", "a/b c.jpg", "...", "a..b", "é"):
        assert require_inside(name, "features.h5") == name
