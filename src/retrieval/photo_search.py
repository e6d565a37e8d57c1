"""Search a photo index with photos that are in no index yet: extract, rank, verify."""

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ..artifacts import PathLike, require_file
from ..config import MatchingConfig, ModelConfig, RetrievalConfig, RunConfig
from ..errors import UserError
from ..features.encoder import ImageOrPath, LoadNetwork, load_encoder
from ..features.extraction import photos_of_folder
from ..matching.same_place import ANSWERS, NO, Verdict, conditions, find_calibration, holds_inliers
from ..names import in_either_form
from ..records import LocalFeatures, Matches, Photo
from .index import DescriptorIndex, load_index
from .photo_index import PhotoIndex
from .rerank import search_settings
from .vote_search import open_search

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
        verdict: whether it is the same place; None without a calibration, where the matches were not verified, and for
            the query's own photo.
        is_query: the query is this file.
    """

    rank: int
    number: int
    name: str
    score: float
    matches: Matches
    verdict: Optional[Verdict] = None
    is_query: bool = False

    def as_row(self) -> Dict[str, Any]:
        """Plain values for a table or JSON."""
        return {
            "rank": self.rank,
            "photo": self.name,
            "inliers": self.matches.num_inliers,
            "correspondences": len(self.matches),
            "score": round(self.score, 4),
            "same_place": "itself" if self.is_query else self.verdict and self.verdict.answer,
            "probability": self.verdict and round(self.verdict.probability, 4),
        }


@dataclass(frozen=True, eq=False)
class Found:
    """A query photo, its features, and the best photos for it, best first, without itself.

    Attributes:
        query, features, results: these.
        judged: there is a calibration.
        left_out: name of the indexed photo that the query is, or ''.
    """

    query: Photo
    features: LocalFeatures
    results: List[Result]
    judged: bool = False
    left_out: str = ""

    @property
    def answer(self) -> Optional[str]:
        """Whether a photo of the same place was found: yes if one is a yes, perhaps if one is; None if not judged."""
        answers = {result.verdict.answer for result in self.results if result.verdict}
        return next((answer for answer in ANSWERS if answer in answers), NO) if self.judged else None

    def as_json(self) -> Dict[str, Any]:
        """Plain values."""
        results = [result.as_row() for result in self.results]
        return {
            "query": self.query.name,
            "features": len(self.features),
            "same_place": self.answer,
            "left_out": self.left_out or None,
            "results": results,
        }


def query_photos(path: PathLike) -> List[Photo]:
    """The query photos that ``path`` stands for: itself, or all in that folder; UserError when there is none."""
    if str(path) and in_either_form(Path(path)).is_dir():
        return photos_of_folder(in_either_form(Path(path)))
    photo = require_file(in_either_form(Path(path)) if str(path) else "", "query")
    return [Photo(photo.name, str(photo))]


class PhotoSearch:
    """A photo index ready to be searched with photos that are in no index yet; a context manager that ends its threads.

    Args:
        photo_index: whose checkpoint, PCA and extraction settings the queries get too.
        run, model, matching, retrieval: sections of the recipe; of ``model`` the engine, and ``checkpoint_path`` where
            the checkpoint has moved.
        load_network: makes the network; None = that of the engines.
        same_place: calibration of the verdicts; '' = the one beside the checkpoint or in the photo index, if it holds.

    Attributes:
        calibration: None without one.
        no_verdict: a line that says why there is none, else ''.

    Raises:
        UserError: checkpoint gone or another one, or a damaged index.
    """

    def __init__(
        self,
        photo_index: PhotoIndex,
        run: RunConfig,
        model: ModelConfig,
        matching: MatchingConfig,
        retrieval: RetrievalConfig,
        load_network: Optional[LoadNetwork] = None,
        same_place: PathLike = "",
    ) -> None:
        own_recipe, fix = photo_index.recipe(run, model), "run the command build_photo_index again"
        if not photo_index.index.is_dir():
            raise UserError(f"{photo_index.folder}: half-made, no folder {photo_index.index.name} in it; {fix}")
        self.index: DescriptorIndex = load_index(photo_index.index, fix)
        settings = search_settings(retrieval, matching, run.seed)
        folders = (Path(own_recipe[1].checkpoint_path).parent, photo_index.folder)
        self.calibration, self.no_verdict = None, "no verdict whether it is the same place: nothing is verified"
        if holds_inliers(settings):
            wanted = conditions(photo_index.provenance, settings)
            self.calibration, self.no_verdict = find_calibration(wanted, folders, same_place)
        self._images_path = photo_index.images_path
        self._encoder = load_encoder(*own_recipe, load_network=load_network)
        self._stack = ExitStack()
        self._search = self._stack.enter_context(open_search(self.index, retrieval, matching, run.seed))

    def __enter__(self) -> "PhotoSearch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads that search."""
        self._stack.close()

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.index)

    def search(self, image: ImageOrPath, top_k: int = 10) -> List[Result]:
        """The best photos for a query; see ``find``."""
        return self.find(image, top_k)[1]

    def find(self, image: ImageOrPath, top_k: int = 10) -> Tuple[LocalFeatures, List[Result]]:
        """A query's features, and the best photos for it, best first.

        Args:
            image: path of a photo, a PIL image, or an array: see ``Encoder.encode``.
            top_k: results at most; photos without one correspondence are no results.

        Raises:
            UserError: not a photo, or one that cannot be used.
        """
        features = self._encoder.encode(image).local
        found = self._search.rank(features)
        results = [
            self._result(image, place, photo, float(score), found.matches(photo))
            for place, photo, score in zip(range(1, top_k + 1), found.photos.tolist(), found.scores)
        ]
        return features, [result for result in results if len(result.matches)]

    def _result(self, image: ImageOrPath, place: int, photo: int, score: float, matches: Matches) -> Result:
        name, verdict = self.index.image_names[photo], None
        own = isinstance(image, (str, Path)) and _same_file(self._images_path / name, Path(image))
        if self.calibration is not None and matches.inliers is not None and not own:
            verdict = self.calibration.judge(matches.num_inliers)
        return Result(place, photo, name, score, matches, verdict, own)

    def find_all(self, queries: Sequence[Photo], top_k: int) -> Iterator[Found]:
        """``find`` of one query photo after the other, each without itself among its results.

        Queries that cannot be read are logged and left out.
        """
        for query in queries:
            try:
                features, results = self.find(query.path, top_k + 1)
            except UserError as error:
                logger.warning("left out: %s", error)
                continue
            if not len(features):
                logger.warning("%s: no features found in it, so no results", query.path)
            left_out = next((result.name for result in results if result.is_query), "")
            others = [result for result in results if not result.is_query][:top_k]
            ranked = [replace(result, rank=rank) for rank, result in enumerate(others, start=1)]
            yield Found(query, features, ranked, self.calibration is not None, left_out)


def _same_file(indexed: Path, query: Path) -> bool:
    """Whether the query is an indexed photo itself; a photo that has moved is no longer."""
    indexed = in_either_form(indexed)
    return indexed.exists() and query.exists() and indexed.samefile(query)
