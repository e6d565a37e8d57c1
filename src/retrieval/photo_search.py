"""Search a collection with photos that are in no index yet: extract, rank, verify."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

from ..artifacts import PathLike
from ..config import Config
from ..errors import UserError
from ..features.delf_extractor import DelfExtractor, load_delf
from ..features.extractor import Network
from ..features.photos import Photo, photos_of_folder
from ..records import LocalFeatures, Matches
from .collection import Collection
from .index import PhotoIndex
from .search import rank_photos, verify_pairs

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Result:
    """One photo found.

    Attributes:
        rank: from 1.
        number: of the photo in the index.
        name: of its file, relative to the collection's photos.
        score: as ``rank_photos`` gives it.
        matches: of the photo (A) and the query (B); ``inliers`` is None when they were too few to be verified.
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
    collection: Collection,
    index: PhotoIndex,
    queries: List[Photo],
    top_k: int,
    config: Config,
    load_network: Callable[[Config, int], Network] = load_delf,
) -> Iterator[Found]:
    """Search the collection with one query photo after the other; those that cannot be read are logged and left out.

    Args:
        collection: whose checkpoint, PCA and extraction settings the queries get too.
        index: of the collection, loaded.
        queries: photos.
        top_k: results of each query, at most; photos without one correspondence are no results.
        config: recipe; its matching and retrieval sections, and ``checkpoint_path`` where the checkpoint has moved.
        load_network: makes the network.

    Raises:
        UserError: checkpoint gone or another one.
    """
    extractor = DelfExtractor.from_config(collection.extraction(config), load_network)
    for query in queries:
        try:
            features = extractor.extract(query.path)
        except UserError as error:
            logger.warning("left out: %s", error)
            continue
        if not len(features):
            logger.warning("%s: no features found in it, so no results", query.path)
        ranks, scores = rank_photos(index, features, config)
        pairs = verify_pairs(index, features, ranks[:top_k], config)
        yield Found(
            query,
            features,
            [
                Result(place + 1, int(ranks[place]), index.image_names[ranks[place]], float(scores[place]), matches)
                for place, matches in enumerate(pairs)
                if len(matches)
            ],
        )
