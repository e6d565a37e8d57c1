"""What the parts of a query by votes take: its neighbours, votes and order, verification."""

import time
from contextlib import ExitStack
from statistics import median
from typing import Any, Callable, Dict, List, Sequence

from src.config import MatchingConfig, RetrievalConfig
from src.records import LocalFeatures
from src.retrieval.vote_search import open_search
from src.retrieval.votes import search_pool


def profile_query(
    index: Any, queries: Sequence[LocalFeatures], retrieval: RetrievalConfig, matching: MatchingConfig, threads: int
) -> str:
    """A sentence on what a query takes, in medians over ``queries``; the ways to search take turns.

    Args:
        index: a ``DescriptorIndex``.
        queries: the first one warms and does not count.
        retrieval, matching: settings of the search.
        threads: that search and verify.
    """
    retrieval = retrieval.replace(search_threads=threads, correspondences="index")
    ways = {
        "votes": retrieval.replace(rerank="none"),
        "query": retrieval.replace(rerank="ransac"),
        "exact": retrieval.replace(rerank="ransac", correspondences="exact"),
    }
    with ExitStack() as opened:
        pool = opened.enter_context(search_pool(threads))
        count, within = retrieval.num_neighbors, retrieval.search_distance**2
        steps: Dict[str, Callable[[LocalFeatures], Any]] = {
            "neighbours": lambda query: index.nearest(query.descriptors, count, within, pool)
        }
        for name, way in ways.items():
            steps[name] = opened.enter_context(open_search(index, way, matching)).rank
        taken = _in_turns(steps, queries)
    parts = f"neighbours {taken['neighbours']:.0f} ms, votes and order {taken['votes'] - taken['neighbours']:.0f} ms"
    parts += f", verification {taken['query'] - taken['votes']:.0f} ms"
    exact = taken["exact"] / taken["query"]
    return f"{threads} threads: {taken['query']:.0f} ms ({parts}); exact correspondences take {exact:.2f} times as long"


def _in_turns(steps: Dict[str, Callable[[Any], Any]], items: Sequence[Any]) -> Dict[str, float]:
    """Median milliseconds of each step over the items but the first, all steps for one item before the next."""
    times: Dict[str, List[float]] = {name: [] for name in steps}
    for item in items:
        for name, step in steps.items():
            start = time.perf_counter()
            step(item)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: median(values[1:]) for name, values in times.items()}
