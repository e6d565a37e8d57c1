"""Tables of boxes, and boxes proposed from attention: by hand, a slow twin, and what is refused."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from src.commands.propose_boxes import main as propose
from src.errors import UserError
from src.features.boxes import Box, PhotoBoxes, encode_boxes, inside, read_boxes
from src.features.feature_file import write_group, write_provenance
from src.features.propose_boxes import ProposalRules, overlaps, propose_for_photo
from src.features.regions import region_grid
from src.records import LocalFeatures, Provenance

ROOT = Path(__file__).resolve().parents[2]
NO_RULES = ProposalRules(2, 9, 1)


def photo(keypoints, scores, size=(120, 80)):
    count = len(keypoints)
    rows = np.tile(np.eye(1, 4), (count, 1))
    return LocalFeatures(np.reshape(keypoints, (count, 2)), np.ones(count), scores, rows, size)


def write(path, photos):
    with h5py.File(path, "w") as file:
        write_provenance(file, Provenance("aa"))
        for name, features in photos.items():
            write_group(file, name, features)


def test_a_keypoint_lies_in_a_box_by_the_centre_of_its_pixel():
    points = np.array([[0, 0], [9, 4], [10, 4], [9.4, 4], [9.6, 4]], np.float32)
    assert inside(points, np.array([[0, 0, 10, 5.0]])).tolist() == [[True, True, False, True, False]]
    assert inside(points[:1], np.array([[0.5, 0.5, 1, 1], [0.6, 0, 9, 9]])).tolist() == [[True], [False]]
    assert inside(points[:0], np.zeros((3, 4))).shape == (3, 0)


@pytest.mark.parametrize("header", ["photo,x1,y1,x2,y2,score", "Y1;X1;photo;score;X2;y2;class", "photo,x1,y1,x2,y2"])
def test_tables_are_read_by_their_headers(tmp_path, header):
    separator = ";" if ";" in header else ","
    fields = [field.lower() for field in header.split(separator)]
    rows = [dict(photo="a.jpg", x1="1", y1="2", x2="3.5", y2="1e1", score="0.9")]
    rows += [dict(photo="b/c", x1="-1", y1="0", x2="3", y2="10", score="0.1")]
    lines = [separator.join(row.get(field, "") for field in fields) for row in rows]
    (tmp_path / "b.csv").write_text("\n".join([header, *lines, ""]))
    found = read_boxes(tmp_path / "b.csv", 0.5)
    assert found["a.jpg"].tolist() == [[1, 2, 3.5, 10]]
    assert len(found["b/c"]) == (0 if "score" in fields else 1)


@pytest.mark.parametrize(
    "text, said",
    [
        ("photo,x1,y1,x2\na,1,2,3\n", "no column 'y2'"),
        ("photo,x1,y1,x2,y2\na,1,2,3,nan\n", r"line 2: a number is missing or none \(a,1,2,3,nan"),
        ("photo,x1,y1,x2,y2\na,1,2,3,4\na,1,2,inf,4\n", "line 3: a number is missing or none"),
        ("photo,x1,y1,x2,y2,score\na,1,2,3,4,high\n", "line 2: a number is missing or none"),
        ("photo,x1,y1,x2,y2\na,5,2,3,4\n", "line 2: x1 must be below x2"),
        ("photo,x1,y1,x2,y2\na,1,4,3,4\n", "line 2: x1 must be below x2, and y1 below y2"),
        ("photo,x1,y1,x2,y2\n,1,2,3,4\n", "line 2: no name of a photo"),
        ("photo,x1,y1,x2,y2\nz,1,2,3,4\n", "names none of the 2 photos, such as z; give the boxes of these"),
        ("photo,x1,y1,x2,y2\n", "names none of the 2 photos; give"),
    ],
)
def test_bad_tables_are_one_sentence(tmp_path, text, said):
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        PhotoBoxes(tmp_path / "b.csv", ["a.jpg", "b.jpg"], 0)
    with pytest.raises(UserError, match="`boxes_path` is not set"):
        read_boxes("")


def test_boxes_find_their_photos_and_must_touch_them(tmp_path, caplog):
    caplog.set_level("INFO")
    rows = [("d/a", [Box(-5, 0, 7, 9)]), ("a.jpg", [Box(3, 3, 99, 99)]), ("z.jpg", [Box(0, 0, 1, 1)])]
    (tmp_path / "b.csv").write_bytes(encode_boxes(rows))
    boxes = PhotoBoxes(tmp_path / "b.csv", ["d/a.jpg", "b.jpg"], 0)
    assert boxes.of("d/a.jpg", (50, 50)).tolist() == [[-5, 0, 7, 9], [3, 3, 99, 99]]
    assert boxes.of("b.jpg", (50, 50)).shape == (0, 4)
    assert "1 of its photos are not among these, such as z.jpg" in caplog.text and "2 boxes of 1 of 2" in caplog.text
    for size in ((3, 50), (50, 3)):
        with pytest.raises(UserError, match="the box 3,3,99,99 lies outside d/a.jpg, which has"):
            boxes.of("d/a.jpg", size)


def test_the_best_box_of_a_photo_by_hand():
    """Of 120 x 80, three quarters of the attention in the lower left square of level 2, whose side is 53."""
    features = photo([(10, 70), (20, 60), (100, 10)], [2.0, 1.0, 1.0])
    best = propose_for_photo(features, NO_RULES)[0]
    assert best[:4] == (0, 27, 53, 80) and best.score == pytest.approx(0.75 - 53 * 53 / (120 * 80), abs=1e-6)
    assert propose_for_photo(photo([], []), NO_RULES) == []
    assert propose_for_photo(photo([(1, 1)], [0.0]), NO_RULES) == []


@pytest.mark.parametrize("rules", [NO_RULES, ProposalRules(4, 3, 0.3), ProposalRules(3, 9, 0.0)])
def test_proposals_equal_a_slow_twin(rules):
    generator = np.random.default_rng(0)
    points = generator.uniform(0, (119, 79), (60, 2))
    features = photo(points, np.sort(generator.exponential(size=60))[::-1] * (points[:, 0] > 50))
    scored = []
    for x1, y1, x2, y2 in region_grid(80, 120, rules.grid_levels).tolist():
        held = sum(
            s for (x, y), s in zip(features.keypoints, features.scores) if x1 <= x + 0.5 < x2 and y1 <= y + 0.5 < y2
        )
        scored.append(((x1, y1, x2, y2), held / features.scores.sum() - (x2 - x1) * (y2 - y1) / (120 * 80)))
    wanted = []
    for box, score in sorted(scored, key=lambda pair: -round(float(pair[1]), 6)):
        cells = {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}
        shares = [len(cells & other) / len(cells | other) for _, _, other in wanted]
        if score > 0 and len(wanted) < rules.max_boxes and max(shares, default=0) <= rules.box_iou:
            wanted.append((box, score, cells))
    found = propose_for_photo(features, rules)
    assert [box[:4] for box in found] == [box for box, _, _ in wanted] and found
    np.testing.assert_allclose([box.score for box in found], [score for _, score, _ in wanted], atol=1e-5)


def test_intersection_over_union():
    others = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [0, 0, 4, 4.0]])
    np.testing.assert_allclose(overlaps(others[0], others), [1, 1 / 7, 0, 0.25])


def test_the_command_writes_a_table_that_is_kept_and_guarded(tmp_path, capsys):
    generator = np.random.default_rng(1)
    photos = {
        name: photo(generator.uniform(0, 80, (30, 2)), np.sort(generator.random(30))[::-1])
        for name in ("a.jpg", "b/ü.jpg")
    }
    write(tmp_path / "f.h5", {**photos, "empty.jpg": photo([], [])})
    command = [f"--features={tmp_path}/f.h5", f"--output={tmp_path}/b.csv", "--max_boxes=2"]
    propose(command)
    first = (tmp_path / "b.csv").read_bytes()
    assert first.startswith(b"photo,x1,y1,x2,y2,score\na.jpg,") and " boxes of 2 photos" in capsys.readouterr().out
    made = (tmp_path / "b.csv").stat().st_mtime_ns
    propose(command)
    assert (tmp_path / "b.csv").stat().st_mtime_ns == made
    with pytest.raises(UserError, match=r"other settings \(max_boxes\)"):
        propose([*command[:2], "--max_boxes=3"])
    propose([*command, "--overwrite"])
    assert (tmp_path / "b.csv").read_bytes() == first
    (tmp_path / "b.csv").write_bytes(first + b"a.jpg,1,1,2,2,1\n")
    with pytest.raises(UserError, match="is not as propose_boxes wrote it; give `overwrite`"):
        propose(command)
    (tmp_path / "mine.csv").write_bytes(first)
    with pytest.raises(UserError, match=r"no mine.csv.json beside it says how it was made"):
        propose([command[0], f"--output={tmp_path}/mine.csv"])
    with pytest.raises(UserError, match="must end in .csv"):
        propose([command[0], f"--output={tmp_path}/b.txt"])
    with pytest.raises(UserError, match="--max_boxes 1 or more"):
        propose([*command[:2], "--max_boxes=0"])
    write(tmp_path / "even.h5", {"a.jpg": photo([(1, 2), (3, 4)], [1.0, 1.0])})
    with pytest.raises(UserError, match="scores do not differ within any photo"):
        propose([f"--features={tmp_path}/even.h5", f"--output={tmp_path}/e.csv"])


_KILLED = """
import sys
sys.path[:0] = [{root!r}]
from src.features import propose_boxes
def slow(*_):
    print("now", flush=True)
    import time
    time.sleep(30)
propose_boxes.atomic_write_bytes = slow
from src.commands.propose_boxes import main
main(sys.argv[1:])
"""


def test_a_kill_before_the_table_is_written_is_taken_up_again(tmp_path):
    write(tmp_path / "f.h5", {"a.jpg": photo([(1, 2), (3, 4)], [2.0, 1.0])})
    command = [f"--features={tmp_path}/f.h5", f"--output={tmp_path}/b.csv"]
    script = _KILLED.format(root=str(ROOT))
    process = subprocess.Popen([sys.executable, "-c", script, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "now\n"
    process.kill()
    process.wait()
    assert not (tmp_path / "b.csv").exists()
    propose(command)
    assert read_boxes(tmp_path / "b.csv")["a.jpg"].shape[1] == 4
