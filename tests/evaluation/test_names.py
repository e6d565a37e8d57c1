import pytest

from src.errors import UserError
from src.evaluation.names import NameTable, bare_name


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
