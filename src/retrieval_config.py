"""The section of the recipe that says how photos are indexed and searched; ``config`` names it too."""

from dataclasses import dataclass

from .section import Section, key

ASMK_FAMILIES = ("tf_delf", "jenicek")


@dataclass(frozen=True)
class RetrievalConfig(Section):
    """Index and search."""

    index_type: str = key("", "faiss factory string such as Flat or IVF1024,PQ20; '' = chosen by size")
    num_neighbors: int = key(60, "index descriptors looked up for each query descriptor", above=0)
    search_distance: float = key(0.9, "descriptor distance below which a neighbour votes", above=0)
    num_rerank: int = key(100, "best-voted photos verified by RANSAC; 0 = all with enough votes", least=0)
    correspondences: str = key(
        "index",
        "verified are the neighbours found by the search, or each pair matched anew",
        choices=("index", "exact"),
    )
    nprobe: int = key(0, "inverted lists searched for each descriptor; 0 = chosen by their number", least=0)
    keep_matches: int = key(20, "best photos of each query whose matches are kept with the ranking; 0 = none", least=0)
    search_threads: int = key(0, "threads of search and verification; 0 = one for each core", least=0, most=1024)
    searcher: str = key(
        "auto",
        "what is searched: local features by votes or aggregated by visual words (asmk, asmk_star, vlad), or global "
        "descriptors; auto = votes where there are local features",
        choices=("auto", "votes", "asmk", "asmk_star", "vlad", "global"),
    )
    rerank: str = key(
        "auto",
        "what re-ranks, in this order, separated by commas: of global descriptors and vlad aqe, alpha_qe, dba, "
        "diffusion, superglobal; of all ransac, and behind it graph or, but for votes, fusion; or learned, last; "
        "none; auto = ransac for votes and asmk, else none",
    )
    num_ranked: int = key(0, "best photos of each query that the ranking holds; 0 = all", least=0)
    shard_search: str = key(
        "exact",
        "votes of an index of shards: exact as one index of all photos has them, in three rounds, or one_round, where "
        "each shard looks at its own neighbours alone: faster, and not the same ranks",
        choices=("exact", "one_round"),
    )
    executor: str = key(
        "threads",
        "what runs the shards of an index, or extracts photos: this process and its own, or actors of ray",
        choices=("threads", "ray"),
    )
    ray_address: str = key("", "ray: host:port of a running cluster; '' = one of this machine alone, for this run")
    ray_actors: int = key(
        0, "ray: processes; 0 = one for each core, to extract each GPU or machine", least=0, most=4096
    )
    qe_k: int = key(10, "photos that aqe and alpha_qe add to the query", above=0)
    qe_alpha: float = key(3.0, "alpha_qe: power of a photo's similarity that is its weight", least=0)
    dba_k: int = key(10, "dba: photos that are added to each photo of the index", above=0)
    dba_alpha: float = key(3.0, "dba: power of a photo's similarity that is its weight", least=0)
    diffusion_k: int = key(50, "diffusion: nearest photos of each that the graph joins, where both are", above=0)
    diffusion_photos: int = key(1000, "diffusion: best photos of each query among which it runs", above=0)
    superglobal_photos: int = key(400, "superglobal: best photos of each query that are ranked anew", above=0)
    superglobal_k: int = key(9, "superglobal: nearest of these photos that refine each of them", above=0)
    superglobal_beta: float = key(0.15, "superglobal: weight of a photo that refines another", least=0)
    fusion_weight: float = key(1.0, "fusion: weight of the inliers beside the similarity", least=0)
    fusion_inliers: int = key(70, "fusion: inliers that count in full; more count no more", above=0)
    graph_k: int = key(9, "graph: verified photos nearest to each that refine it", above=0)
    graph_beta: float = key(0.3, "graph: weight of a photo that refines another", least=0)
    matcher_path: str = key("", "learned: matcher (.npz) of the command train_matcher")
    codebook_path: str = key("", "visual words of asmk and vlad (.npz), of the command learn_codebook or another index")
    codebook_size: int = key(
        0, "visual words learnt from the index photos; 0 = chosen by their descriptors, 64 at most for vlad", least=0
    )
    index_assignments: int = key(1, "nearest words in which a descriptor of an index photo counts", above=0, most=1024)
    query_assignments: int = key(
        0, "the same of a query's; 0 = as the family does: 5 of jenicek, else 1", least=0, most=1024
    )
    regions: str = key(
        "none",
        "parts of an index photo that asmk and vlad aggregate apart, beside the whole: squares of R-MAC's grid, or "
        "boxes of a table",
        choices=("none", "grid", "boxes"),
    )
    region_levels: int = key(2, "regions grid: scales of squares", above=0, most=20)
    boxes_path: str = key("", "regions boxes: table (.csv) of photo, x1, y1, x2, y2, score; or of propose_boxes")
    least_box_score: float = key(0.0, "regions boxes: boxes of a lower score are left out", least=0)
    region_search: bool = key(
        False, "asmk: each region is found by itself, and a photo's similarity is its best region's"
    )
    asmk_family: str = key(
        "tf_delf", "whose ASMK, in numbers: TensorFlow DELF's or HOW's (github.com/jenicek/asmk)", choices=ASMK_FAMILIES
    )
    asmk_alpha: float = key(3.0, "asmk: power of the similarity of two photos' word", above=0, most=100)
    asmk_threshold: float = key(
        0.0, "asmk: similarity above which a word counts; jenicek: from which on", least=-1, most=1
    )
    asmk_bits: int = key(
        0, "asmk_star: bits of a code; 0 = as the family counts: of whole bytes, or of whole 32 of jenicek", least=0
    )
    asmk_idf: bool = key(False, "asmk: a word weighs the logarithm of photos / photos that have it")


REGION_KEYS = ("regions", "region_levels", "boxes_path", "least_box_score", "region_search")
SHARD_KEYS = ("shard_search", "executor", "ray_address", "ray_actors")  # of an index of shards alone
# Keys of some index, which a ranking has from it
INDEX_KEYS = ("index_type", "codebook_path", "codebook_size", "index_assignments", *REGION_KEYS, "asmk_family")
# Keys that a search by votes and RANSAC has no use for
GLOBAL_KEYS = (
    "searcher", "rerank", "num_ranked", *SHARD_KEYS, "qe_k", "qe_alpha", "dba_k", "dba_alpha", "diffusion_k",
    "diffusion_photos", "superglobal_photos", "superglobal_k", "superglobal_beta", "fusion_weight", "fusion_inliers",
    "graph_k", "graph_beta", "matcher_path", "codebook_path", "codebook_size", "index_assignments", *REGION_KEYS,
    "query_assignments", "asmk_family", "asmk_alpha", "asmk_threshold", "asmk_bits", "asmk_idf",
)  # fmt: skip
