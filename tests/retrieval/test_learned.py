"""Re-ranking by a learned matcher: the order is that of its soft votes, for every kind of search."""

import numpy as np
import pytest
from handmade_features import DIMENSION, random_photo, write_features, write_global

from src.artifacts import sha256_of
from src.commands.perform_retrieval import main as retrieve
from src.config import RetrievalConfig
from src.errors import UserError
from src.matching.matcher_file import save_matcher
from src.matching.same_place import holds_inliers
from src.report.results import meaning_of_scores
from src.retrieval.build import build_index
from src.retrieval.ranking_file import load_ranked_matches, load_ranking
from tests.matching.made_matcher import random_matcher, slow_votes

PHOTOS = 6


@pytest.fixture
def place(tmp_path):
    """both.h5 and query.h5, of local and global features, and matcher.npz; one photo has no local features."""
    generator = np.random.default_rng(0)
    photos = {f"{n}.jpg": random_photo(generator, 10 + n) for n in range(PHOTOS - 1)}
    photos["5.jpg"] = (np.zeros((0, 2)), np.zeros((0, DIMENSION)))
    photos["3.jpg"][1][:8] = photos["0.jpg"][1][:8]
    vectors = {name: np.array([np.cos(n), np.sin(n)]) for n, name in enumerate(photos)}
    write_global(tmp_path / "both.h5", vectors, photos)
    write_global(tmp_path / "query.h5", {"q": np.array([1.0, 0.0])}, {"q": photos["0.jpg"]})
    save_matcher(tmp_path / "matcher.npz", random_matcher(DIMENSION, weights="aa"))
    return tmp_path, photos


@pytest.mark.parametrize("searcher", ["votes", "asmk", "vlad", "global"])
def test_the_first_photos_stand_in_the_order_of_their_soft_votes(place, searcher):
    folder, photos = place
    words = RetrievalConfig(codebook_size=2) if searcher in ("asmk", "vlad") else None
    build_index(folder / "both.h5", folder / "index", searcher=searcher, retrieval=words)
    options = [f"--index={folder}/index", f"--query_features={folder}/query.h5", f"--output={folder}/ranks.npz"]
    retrieve([*options, "--rerank=learned", f"--matcher_path={folder}/matcher.npz"])
    ranking, made = load_ranking(folder / "ranks.npz")
    weights, ours = random_matcher(DIMENSION).weights, photos["0.jpg"][1]
    votes = {name[0]: slow_votes(weights, rows, ours)[0] if len(rows) else 0 for name, (_, rows) in photos.items()}
    assert [ranking.index_names[photo] for photo in ranking.ranks[0]] == sorted(votes, key=votes.get, reverse=True)
    expected = [votes[ranking.index_names[photo]] for photo in ranking.ranks[0]]
    np.testing.assert_allclose(ranking.scores[0], expected, atol=2e-3)
    assert made.settings["matcher_sha256"] == sha256_of(folder / "matcher.npz")
    assert not holds_inliers(made.settings) and "soft votes" in meaning_of_scores(made, ranking).words
    assert load_ranked_matches(folder / "ranks.npz") is None
    retrieve([*options, "--rerank=learned", f"--matcher_path={folder}/matcher.npz", "--num_rerank=2", "--overwrite"])
    assert (load_ranking(folder / "ranks.npz")[0].scores[0] >= 0).sum() == 2


def test_what_cannot_be_is_said(place):
    folder, photos = place
    build_index(folder / "both.h5", folder / "index", searcher="votes")
    options = [f"--index={folder}/index", f"--query_features={folder}/query.h5", f"--output={folder}/ranks.npz"]
    given = f"--matcher_path={folder}/matcher.npz"
    save_matcher(folder / "other.npz", random_matcher(DIMENSION, weights="bb"))
    for more, said in (
        ((), "--matcher_path has no effect on this index with this --rerank"),
        (("--rerank=ransac,learned",), "learned ranks what the search has found, in place of ransac"),
        (("--rerank=learned,learned",), "learned stands there twice"),
        (("--rerank=learned", "--ransac_residual=3"), "--ransac_residual has no effect"),
        (("--rerank=learned", "--keep_matches=3"), "--keep_matches has no effect"),
    ):
        with pytest.raises(UserError, match=said):
            retrieve([*options, given, *more])
    with pytest.raises(UserError, match="`matcher_path` is not set"):
        retrieve([*options, "--rerank=learned"])
    with pytest.raises(UserError, match=r"other.npz: trained on descriptors made otherwise \(weights\)"):
        retrieve([*options, "--rerank=learned", f"--matcher_path={folder}/other.npz"])
    assert not (folder / "ranks.npz").exists()


def test_the_settings_are_told_apart_by_the_matcher(place):
    folder, photos = place
    write_features(folder / "local.h5", {"q": photos["0.jpg"]})
    build_index(folder / "both.h5", folder / "index", searcher="votes")
    options = [f"--index={folder}/index", f"--query_features={folder}/local.h5", f"--output={folder}/ranks.npz",
               "--rerank=learned", f"--matcher_path={folder}/matcher.npz"]  # fmt: skip
    retrieve(options)
    save_matcher(folder / "matcher.npz", random_matcher(DIMENSION, seed=1, weights="aa"))
    with pytest.raises(UserError, match=r"other settings \(matcher_sha256\)"):
        retrieve(options)
