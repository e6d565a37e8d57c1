"""The names of ``rerank``: which there are, which keys each uses, and what a search of some kind takes."""

from typing import Any, Dict, List, Tuple

from ..config import MatchingConfig, RetrievalConfig, keys_of
from ..errors import UserError
from ..values import short

_EXACT = ("match_ratio", "mutual_check")  # tests of exact correspondences
_RANSAC = ("num_rerank", "keep_matches", *keys_of(MatchingConfig, but=("match_distance", *_EXACT)))
_VOTES = ("num_neighbors", "search_distance", "nprobe", "num_ranked")
_GLOBAL = ("nprobe", "num_ranked")
_STEPS = {  # of global descriptors -> keys
    "ransac": (*_RANSAC, *_EXACT, "search_distance"),
    "aqe": ("qe_k",),
    "alpha_qe": ("qe_k", "qe_alpha"),
    "dba": ("dba_k", "dba_alpha"),
    "diffusion": ("diffusion_k", "diffusion_photos"),
    "superglobal": ("superglobal_photos", "superglobal_k", "superglobal_beta"),
}
_FREE = ("search_threads", "searcher", "rerank", "index_type")  # a ranking does not depend on them, or has them itself


def steps_of(retrieval: RetrievalConfig, searcher: str) -> Tuple[str, ...]:
    """The steps of re-ranking, in order, of a search of some kind (``votes`` or ``global``).

    Raises:
        UserError: an unknown one, or one that the search cannot have.
    """
    names = [name.strip() for name in retrieval.rerank.split(",")]
    if names == ["auto"]:
        return ("ransac",) if searcher == "votes" else ()
    if names == ["none"]:
        return ()
    unknown = next((name for name in names if name not in _STEPS), None)
    if unknown is not None:
        known = f"auto, none, or one or several of {', '.join(_STEPS)}, separated by commas"
        raise UserError(f"`rerank`: {short(repr(unknown))} is no re-ranking; give {known}")
    if searcher == "votes" and names != ["ransac"]:
        other = next((name for name in names if name != "ransac"), "ransac twice")
        raise UserError(f"`rerank`: {other} is for an index of global descriptors; this one takes ransac or none")
    if names.count("ransac") > 1:
        raise UserError("`rerank`: ransac stands there twice; leave one out")
    return tuple(names)


def used_keys(retrieval: RetrievalConfig, searcher: str) -> List[str]:
    """The keys of RetrievalConfig and MatchingConfig that a ranking depends on; errors as of ``steps_of``."""
    steps = steps_of(retrieval, searcher)
    if searcher == "global":
        return list(dict.fromkeys((*_GLOBAL, *(key for step in steps for key in _STEPS[step]))))
    if not steps:
        return list(_VOTES)
    return [*_VOTES, *_RANSAC, "correspondences", *(_EXACT if retrieval.correspondences == "exact" else ())]


def idle_keys(retrieval: RetrievalConfig, searcher: str) -> List[str]:
    """The keys of the two sections that have no effect; errors as of ``steps_of``."""
    used = used_keys(retrieval, searcher)
    return [name for name in keys_of(RetrievalConfig, MatchingConfig) if name not in (*used, *_FREE)]


def search_settings(
    retrieval: RetrievalConfig, matching: MatchingConfig, seed: int, searcher: str = "votes"
) -> Dict[str, Any]:
    """What a ranking depends on, besides index and queries."""
    values = {**retrieval.values(), **matching.values()}
    settings: Dict[str, Any] = {name: values[name] for name in used_keys(retrieval, searcher)}
    if not settings["num_ranked"]:
        del settings["num_ranked"]
    steps = ",".join(steps_of(retrieval, searcher)) or "none"
    if searcher != "votes":
        settings.update(searcher=searcher, rerank=steps)
    elif steps == "none":
        settings["rerank"] = steps
    return {**settings, "seed": seed}
