"""Whether the queries of a feature file may be compared with the photos of an index."""

from ..artifacts import PathLike
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..features.kinds import GLOBAL, LOCAL, part_of
from ..records import Provenance
from .index_folder import Manifest, searcher_of

_AGAIN = "extract again, with another checkpoint or a lower `score_threshold`"


def require_comparable(folder: PathLike, index: Manifest, queries: FeatureFile) -> None:
    """UserError when similarities of the queries' descriptors and the index's would mean nothing, or there are none.

    Scales, limits and thresholds may differ. So may the engine: at float32 all give the same numbers up to rounding.
    """
    kind = GLOBAL if searcher_of(index) == "global" else LOCAL
    require_same_meaning(queries, index.provenance, kind)
    if kind == LOCAL:
        _require_local(index, queries)
        if not index.num_descriptors:
            raise UserError(f"{folder}: its photos have no features, so nothing can be found among them; {_AGAIN}")
    elif any(queries.global_dimension(name) != index.dimension for name in queries.names):
        fact = f"its global descriptors have not the {index.dimension} dimensions of the index"
        raise UserError(f"{queries.path}: {fact}; extract both alike")


def require_same_meaning(queries: FeatureFile, index: Provenance, kind: str) -> None:
    """UserError when the queries' features of one kind were made otherwise than those of an index."""
    ours, theirs = (part_of(each, kind) for each in (queries.provenance, index))
    if not ours.compatible_with(theirs):
        names = ", ".join(ours.differences(theirs, ("weights", "encoder")))
        raise UserError(f"{queries.path}: made otherwise than the index ({names}); extract both with the same")


def _require_local(index: Manifest, queries: FeatureFile) -> None:
    shapes = [queries.shape(name) for name in queries.names]
    if not any(count for count, _ in shapes):
        raise UserError(f"{queries.path}: no query has a feature, so nothing can be found; {_AGAIN}")
    if any(count and dimension != index.dimension for count, dimension in shapes):
        fact = f"its descriptors have not the {index.dimension} dimensions of the index"
        raise UserError(f"{queries.path}: {fact}; extract both alike")
