"""Retrieval from files to a file: an index folder and a feature file of queries make a ranking file."""

import logging
from pathlib import Path
from typing import Any, Dict

from ..artifacts import PathLike, sha256_of
from ..config import Config
from ..errors import UserError
from ..features.feature_file import FeatureFile
from .index import load_index, read_provenance
from .ranking_file import load_ranking, save_ranking
from .search import search, search_settings

# Attributes of a feature file that queries and index must share, and what an older file without them was made with.
# The engine may differ: at float32 all give the same numbers up to rounding. So may scales, limits and thresholds.
_DESCRIPTOR_SETTINGS = {
    "checkpoint_sha256": None,
    "pca": "",
    "use_whitening": False,
    "precision": "float32",
    "use_square_images": False,
}

logger = logging.getLogger(__name__)


def perform_retrieval(index: PathLike, query_features: PathLike, output: PathLike, config: Config) -> Path:
    """Rank the photos of an index for every photo of a feature file of queries.

    A ranking of the same index, queries and settings is kept.

    Raises:
        UserError: index and queries come from different networks, or another ranking stands at ``output``.
    """
    output = Path(output)
    index_provenance = read_provenance(index)
    with FeatureFile(query_features, "query_features") as queries:
        _require_same_descriptors(index_provenance, queries, query_features)
        provenance = {
            "index": index_provenance,
            "query_features": queries.attributes,
            "query_features_sha256": sha256_of(query_features),
            "retrieval": search_settings(config),
        }
        if is_made(output, provenance, config.overwrite):
            return output
        ranking = search(load_index(index), queries, config)
    save_ranking(output, ranking, provenance)
    logger.info("%s: %d queries, %d photos", output, len(ranking.query_names), len(ranking.index_names))
    return output


def _require_same_descriptors(index_provenance: Dict[str, Any], queries: FeatureFile, path: PathLike) -> None:
    """UserError when distances between the queries' descriptors and the index's would mean nothing."""
    for name, default in _DESCRIPTOR_SETTINGS.items():
        ours, theirs = (made.get(name, default) for made in (queries.attributes, index_provenance["features"]))
        if ours != theirs:
            raise UserError(f"{path}: made with {name} {ours}, the index with {theirs}; extract both with the same one")
    dimension = index_provenance["dimension"]
    shapes = (queries.shape(name) for name in queries.names)
    if any(count and length != dimension for count, length in shapes):
        raise UserError(f"{path}: its descriptors have not the {dimension} dimensions of the index; extract both alike")


def is_made(output: Path, provenance: Dict[str, Any], overwrite: bool) -> bool:
    """Whether the wanted ranking stands at ``output``; UserError when another does and may not be replaced."""
    if output.suffix != ".npz":  # said before the work, not after it
        raise UserError(f"{output}: a ranking is a .npz file; give `output` a name that ends in .npz")
    if overwrite or not output.exists():
        return False
    if load_ranking(output)[1] != provenance:
        raise UserError(f"{output}: a ranking of another index, queries or settings; give `overwrite` to replace it")
    logger.info("%s: already made", output)
    return True
