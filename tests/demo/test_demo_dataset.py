"""The demo data set: same seed, same files; the tables and the ground truth agree with the photos."""

import csv
import dataclasses
import hashlib
import json
import pickle
from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np
import pytest

from src.commands.make_demo_dataset import main
from src.demo import dataset
from src.demo.dataset import make_demo_dataset
from src.demo.plan import plan_distractors, plan_evaluation, plan_training
from src.demo.scenes import draw_landmark
from src.demo.settings import EVALUATION_LANDMARKS, DemoSettings
from src.demo.style import ARCHETYPES, draw_spec
from src.errors import UserError

SMALL = DemoSettings(
    seed=3,
    num_classes=2,
    photos_per_class=3,
    num_eval_landmarks=2,
    photos_per_eval_landmark=6,
    queries_per_landmark=2,
    num_distractors=3,
    train_photo_size=64,
    eval_photo_size=96,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in a folder whose parent did not exist."""
    output = tmp_path_factory.mktemp("demo") / "new_parent" / "set"
    make_demo_dataset(output, SMALL, workers=1)
    return output


def _digests(root: Path) -> Dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _names(path: Path) -> List[str]:
    return path.read_text().split()


def test_workers_do_not_change_a_byte(made: Path, tmp_path: Path) -> None:
    make_demo_dataset(tmp_path / "other", SMALL, workers=2)
    assert _digests(tmp_path / "other") == _digests(made)


def test_another_seed_gives_other_landmarks() -> None:
    other = DemoSettings(seed=SMALL.seed + 1)
    first = {landmark.spec.seed for plan in (plan_training, plan_evaluation) for landmark in plan(SMALL)}
    assert not first & {landmark.spec.seed for plan in (plan_training, plan_evaluation) for landmark in plan(other)}


def test_training_tables_list_existing_photos(made: Path) -> None:
    folder = made / "gldv2" / "train"
    with open(folder / "train.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    with open(folder / "train_clean.csv", newline="") as stream:
        clean = {row["landmark_id"]: row["images"].split() for row in csv.DictReader(stream)}
    label_of = {row["id"]: row["landmark_id"] for row in rows}
    assert list(rows[0]) == ["id", "url", "landmark_id"]
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in label_of)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")}
    assert files == {f"{name[0]}/{name[1]}/{name[2]}/{name}.jpg" for name in label_of}
    assert len(clean) == SMALL.num_classes
    assert all(len(names) == SMALL.photos_per_class for names in clean.values())
    assert all(label_of[name] == label for label, names in clean.items() for name in names)
    assert len(rows) > sum(len(names) for names in clean.values())


def test_ground_truth_agrees_with_the_photos(made: Path) -> None:
    folder = made / "oxford"
    photos = {path.stem for path in (folder / "jpg").glob("*.jpg")}
    queries = sorted((folder / "gt").glob("*_query.txt"))
    assert len(queries) == SMALL.num_eval_landmarks * SMALL.queries_per_landmark
    for query in queries:
        prefix = str(query)[: -len("query.txt")]
        grades = {grade: _names(Path(f"{prefix}{grade}.txt")) for grade in ("good", "ok", "junk")}
        listed = [name for names in grades.values() for name in names]
        assert len(listed) == len(set(listed)) == SMALL.photos_per_eval_landmark
        assert set(listed) <= photos
        name, *edges = query.read_text().split()
        assert name.startswith("oxc1_") and name[len("oxc1_") :] in grades["good"]
        height, width = cv2.imread(str(folder / "jpg" / f"{name[len('oxc1_') :]}.jpg")).shape[:2]
        x1, y1, x2, y2 = map(float, edges)
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        assert max(width, height) == SMALL.eval_photo_size
    assert len([name for name in photos if name.startswith("demo_")]) == SMALL.num_distractors


def test_revisited_pickle_agrees_with_the_lists(made: Path) -> None:
    folder = made / "oxford"
    truth = pickle.loads((folder / "gnd_demo.pkl").read_bytes())
    index, queries = truth["imlist"], truth["qimlist"]
    assert not set(index) & set(queries)
    assert set(index) | set(queries) == {path.stem for path in (folder / "jpg").glob("*.jpg")}
    text_of = {path.read_text().split()[0]: path for path in (folder / "gt").glob("*_query.txt")}
    for name, entry in zip(queries, truth["gnd"]):
        query = text_of[f"oxc1_{name}"]
        assert entry["bbx"] == [float(edge) for edge in query.read_text().split()[1:]]
        for key, grade in (("easy", "good"), ("hard", "ok"), ("junk", "junk")):
            listed = set(_names(query.with_name(query.name.replace("_query", f"_{grade}"))))
            assert {index[position] for position in entry[key]} == listed - set(queries)
        assert entry["easy"] and all(type(edge) is float for edge in entry["bbx"])
        assert all(type(position) is int for position in entry["easy"] + entry["hard"] + entry["junk"])


def test_landmarks_are_shared_by_no_two_parts() -> None:
    settings = DemoSettings()
    parts = [plan(settings) for plan in (plan_training, plan_evaluation, plan_distractors)]
    specs = [plan.spec for plans in parts for plan in plans]
    assert len(set(specs)) == len(specs)
    streams = [shot.stream for plans in parts for plan in plans for shot in plan.shots]
    assert len(set(streams)) == len(streams)


@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_structure_does_not_depend_on_the_light(archetype: str) -> None:
    spec = draw_spec(11, archetype)
    left, right = draw_landmark(spec, -1), draw_landmark(spec, 1)
    assert left.box == right.box
    assert np.mean(left.panes == right.panes) > 0.99
    assert (left.rgb != right.rgb).any()
    assert 0.05 < np.mean(left.alpha > 0) < 0.9


def test_names_of_evaluation_landmarks() -> None:
    names = [name for name, _ in EVALUATION_LANDMARKS]
    assert len(set(names)) == len(names) >= 30
    assert {archetype for _, archetype in EVALUATION_LANDMARKS} == set(ARCHETYPES)


def test_interrupted_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine, calls = dataset.photograph, []

    def interrupted(root: Path, plan: dataset.LandmarkPlan) -> object:
        calls.append(plan)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return genuine(root, plan)

    monkeypatch.setattr(dataset, "photograph", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_demo_dataset(tmp_path / "set", SMALL, workers=1)
    assert len(calls) == 2
    assert not list(tmp_path.iterdir())


def test_rerun_refusal_and_overwrite(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _digests(made)
    make_demo_dataset(made, SMALL, workers=1)
    assert _digests(made) == before
    with pytest.raises(UserError, match="`overwrite`"):
        make_demo_dataset(made, DemoSettings(seed=99), workers=1)
    assert _digests(made) == before
    monkeypatch.setattr(dataset, "GENERATOR_VERSION", -1)
    make_demo_dataset(made, SMALL, workers=1, overwrite=True)
    assert json.loads((made / "manifest.json").read_text())["generator_version"] == -1


def test_a_foreign_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="no demo data set"):
        make_demo_dataset(tmp_path, SMALL, workers=1, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(UserError, match="notes.txt: is a file"):
        make_demo_dataset(tmp_path / "notes.txt", SMALL, workers=1, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        {"num_classes": 0},
        {"seed": -1},
        {"num_distractors": -1},
        {"train_photo_size": 8},
        {"num_eval_landmarks": len(EVALUATION_LANDMARKS) + 1},
        {"photos_per_eval_landmark": 4, "queries_per_landmark": 3},
    ],
)
def test_bad_numbers_are_refused(change: Dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"`{next(iter(change))}`"):
        make_demo_dataset(tmp_path / "set", DemoSettings(**change), workers=1)
    assert not list(tmp_path.iterdir())


def test_the_command_has_an_option_for_every_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(dataset, "make_demo_dataset", lambda *arguments: calls.append(arguments))
    options = [f"--{name}={value}" for name, value in dataclasses.asdict(SMALL).items()]
    main([f"--output={tmp_path}", *options, "--workers=3", "--overwrite"])
    main([f"--output={tmp_path}"])
    assert calls == [(tmp_path, SMALL, 3, True), (tmp_path, DemoSettings(), 2, False)]
    with pytest.raises(UserError, match="--num_class; did you mean --num_classes"):
        main([f"--output={tmp_path}", "--num_class=3"])
