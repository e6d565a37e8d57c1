"""Retrieval from files to a file: an index folder and a feature file of queries make a ranking file."""

import logging
from pathlib import Path
from typing import Any, Mapping

from ..artifacts import PathLike, is_made, sha256_of
from ..config import MatchingConfig, RetrievalConfig
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..records import Provenance
from .index import Manifest, load_index, read_manifest
from .ranking_file import load_ranking, require_ranking_name, save_ranking
from .search import open_search, rank_queries, search_settings

logger = logging.getLogger(__name__)


def perform_retrieval(
    index: PathLike,
    query_features: PathLike,
    output: PathLike,
    retrieval: RetrievalConfig,
    matching: MatchingConfig,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Rank the photos of an index for every photo of a feature file of queries, and keep the matches of the best.

    A ranking of the same index, queries and settings is kept.

    Args:
        index: index folder.
        query_features: feature file of the queries.
        output: ranking file.
        retrieval, matching: settings of the search and of verification.
        seed: of RANSAC.
        overwrite: replace another ranking.

    Returns:
        ``output``.

    Raises:
        UserError: index and queries come from different networks, or another ranking stands at ``output``.
    """
    output, manifest = require_ranking_name(output), read_manifest(index)
    with FeatureFile(query_features, "query_features") as queries:
        _require_comparable(manifest, queries)
        settings = search_settings(retrieval, matching, seed)
        wanted = describe_ranking(settings, manifest.provenance, queries)
        if is_made(output, wanted, lambda path: load_ranking(path)[1], overwrite):
            return output
        with open_search(load_index(index), retrieval, matching, seed) as search:
            ranking, matches = rank_queries(search, queries, retrieval.keep_matches)
    save_ranking(output, ranking, wanted, matches)
    logger.info("%s: %d queries, %d photos", output, len(ranking.query_names), len(ranking.index_names))
    return output


def _require_comparable(index: Manifest, queries: FeatureFile) -> None:
    """UserError when distances between the queries' descriptors and the index's would mean nothing.

    Scales, limits and thresholds may differ. So may the engine: at float32 all give the same numbers up to rounding.
    """
    if not queries.provenance.compatible_with(index.provenance):
        names = ", ".join(queries.provenance.differences(index.provenance, ("weights", "encoder")))
        raise UserError(f"{queries.path}: made otherwise than the index ({names}); extract both with the same")
    shapes = (queries.shape(name) for name in queries.names)
    if any(count and dimension != index.dimension for count, dimension in shapes):
        fact = f"its descriptors have not the {index.dimension} dimensions of the index"
        raise UserError(f"{queries.path}: {fact}; extract both alike")


def describe_ranking(settings: Mapping[str, Any], index: Provenance, queries: FeatureFile) -> Provenance:
    """How a ranking is made: its own settings, and how its index and its queries were made."""
    made = queries.provenance
    return Provenance(
        index.weights,
        index.encoder,
        settings,
        {
            "index": {"settings": index.settings, "sources": index.sources},
            "queries": {"settings": made.settings, "sources": made.sources},
            "query_features": sha256_of(queries.path),
        },
        {"index": index.notes, "queries": made.notes},
    )
