"""The re-ranker of local features: RANSAC verifies the correspondences of each candidate with the query."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import List, Optional, Protocol

import numpy as np
from threadpoolctl import ThreadpoolController

from ..config import MatchingConfig
from ..matching.correspondences import match_rows
from ..matching.verification import verify
from ..records import Candidates, LocalFeatures, Matches

MIN_CORRESPONDENCES = 4  # fewer agree with an affine map by construction (reference TF DELF)
_PIECE_PHOTOS = 16  # verified at a time by a thread


class LocalStore(Protocol):
    """Where photos have their local features."""

    def points(self, photo: int) -> np.ndarray:
        """[n, 2] float32, one photo's keypoints, (x, y) in its pixels."""

    def descriptors(self, photo: int) -> np.ndarray:
        """[n, D] float32, one photo's descriptors as extracted."""


class Ransac:
    """Ranks verified candidates by the number of correspondences that agree with one affine map.

    Args:
        index: of the candidates; descriptors are asked for where pairs are matched anew.
        matching: RANSAC, and the tests of exact correspondences.
        seed: of RANSAC; the same for every pair, so that a pair's result depends on nothing else.
        pool: threads that verify.
        exact_distance: verified are not the correspondences that the search has found, but each pair is matched anew:
            the nearest of all the photo's own descriptors for each of the query's, below this distance. A photo may
            then have more of them than votes, because a vote must also be among the nearest of the whole index. None =
            those of the search.
    """

    def __init__(
        self,
        index: LocalStore,
        matching: MatchingConfig,
        seed: int,
        pool: ThreadPoolExecutor,
        exact_distance: Optional[float] = None,
    ) -> None:
        self._index, self._matching, self._seed, self._pool = index, matching, seed, pool
        self._exact_distance, self._libraries = exact_distance, ThreadpoolController()

    def rerank(self, query: LocalFeatures, candidates: Candidates) -> Candidates:
        """Verify every candidate of 4 correspondences or more; its score is raised by 1 + its inliers.

        Raises:
            UserError: pairs are matched anew, and the photos' descriptors are gone.
        """
        photos = candidates.photos.tolist()

        def verify_piece(piece: List[int]) -> List[Matches]:
            return [self._verify(query, candidates, photo) for photo in piece]

        pieces = [photos[start : start + _PIECE_PHOTOS] for start in range(0, len(photos), _PIECE_PHOTOS)]
        with self._libraries.limit(limits=1, user_api="blas"):  # products of matrices: the threads are busy already
            matches = [found for piece in self._pool.map(verify_piece, pieces) for found in piece]
        raised = np.array([0 if found.inliers is None else 1 + found.num_inliers for found in matches], np.int64)
        scores = candidates.scores + raised
        order = np.argsort(-scores, kind="stable")  # ties stay in the order they had
        return dataclasses.replace(
            candidates, photos=candidates.photos[order], scores=scores[order], verified=dict(zip(photos, matches))
        )

    def _verify(self, query: LocalFeatures, candidates: Candidates, photo: int) -> Matches:
        """Matches of a photo (A) and the query (B); ``inliers`` stays None when they are too few to be verified.

        The map leads from the photo to the query (the direction of reference TF DELF): the residual is measured in the
        query.
        """
        matches, settings = self._match(query, candidates, photo), self._matching
        if len(matches) < MIN_CORRESPONDENCES:
            return matches
        return verify(
            matches,
            self._index.points(photo),
            query,
            settings.ransac_method,
            settings.ransac_residual,
            settings.ransac_trials,
            self._seed,
            settings.residual_unit,
        )

    def _match(self, query: LocalFeatures, candidates: Candidates, photo: int) -> Matches:
        if self._exact_distance is None:
            return candidates.putative(photo)
        theirs, settings = self._index.descriptors(photo), self._matching
        return match_rows(theirs, query.descriptors, self._exact_distance, settings.match_ratio, settings.mutual_check)
