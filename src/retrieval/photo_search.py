"""Search a photo index with photos that are in no index yet: extract, rank, verify."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from ..artifacts import PathLike
from ..config import MatchingConfig, ModelConfig, RetrievalConfig, RunConfig
from ..errors import UserError
from ..features.encoder import LoadNetwork, load_encoder
from ..features.photos import Photo, photos_of_folder
from ..records import LocalFeatures, Matches
from .index import DescriptorIndex
from .photo_index import PhotoIndex
from .search import open_search

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Result:
    """One photo found.

    Attributes:
        rank: from 1.
        number: of the photo in the index.
        name: of its file, relative to the folder of the indexed photos.
        score: as ``Search.rank`` gives it.
        matches: of the photo (A) and the query (B), which the score rests on; ``inliers`` is None when they were not
            verified.
    """

    rank: int
    number: int
    name: str
    score: float
    matches: Matches

    def as_row(self) -> Dict[str, Any]:
        """Plain values for a table or JSON."""
        return {
            "rank": self.rank,
            "photo": self.name,
            "inliers": self.matches.num_inliers,
            "correspondences": len(self.matches),
            "score": round(self.score, 4),
        }


@dataclass(frozen=True, eq=False)
class Found:
    """A query photo, its features, and the best photos for it, best first."""

    query: Photo
    features: LocalFeatures
    results: List[Result]


def query_photos(path: PathLike) -> List[Photo]:
    """The query photos that ``path`` stands for: itself, or all in that folder; UserError when there is none."""
    if Path(path).is_dir():
        return photos_of_folder(path)
    if not Path(path).is_file():
        raise UserError(f"{path}: no such photo or folder (`query`)")
    return [Photo(Path(path).name, str(path))]


def search_photos(
    photo_index: PhotoIndex,
    index: DescriptorIndex,
    queries: Sequence[Photo],
    top_k: int,
    run: RunConfig,
    model: ModelConfig,
    matching: MatchingConfig,
    retrieval: RetrievalConfig,
    load_network: Optional[LoadNetwork] = None,
) -> Iterator[Found]:
    """Search with one query photo after the other; those that cannot be read are logged and left out.

    Args:
        photo_index: whose checkpoint, PCA and extraction settings the queries get too.
        index: of ``photo_index``, loaded.
        queries: photos.
        top_k: results of each query, at most; photos without one correspondence are no results.
        run, model, matching, retrieval: sections of the recipe; of ``model`` the engine, and ``checkpoint_path`` where
            the checkpoint has moved.
        load_network: makes the network; None = that of the engines.

    Raises:
        UserError: checkpoint gone or another one.
    """
    model, extraction = photo_index.recipe(run, model)
    encoder = load_encoder(run, model, extraction, load_network=load_network)
    with open_search(index, retrieval, matching, run.seed) as search:
        for query in queries:
            try:
                features = encoder.encode(query.path).local
            except UserError as error:
                logger.warning("left out: %s", error)
                continue
            if not len(features):
                logger.warning("%s: no features found in it, so no results", query.path)
            found = search.rank(features)
            results = [
                Result(place, photo, index.image_names[photo], float(score), found.matches(photo))
                for place, photo, score in zip(range(1, top_k + 1), found.photos.tolist(), found.scores)
            ]
            yield Found(query, features, [result for result in results if len(result.matches)])
