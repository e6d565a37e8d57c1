"""Flat index and exact correspondences against a slow independent implementation: NumPy distances, scikit-image RANSAC.

The planted photos follow known affine maps, with 1 px of noise; others hold 0, 1, 2 or 3 features, or none of interest.
"""

import hashlib
import warnings

import numpy as np
import pytest
from handmade_features import write_features
from skimage.measure import ransac
from skimage.transform import AffineTransform

from src.commands.perform_retrieval import main as retrieve
from src.errors import UserError
from src.retrieval.build import build_index
from src.retrieval.ranking_file import load_ranking

DIMENSION, BOUND, NEIGHBOURS, TOLERANCE = 24, 0.9, 60, 1
MAPS = {
    "turned": [[0.8, -0.5, 300], [0.5, 0.8, -100]],
    "sheared": [[1.2, 0.3, -50], [0.0, 0.9, 40]],
    "small": [[0.3, 0.0, 500], [0.0, 0.3, 500]],
    "mirrored": [[-1.0, 0.1, 900], [0.0, 1.0, 10]],
    "large": [[2.0, 0.2, -700], [-0.1, 2.1, -600]],
}


def unit_rows(generator, count):
    rows = generator.normal(size=(count, DIMENSION))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def similar(generator, rows):
    """Unit rows at a distance of about 0.4."""
    rows = rows + generator.normal(0, 0.4 / np.sqrt(DIMENSION), rows.shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def planted():
    """({photo: (keypoints, descriptors)}, {query: the same})."""
    generator = np.random.default_rng(11)
    points, rows = generator.uniform(0, 1000, (80, 2)), unit_rows(generator, 80)
    photos = {}
    for number, (name, affine) in enumerate(MAPS.items()):  # 20, 32, 44 ... features of the query, half as many others
        count = 20 + 12 * number
        affine = np.array(affine)  # photo -> query
        seen = generator.permutation(80)[:count]
        shown = (points[seen] + generator.normal(0, 1, (count, 2)) - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
        own = (generator.uniform(0, 1000, (count // 2, 2)), unit_rows(generator, count // 2))
        photos[f"{name}.jpg"] = tuple(map(np.concatenate, zip((shown, similar(generator, rows[seen])), own)))
    photos["scattered.jpg"] = (generator.uniform(0, 1000, (50, 2)), similar(generator, rows[:50]))
    for count in range(4):
        photos[f"has_{count}.jpg"] = (points[:count], similar(generator, rows[:count]))
        photos[f"noise_{count}.jpg"] = (generator.uniform(0, 1000, (40, 2)), unit_rows(generator, 40))
    queries = {"all": (points, rows), "few": (points[:3], rows[:3]), "none": (points[:0], rows[:0])}
    return photos, queries


def place_of(name):
    """Where a photo stands among equals, by the documented rule with seed 0."""
    text = f"0:{name[: -len('.jpg')]}".encode()
    return hashlib.blake2b(text, digest_size=8).digest()


def brute_force(photos, query, num_rerank):
    """[(name, inliers or -1, votes)], best first; all in float64, one pair of descriptors at a time."""
    points, rows = query
    owners = [(name, row) for name in photos for row in range(len(photos[name][0]))]
    everything = np.array([photos[name][1][row] for name, row in owners]).astype(np.float32).astype(np.float64)
    voters = {name: set() for name in photos}
    for number, descriptor in enumerate(rows.astype(np.float32).astype(np.float64)):
        distances = np.sqrt(((everything - descriptor) ** 2).sum(axis=1))
        for place in np.argsort(distances)[:NEIGHBOURS]:
            if distances[place] < BOUND:
                voters[owners[place][0]].add(number)
    votes = {name: len(numbers) for name, numbers in voters.items()}
    inliers = dict.fromkeys(photos, -1)
    for name in sorted(photos, key=lambda name: (-votes[name], place_of(name)))[:num_rerank]:
        pairs = []
        for number, descriptor in enumerate(rows):
            distances = [float(np.sqrt(((other - descriptor) ** 2).sum())) for other in photos[name][1]]
            if distances and min(distances) < BOUND:
                pairs.append((photos[name][0][int(np.argmin(distances))], points[number]))
        if len(pairs) >= 4:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _, mask = ransac(tuple(map(np.array, zip(*pairs))), AffineTransform, min_samples=3,
                                 residual_threshold=20, max_trials=1000, rng=0)  # fmt: skip
            inliers[name] = 0 if mask is None else int(mask.sum())
    order = sorted(photos, key=lambda name: (-inliers[name], -votes[name], place_of(name)))
    return [(name, inliers[name], votes[name]) for name in order]


@pytest.mark.parametrize("num_rerank", [100, 3])
def test_ranking_equals_brute_force(tmp_path, planted, num_rerank):
    photos, queries = planted
    write_features(tmp_path / "photos.h5", photos)
    write_features(tmp_path / "queries.h5", queries)
    build_index(tmp_path / "photos.h5", tmp_path / "index", "Flat")
    retrieve([f"--index={tmp_path}/index", f"--query_features={tmp_path}/queries.h5", f"--output={tmp_path}/ranks.npz",
              "--correspondences=exact", f"--num_rerank={num_rerank}"])  # fmt: skip
    ranking, provenance = load_ranking(tmp_path / "ranks.npz")
    assert provenance.settings["correspondences"] == "exact"
    for name, ranks, scores in zip(ranking.query_names, ranking.ranks, ranking.scores):
        expected = brute_force(photos, queries[name], num_rerank)
        assert [f"{ranking.index_names[number]}.jpg" for number in ranks] == [photo for photo, *_ in expected]
        most = max(votes for *_, votes in expected)
        for score, (photo, inliers, votes) in zip(scores, expected):
            assert abs(np.floor(score) - inliers) <= TOLERANCE, photo
            assert score - np.floor(score) == pytest.approx(votes / (most + 1), abs=1e-5), photo
    verified = np.floor(ranking.scores[0][ranking.scores[0] >= 0])
    assert len(verified) >= min(num_rerank, 6) and verified[0] >= 65  # the set does exercise verification


def test_exact_correspondences_do_not_depend_on_the_neighbours_found(tmp_path, planted):
    """With one neighbour a descriptor the votes name few photos, but those are still verified with all they have."""
    photos, queries = planted
    write_features(tmp_path / "photos.h5", photos)
    write_features(tmp_path / "queries.h5", {"all": queries["all"]})
    build_index(tmp_path / "photos.h5", tmp_path / "index", "IVF4,Flat")
    options = [f"--index={tmp_path}/index", f"--query_features={tmp_path}/queries.h5", "--num_neighbors=1"]
    inliers = {}
    for how in ("index", "exact"):
        retrieve([*options, f"--output={tmp_path}/{how}.npz", f"--correspondences={how}"])
        ranking = load_ranking(tmp_path / f"{how}.npz")[0]
        assert ranking.index_names[ranking.ranks[0, 0]] == "large"
        inliers[how] = int(ranking.scores[0, 0])
    assert inliers["index"] < 60 <= 65 <= inliers["exact"]
    (tmp_path / "photos.h5").unlink()  # an IVF index has none of its own
    with pytest.raises(UserError, match=r"photos\.h5: is gone"):
        retrieve([*options, f"--output={tmp_path}/again.npz", "--correspondences=exact"])
