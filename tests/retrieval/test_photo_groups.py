"""Groups of photos of the same place: links and groups by hand, and the command on a small collection."""

import csv

import numpy as np
import pytest
from own_photos import build, picture
from PIL import Image

from src.commands.groups import main as groups_command
from src.errors import UserError
from src.features.encoder import Encoded
from src.records import Candidates, LocalFeatures, Matches
from src.retrieval.photo_groups import Link, copies_in, find_links, groups_of


class Search:
    """Finds what a table says: by (query, photo) the number of inliers."""

    def __init__(self, table):
        self._table = table

    def rank(self, query: Encoded):
        number = int(query.local.keypoints[0, 0])
        found = {other: count for (first, other), count in self._table.items() if first == number}
        verified = {
            other: Matches(np.zeros((count + 1, 2)), np.zeros(count + 1), [True] * count + [False])
            for other, count in found.items()
        }
        return Candidates(np.array(list(found), int), np.zeros(len(found)), lambda _: None, verified)


def features(number, count):
    return LocalFeatures(np.full((count, 2), number), np.ones(count), np.ones(count), np.eye(count, 4), (9, 9))


def test_links_are_found_from_both_sides():
    table = {(0, 0): 99, (0, 1): 20, (1, 0): 18, (0, 2): 30, (2, 0): 9, (1, 2): 10, (2, 1): 10, (4, 1): 50}
    asked = []

    def features_of(photo):
        asked.append(photo)
        return features(photo, 0 if photo == 3 else 20 + photo)

    links = find_links(Search(table), 5, features_of, 10)
    assert links == [Link(0, 1, 18, 18 / 20), Link(1, 2, 10, 10 / 21)] and asked == [0, 1, 2, 3, 4]


def test_what_links_connect_is_a_group():
    links = [Link(5, 6, 30, 0.9), Link(0, 3, 30, 0.5), Link(3, 8, 30, 0.95), Link(1, 8, 30, 0.96), Link(6, 9, 30, 0.9)]
    assert groups_of(links) == [[0, 1, 3, 8], [5, 6, 9]] and groups_of([]) == []
    assert copies_in(links, 0.9) == {3: 1, 8: 1, 6: 5, 9: 5}


@pytest.fixture
def doubled(place):
    """Photo 4 once more, cut, and once more as a JPEG."""
    picture(4).crop((0, 32, 320, 256)).save(place / "photos" / "trip" / "cut.png")
    picture(4).save(place / "photos" / "saved.jpg", quality=95)
    build(place)
    return place


def run(place, *more):
    groups_command([f"--index={place}/made", f"--output={place}/g.csv", f"--page={place}/g.html", *more])
    with open(place / "g.csv", newline="") as stream:
        return list(csv.reader(stream))


def test_the_command(doubled, capsys):
    rows = run(doubled, "--least_inliers=25")
    assert rows[0] == ["group", "photo", "copy_of"]
    assert rows[1:3] == [["1", "4.png", ""], ["1", "saved.jpg", "4.png"]] and rows[3][:2] == ["1", "trip/cut.png"]
    assert len(rows) == 4 and "3 of 9 photos in 1 groups" in capsys.readouterr().out
    page = (doubled / "g.html").read_text()
    assert "links have 25 inliers or more" in page and page.count("<section>") == 1 and "nearly 4.png" in page
    assert "no such photo" not in page and "<script" not in page
    assert len(run(doubled, "--least_inliers=61")) == 1
    assert "No two photos show the same place." in (doubled / "g.html").read_text()


def test_wrong_input_is_one_sentence(place):
    with pytest.raises(UserError, match="--copy_share is 0.0"):
        run(place, "--copy_share=0")
    with pytest.raises(UserError, match="not a photo index"):
        groups_command([f"--index={place}/photos", "--page=", f"--output={place}/g.csv"])
    Image.new("RGB", (4, 4)).save(place / "p.png")
    with pytest.raises(UserError, match="is no page"):
        groups_command([f"--index={place}/made", f"--page={place}/p.png", f"--output={place}/g.csv"])
