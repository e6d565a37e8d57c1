"""One's own labelled folder as an evaluation set."""

import pytest

from src.commands.make_retrieval_set import main
from src.errors import UserError
from src.evaluation.evaluate import evaluate
from src.evaluation.ground_truth_files import load_ground_truth
from src.images import list_images
from src.names import bare_name
from src.records import Ranking


@pytest.fixture
def folder(tmp_path):
    """Six landmarks: four photos each, but one in ``single``."""
    for number, name in enumerate(("arch", "bridge", "castle", "dome", "single", "tower")):
        for photo in range(1 if name == "single" else 4):
            path = tmp_path / f"photos/{name}/deep/p {photo}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{number} {photo}".encode())
    return tmp_path / "photos"


def make(folder, output, *options):
    main([f"--image_folder={folder}", f"--output={output}", *options])


def written(output):
    return {path.name: path.read_text() for path in output.glob("gt/*")}


def test_every_second_landmark_is_held_out_and_a_perfect_ranking_scores_one(folder, tmp_path):
    output = tmp_path / "set"
    make(folder, output, "--every=2", "--queries=3")
    names = list_images(output / "jpg")
    assert {name.split("/")[0] for name in names} == {"arch", "castle", "single"}
    assert {path.name for path in (output / "train").iterdir()} == {"bridge", "dome", "tower"}
    assert all((output / "jpg" / name).read_bytes() == (folder / name).read_bytes() for name in names)

    truth = load_ground_truth(output / "gt", "classic", names)
    assert len(truth.queries) == 6 and truth.queries[0].box is None  # no query of a landmark of one photo
    index = [bare_name(name) for name in names]
    ranks = []
    for query in truth.queries:  # itself, then its landmark, then the others
        own = query.image_name.split("/")[0]
        ranks.append(
            sorted(range(len(index)), key=lambda n: (index[n] != query.image_name, not index[n].startswith(own)))
        )
    ranking = Ranking([query.name for query in truth.queries], index, ranks, [list(range(len(index), 0, -1))] * 6)
    means = evaluate(truth, ranking, "classic").metrics["classic"].means()
    assert means.mean_average_precision == 1


def test_the_draw_follows_the_seed(folder, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make(folder, tmp_path / name, "--every=1", "--queries=1", f"--seed={seed}")
    assert written(tmp_path / "a") == written(tmp_path / "b") != written(tmp_path / "c")


def test_made_sets_are_kept_and_others_never_replaced_unasked(folder, tmp_path):
    make(folder, tmp_path / "set")
    made = (tmp_path / "set/retrieval_set.json").stat().st_mtime_ns
    make(folder, tmp_path / "set")
    assert (tmp_path / "set/retrieval_set.json").stat().st_mtime_ns == made
    with pytest.raises(UserError, match=r"set: made under other settings \(queries\); give `overwrite`"):
        make(folder, tmp_path / "set", "--queries=1")
    (tmp_path / "set/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="set: holds notes.txt, which is no part of a retrieval set"):
        make(folder, tmp_path / "set", "--queries=1", "--overwrite")
    (tmp_path / "set/notes.txt").unlink()
    make(folder, tmp_path / "set", "--queries=1", "--overwrite")
    assert len(written(tmp_path / "set")) == 4
    (tmp_path / "set/retrieval_set.json").write_text("[" * 100000)
    with pytest.raises(UserError, match=r"retrieval_set.json: damaged \(.*; give another `output`"):
        make(folder, tmp_path / "set")
    with pytest.raises(UserError, match="photos: no retrieval set"):
        make(folder, folder, "--overwrite")


@pytest.mark.parametrize(
    "option, said",
    [
        ("--every=0", "`every` is 0; it must be 1 or more"),
        ("--queries=0", "`queries` is 0; it must be 1 or more"),
    ],
)
def test_numbers_that_hold_out_nothing(folder, tmp_path, option, said):
    with pytest.raises(UserError, match=said):
        make(folder, tmp_path / "set", option)


def test_no_landmark_of_two_photos(folder, tmp_path):
    (tmp_path / "few/one").mkdir(parents=True)
    (tmp_path / "few/one/a.jpg").write_bytes(b"a")
    with pytest.raises(UserError, match="few: no class held out has two photos"):
        make(tmp_path / "few", tmp_path / "set")
    assert not (tmp_path / "set").exists()
