"""The names of ``rerank``: which there are, which keys each uses, and what a search of some kind takes."""

from typing import Any, Dict, List, Tuple

from ..artifacts import require_file, sha256_of
from ..config import MatchingConfig, RetrievalConfig, keys_of
from ..errors import UserError
from ..retrieval_config import INDEX_KEYS
from ..values import short

_EXACT = ("match_ratio", "mutual_check")  # tests of exact correspondences
_RANSAC = ("num_rerank", "keep_matches", *keys_of(MatchingConfig, but=("match_distance", *_EXACT)))
_VOTES = ("num_neighbors", "search_distance", "nprobe", "num_ranked", "shard_search")
_SEARCHED = {  # by another searcher -> keys of the search
    "global": ("nprobe", "num_ranked"),
    "vlad": ("query_assignments", "num_ranked"),
    "asmk": ("query_assignments", "asmk_alpha", "asmk_threshold", "asmk_idf", "num_ranked"),
    "asmk_star": ("query_assignments", "asmk_alpha", "asmk_threshold", "asmk_bits", "asmk_idf", "num_ranked"),
}
_WORDS = ("codebook_path", "codebook_size", "index_assignments", "regions")
_INDEXED = {  # by a searcher -> keys of its index, but for those of ``_OF_REGIONS``
    "votes": ("index_type",), "global": ("index_type",), "vlad": _WORDS, "asmk": (*_WORDS, "asmk_family"),
    "asmk_star": (*_WORDS, "asmk_family"),
}  # fmt: skip
_OF_REGIONS = {"none": (), "grid": ("region_levels",), "boxes": ("boxes_path", "least_box_score")}  # `regions` -> keys
_OF_LOCAL = ("votes", "asmk", "asmk_star")  # searchers whose photos have no vectors to expand; RANSAC comes by itself
_STEPS = {  # of vectors, ransac of all -> keys
    "ransac": (*_RANSAC, *_EXACT, "search_distance"),
    "aqe": ("qe_k",),
    "alpha_qe": ("qe_k", "qe_alpha"),
    "dba": ("dba_k", "dba_alpha"),
    "diffusion": ("diffusion_k", "diffusion_photos"),
    "superglobal": ("superglobal_photos", "superglobal_k", "superglobal_beta"),
    "fusion": ("fusion_weight", "fusion_inliers"),
    "graph": ("graph_k", "graph_beta"),
    "learned": ("num_rerank", "matcher_path"),
}
# A ranking does not depend on them, or has them itself
_FREE = ("search_threads", "searcher", "rerank", "executor", "ray_address", "ray_actors")


def steps_of(retrieval: RetrievalConfig, searcher: str) -> Tuple[str, ...]:
    """The steps of re-ranking, in order, of a search of some kind (a choice of ``searcher`` other than auto).

    Raises:
        UserError: an unknown one, or one that the search cannot have.
    """
    names = [name.strip() for name in retrieval.rerank.split(",")]
    if names == ["auto"]:
        return ("ransac",) if searcher in _OF_LOCAL else ()
    if names == ["none"]:
        return ()
    unknown = next((name for name in names if name not in _STEPS), None)
    if unknown is not None:
        known = f"auto, none, or one or several of {', '.join(_STEPS)}, separated by commas"
        raise UserError(f"`rerank`: {short(repr(unknown))} is no re-ranking; give {known}")
    behind = ("graph",) if searcher == "votes" else ("fusion", "graph")
    other = next((name for name in names if name not in ("ransac", "learned", *behind)), None)
    if searcher in _OF_LOCAL and other:
        takes = f"ransac, then {' or '.join(behind)}, or none, or learned"
        raise UserError(f"`rerank`: {other} is for an index of global descriptors; this one takes {takes}")
    twice = next((name for name in ("ransac", "learned", *behind) if names.count(name) > 1), None)
    if twice:
        raise UserError(f"`rerank`: {twice} stands there twice; leave one out")
    if "fusion" in names and ("ransac", "fusion") not in zip(names, names[1:]):
        raise UserError("`rerank`: fusion adds the inliers that ransac has counted; give ransac,fusion")
    if "graph" in names and names[-2:] != ["ransac", "graph"]:
        raise UserError("`rerank`: graph ranks what ransac has verified; give ransac,graph, at the end")
    if "learned" in names and (names[-1] != "learned" or "ransac" in names):
        raise UserError("`rerank`: learned ranks what the search has found, in place of ransac; give it last")
    return tuple(names)


def used_keys(retrieval: RetrievalConfig, searcher: str) -> List[str]:
    """The keys of RetrievalConfig and MatchingConfig that a ranking depends on; errors as of ``steps_of``."""
    steps = steps_of(retrieval, searcher)
    if searcher != "votes":
        return list(dict.fromkeys((*_SEARCHED[searcher], *(key for step in steps for key in _STEPS[step]))))
    if not steps or "learned" in steps:
        return [*_VOTES, *(key for step in steps for key in _STEPS[step])]
    graph = _STEPS["graph"] if "graph" in steps else ()
    return [*_VOTES, *_RANSAC, "correspondences", *(_EXACT if retrieval.correspondences == "exact" else ()), *graph]


def idle_keys(retrieval: RetrievalConfig, searcher: str) -> List[str]:
    """The keys of the two sections that have no effect on index and ranking; errors as of ``steps_of``."""
    used = (*used_keys(retrieval, searcher), *_FREE, *INDEX_KEYS)
    idle = [name for name in keys_of(RetrievalConfig, MatchingConfig) if name not in used]
    return [*idle, *idle_index_keys(retrieval, searcher)]


def idle_index_keys(retrieval: RetrievalConfig, searcher: str) -> List[str]:
    """The keys of an index that have no effect on one of some kind; auto is votes or global descriptors."""
    used = ("index_type",) if searcher == "auto" else _INDEXED[searcher]
    if "regions" in used:
        used = (*used, *_OF_REGIONS[retrieval.regions])
        used = used if searcher == "vlad" or retrieval.regions == "none" else (*used, "region_search")
    return [name for name in INDEX_KEYS if name not in used or (name == "codebook_size" and retrieval.codebook_path)]


def search_settings(
    retrieval: RetrievalConfig, matching: MatchingConfig, seed: int, searcher: str = "votes"
) -> Dict[str, Any]:
    """What a ranking depends on, besides index and queries."""
    values = {**retrieval.values(), **matching.values()}
    settings: Dict[str, Any] = {name: values[name] for name in used_keys(retrieval, searcher)}
    if "matcher_path" in settings:
        settings["matcher_sha256"] = sha256_of(require_file(settings.pop("matcher_path"), "matcher_path"))
    if not settings["num_ranked"]:
        del settings["num_ranked"]
    if settings.get("shard_search") == "exact":  # as of one index
        del settings["shard_search"]
    steps = ",".join(steps_of(retrieval, searcher)) or "none"
    if searcher != "votes":
        settings.update(searcher=searcher, rerank=steps)
    elif steps != "ransac":
        settings["rerank"] = steps
    return {**settings, "seed": seed}
