"""What the server says, as JSON; ``schema.py`` documents it."""

from typing import Any, Dict, List, Optional

import numpy as np

from ..errors import printable
from ..retrieval.ranking_file import PairMatches
from .collection import Answer, Collection, CollectionPhoto, Hit, Through

_MOST_LINES = 200  # of a pair; more cover the photos


def about(collection: Collection, max_bytes: int) -> Dict[str, Any]:
    """The collection as a whole."""
    folders = [{"name": name, "photos": count} for name, count in collection.folders().items()]
    return {
        "name": printable(collection.name),
        "photos": len(collection),
        "searcher": collection.searcher,
        "verdicts": collection.is_judged,
        "no_verdict": printable(collection.no_verdict),
        "max_upload_bytes": max_bytes,
        "folders": folders,
    }


def of_photo(photo: CollectionPhoto) -> Dict[str, Any]:
    """A photo of the collection."""
    width, height = photo.size or (None, None)
    return {"number": photo.number, "name": printable(photo.name), "width": width, "height": height}


def of_search(answer: Answer, query: Optional[CollectionPhoto], folder: str) -> Dict[str, Any]:
    """What a search has found."""
    return {
        "query": {
            "photo": query and of_photo(query),
            "width": answer.size[0],
            "height": answer.size[1],
            "features": answer.num_features,
        },
        "folder": printable(folder),
        "photos_searched": answer.num_searched,
        "seconds": round(answer.seconds, 3),
        "same_place": answer.same_place,
        "left_out": [printable(name) for name in answer.left_out],
        "results": [_of_hit(hit) for hit in answer.hits],
    }


def _of_hit(hit: Hit) -> Dict[str, Any]:
    return {
        "rank": hit.rank,
        "photo": of_photo(hit.photo),
        "score": round(hit.score, 4),
        "same_place": hit.verdict and hit.verdict.answer,
        "probability": hit.verdict and round(hit.verdict.probability, 4),
        "bar": round(hit.bar, 4),
        "matches": hit.matches and _of_matches(hit.matches),
        "through": hit.through and _of_through(hit.through),
    }


def _of_through(through: Through) -> Dict[str, Any]:
    return {
        "photo": of_photo(through.photo),
        "matches": _of_matches(through.first),
        "matches_with_result": _of_matches(through.second),
    }


def _of_matches(matches: PairMatches) -> Dict[str, Any]:
    count = len(matches.points)
    shown = matches.points[np.linspace(0, count - 1, min(count, _MOST_LINES)).round().astype(int)]
    lines: List[List[float]] = np.round(shown.astype(float), 1).tolist()
    return {
        "correspondences": matches.correspondences,
        "verified": matches.verified,
        "inliers": count if matches.verified else None,
        "lines": lines,
    }
