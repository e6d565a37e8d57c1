"""A small benchmark for the tests of the pages: photos, a ranking of them, and the matches kept with it."""

import cv2
import numpy as np

from src.evaluation.evaluate import evaluate
from src.evaluation.ground_truth import GroundTruth, QueryTruth
from src.records import Ranking
from src.report.report import Judgement
from src.retrieval.ranking_file import PairMatches, RankedMatches

NAMES = [f"photo_{letter}" for letter in "abcdefghijkl"]  # k cannot be read, l has no file
GOOD, WORSE, EMPTY = "good_1", "worse_1", "empty_1"
AFFINE = np.array([[0.9, 0.1, 20.0], [-0.1, 0.8, 30.0]])  # from photo_b to photo_a, pixels


def write_photos(folder):
    """Grey noise of 400 x 200 pixels: nothing in it is red, green, or as coloured as a line."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in NAMES[:-2]:
        grey = generator.integers(60, 120, (200, 400, 1)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{name}.jpg"), np.repeat(cv2.blur(grey, (9, 9))[:, :, None], 3, axis=2))
    (folder / f"{NAMES[-2]}.jpg").write_bytes(b"no photo")


def query(name, box=None, **lists):
    return QueryTruth(name, "photo_a", box, {"good": (), "ok": (), "junk": (), **lists})


def make_ranking():
    ranks = np.array([np.arange(12)] * 2 + [np.arange(12)[::-1]])
    return Ranking([EMPTY, GOOD, WORSE], NAMES, ranks, np.tile(np.arange(12, 0, -1) + 0.5, (3, 1)))


def make_judgement(protocol="classic"):
    queries = (
        query(EMPTY),
        query(GOOD, (100.0, 50.0, 300.0, 250.0), good=("photo_a",), junk=("photo_c",)),
        query(WORSE, good=("photo_k", "photo_<x>")),
    )
    truth = GroundTruth("tiny & small", "text", queries)
    return Judgement(truth, evaluate(truth, make_ranking(), protocol))


def make_matches(count=30):
    """Of the query good_1: photo_b shows ``count`` of its points under ``AFFINE``, photo_c too few."""
    theirs = np.random.default_rng(1).uniform((20, 20), (380, 180), (count, 2))
    ours = theirs @ AFFINE[:, :2].T + AFFINE[:, 2]
    shown = PairMatches(np.concatenate([ours, theirs], axis=1), count + 10, verified=True)
    few = PairMatches(np.zeros((0, 4)), 3, verified=False)
    return RankedMatches.from_pairs([(1, 1, shown), (1, 2, few)])


def make_steps():
    """Those of ``make_matches``; photo_c was found through photo_h: 12 inliers with the query, 9 with photo_c."""
    first, generator = make_matches(), np.random.default_rng(2)
    there, back = (PairMatches(generator.uniform(20, 180, (count, 4)), 20, verified=True) for count in (12, 9))
    pairs = [(1, 1, first.find(1, 1)), (1, 2, first.find(1, 2)), (1, 7, there)]
    return RankedMatches.from_pairs(pairs, [-1, 7, -1], [(7, 2, back)])
