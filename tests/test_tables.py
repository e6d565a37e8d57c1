"""csv files of outside: what is read, line numbers, and one-sentence errors."""

import os

import pytest

from src import tables
from src.errors import UserError
from src.tables import read_table


def rows_of(path, columns=("a", "b"), **options):
    return [
        (line, *row) for frame in read_table(path, columns, "table", **options) for line, *row in frame.itertuples()
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a,b\n1,2\n3,4\n", [(2, "1", "2"), (3, "3", "4")]),
        ("a,b\n1,2\n3,4", [(2, "1", "2"), (3, "3", "4")]),
        ("\ufeffb,c,a\r\n2,x,1\r\n", [(2, "1", "2")]),
        ('"a","b"\n"1, 2"," 3 "\n', [(2, "1, 2", "3")]),
        ("a,b\n1,2\n\n3,4\n\n", [(2, "1", "2"), (4, "3", "4")]),
        ('a,b\n"1\n1",2\n3,4\n', [(3, "1\n1", "2"), (4, "3", "4")]),
        ("a,b\nNA,None\n1e3,\n07\n", [(2, "NA", "None"), (3, "1e3", ""), (4, "07", "")]),
        ("a,b\n\u00fc,2\n", [(2, "\u00fc", "2")]),
        ("a,b\n", []),
        ("sep=;\r\na;b\r\n1;2\r\n", [(3, "1", "2")]),
        ('"sep=,"\na,b\n1,2\n', [(3, "1", "2")]),
    ],
)
def test_rows_and_their_lines(tmp_path, text, expected, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    assert rows_of(path) == expected
    monkeypatch.setattr(tables, "CHUNK", 1)
    assert rows_of(path) == expected


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "no column 'a': the header is ''; `table` needs a,b"),
        ("a:b\n1:2\n", "no column 'a': the header is 'a:b'; `table` needs a,b"),
        ("A;c\n1;2\n", "no column 'b': the header is 'A;c'"),
        ("a,b,a\n1,2,3\n", "two columns 'a'"),
        ("A,b, A\n1,2,3\n", "two columns 'a'"),
        ("a,b\n1,2,3\n", "line 2: more fields"),
        ("a,b\n1,2,3,4\n", "line 2: no valid csv: more fields"),
        ("a,b\n1,2\n1,2,3\n", "line 3: more fields"),
        ("a,b\n1,2\n1,2,3,4\n", "line 3: no valid csv: more fields"),
        ('a,b\n1,2\n1,"2\n', "line 3: no valid csv: a quote that is never closed"),
    ],
)
def test_what_is_no_table(tmp_path, text, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=f"t.csv.*{said}"):
        rows_of(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_of_other_programs(tmp_path, encoding, separator, end):
    path = tmp_path / "t.csv"
    lines = [["A", "note", " b "], ['"caf\u00e9, ; x"', "", "1 "], ["img\\p.jpg", "n", '" 2"']]
    text = "".join(separator.join(line) + end for line in lines)
    path.write_bytes((("\ufeff" if encoding == "utf-16-be" else "") + text).encode(encoding))
    assert rows_of(path) == [(2, "caf\u00e9, ; x", "1"), (3, "img\\p.jpg", "2")]


def test_the_very_name_of_a_column_wins(tmp_path):
    (tmp_path / "t.csv").write_text("A,a,b\n1,2,3\n")
    assert rows_of(tmp_path / "t.csv") == [(2, "2", "3")]


@pytest.mark.parametrize(
    "content", [b"\0" * 100, b"a" * 10**6, b"\xff\xfe\x00", b'"' + b"a" * 10**6, b"a,b\n1,\0\n\xff"]
)
def test_what_is_no_text(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"t\.csv: .*(`table` needs a,b|give a csv file)$") as caught:
        rows_of(tmp_path / "t.csv")
    assert len(str(caught.value)) < 500


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(UserError, match="is a pipe or a device"):
        rows_of(tmp_path / "t.csv")


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a;b\n1;\xff\n")
    with pytest.raises(UserError, match="t.csv: damaged .*give a csv file"):
        rows_of(path)
    assert rows_of(path, errors="surrogateescape") == [(2, "1", "\udcff")]
    with pytest.raises(UserError, match=r"no such file \(`table`\)"):
        rows_of(tmp_path / "none.csv")
