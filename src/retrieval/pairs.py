"""A query and one photo of the index: their correspondences and the affine map that most of them agree with."""

import numpy as np

from ..config import Config
from ..matching.correspondences import match_rows
from ..matching.verification import verify
from ..records import LocalFeatures, Matches
from .index import PhotoIndex
from .voting import Votes

MIN_CORRESPONDENCES = 4  # fewer agree with an affine map by construction (reference TF DELF)


def match_photo(index: PhotoIndex, query: LocalFeatures, votes: Votes, photo: int, config: Config) -> Matches:
    """Correspondences of a photo (A, rows of its own features) and the query (B).

    ``config.correspondences`` says which. ``index``: the query's votes for the photo, as near as the index knows them.
    ``exact``: the nearest of all the photo's own descriptors for each of the query's, below the same
    ``search_distance``, with ``match_ratio`` and ``mutual_check``; a photo may then have more of them than votes,
    because a vote must also be among the ``num_neighbors`` nearest of the whole index.

    Raises:
        UserError: ``exact`` needs descriptors that are gone.
    """
    if config.correspondences == "exact":
        theirs = index.descriptors(photo)
        return match_rows(theirs, query.descriptors, config.search_distance, config.match_ratio, config.mutual_check)
    query_rows, index_rows, distances = votes.correspondences(photo)
    return Matches(np.stack([index_rows - index.rows(photo).start, query_rows], axis=1), distances)


def verify_photo(index: PhotoIndex, query: LocalFeatures, votes: Votes, photo: int, config: Config) -> Matches:
    """``match_photo``, verified; ``inliers`` stays None when the correspondences are too few to be verified.

    The map leads from the photo to the query (the direction of reference TF DELF): the residual is in pixels of the
    query. The seed is the same for every pair, so that a pair's result depends on nothing else.
    """
    matches = match_photo(index, query, votes, photo, config)
    if len(matches) < MIN_CORRESPONDENCES:
        return matches
    return verify(
        matches,
        index.keypoints[index.rows(photo)],
        query.keypoints,
        config.ransac_method,
        config.ransac_residual,
        config.ransac_trials,
        config.seed,
    )
