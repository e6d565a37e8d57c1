"""The inliers between a query and a result, found again from their feature files, and their drawing."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..matching.correspondences import match_descriptors
from ..matching.verification import verify
from ..names import NameTable
from ..records import LocalFeatures

MAX_LINES = 80  # drawn for a pair: more cover the photos
_MIN_CORRESPONDENCES = 4  # fewer agree with an affine map by construction (reference TF DELF)
_KEPT_PHOTOS = 64  # whose features stay in memory


class FeatureFiles(NamedTuple):
    """What a ranking was made of.

    Attributes:
        index: feature files of the index.
        queries: feature file of the queries.
        settings: the recipe's keys of matching and retrieval, as the ranking had them.
    """

    index: Sequence[PathLike]
    queries: PathLike
    settings: Mapping[str, Any]

    def attributes(self) -> List[Dict[str, Any]]:
        """How each file was made."""
        with self.open() as (index, queries):
            return [source.attributes for source in (*index, queries)]

    @contextmanager
    def open(self) -> Iterator[Tuple[List[FeatureFile], FeatureFile]]:
        """The open files; UserError when one is no feature file, or the networks differ."""
        with ExitStack() as stack:
            index = [stack.enter_context(FeatureFile(path, "index_features")) for path in self.index]
            queries = stack.enter_context(FeatureFile(self.queries, "query_features"))
            for source in index:
                _require_one_network(source, queries)
            yield index, queries


class Inliers(NamedTuple):
    """Verified correspondences of a query and a result.

    Attributes:
        lines: [M, 4], (x, y) in the query's photo and (x, y) in the result's, as shares of width and height;
            at most ``MAX_LINES``.
        facts: how many there are, in words.
    """

    lines: np.ndarray
    facts: str


def find_inliers(features: FeatureFiles, pairs: Sequence[Tuple[str, str]]) -> Dict[Tuple[str, str], Inliers]:
    """Match and verify (query, result) pairs of names as the ranking did, but each pair by itself.

    Raises:
        UserError: no such files, a damaged one, or features of different networks.
    """
    with features.open() as (index, queries):
        read_index, read_query = _reader(index), _reader([queries])

        def find(pair: Tuple[str, str]) -> Inliers:
            return _find(read_query(pair[0]), read_index(pair[1]), features.settings)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = tqdm(pool.map(find, pairs), "inliers", len(pairs), unit="pair", disable=None)
            return dict(zip(pairs, found))


def _require_one_network(index: FeatureFile, queries: FeatureFile) -> None:
    for name in ("checkpoint_sha256", "pca", "pca_dim", "use_whitening"):
        ours, theirs = queries.attributes.get(name), index.attributes.get(name)
        if ours != theirs:
            raise UserError(f"{queries.path}: made with {name} {ours}, {index.path} with {theirs}; they do not match")


def _reader(sources: Sequence[FeatureFile]) -> Callable[[str], Optional[LocalFeatures]]:
    """A function from a name in the ranking to the features of that photo, None where no file has it."""
    places = [(source, name) for source in sources for name in source.names]
    table = NameTable([name for _, name in places])

    @lru_cache(_KEPT_PHOTOS)
    def read(name: str) -> Optional[LocalFeatures]:
        number = table.find(name)
        if number is None:
            return None
        source, stored = places[number]
        return source.read(stored)

    return read


def _find(query: Optional[LocalFeatures], result: Optional[LocalFeatures], settings: Mapping[str, Any]) -> Inliers:
    none = np.zeros((0, 4))
    for features, which in ((query, "query"), (result, "result")):
        if features is None:
            return Inliers(none, f"the {which} is not in the feature file")
        if not len(features):
            return Inliers(none, f"the {which} has no features")
    exact = settings["correspondences"] == "exact"  # the ratio and mutual tests are of that way only
    rule = (settings["match_ratio"], settings["mutual_check"]) if exact else (None, False)
    matches = match_descriptors(result, query, settings["search_distance"], *rule)
    if len(matches) < _MIN_CORRESPONDENCES:
        return Inliers(none, f"correspondences: {len(matches)}, too few to verify")
    keys = ("ransac_method", "ransac_residual", "ransac_trials", "seed")
    matches = verify(matches, result.keypoints, query.keypoints, *(settings[key] for key in keys))
    rows = matches.indices[matches.inliers]
    facts = f"{len(rows)} inliers of {len(matches)} correspondences"
    if len(rows) > MAX_LINES:
        facts += f", {MAX_LINES} drawn"
        rows = rows[np.linspace(0, len(rows) - 1, MAX_LINES).round().astype(int)]
    ends = [photo.keypoints[rows[:, side]] / photo.image_size for photo, side in ((query, 1), (result, 0))]
    return Inliers(np.concatenate(ends, axis=1), facts)
