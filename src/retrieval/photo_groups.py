"""Groups of photos of the same place in a collection: those that verified pairs connect."""

from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from tqdm import tqdm

from ..features.encoder import Encoded
from ..records import LocalFeatures
from .index_search import IndexSearch


class Link(NamedTuple):
    """Two photos of the collection that find each other.

    Attributes:
        first, second: their numbers, the lower one first.
        inliers: the fewer of both directions.
        share: of these among the features of the photo that has fewer; near 1 for copies of one photo.
    """

    first: int
    second: int
    inliers: int
    share: float


def find_links(
    search: IndexSearch, num_photos: int, features_of: Callable[[int], LocalFeatures], least_inliers: int
) -> List[Link]:
    """Search with every photo of an index, and link those that find each other.

    Args:
        search: by local features, with verification.
        num_photos: of the index.
        features_of: a photo's local features.
        least_inliers: of both directions.
    """
    counts: Dict[Tuple[int, int], int] = {}
    sizes: List[int] = []
    for photo in tqdm(range(num_photos), desc="groups", unit="photo", disable=None):
        features = features_of(photo)
        sizes.append(len(features))
        if not len(features):
            continue
        for other, matches in search.rank(Encoded(features)).verified.items():
            if other != photo and matches.num_inliers >= least_inliers:
                counts[photo, other] = matches.num_inliers
    links = []
    for (first, second), inliers in sorted(counts.items()):
        if first < second and (second, first) in counts:
            inliers = min(inliers, counts[second, first])
            links.append(Link(first, second, inliers, inliers / min(sizes[first], sizes[second])))
    return links


def groups_of(links: Sequence[Link]) -> List[List[int]]:
    """The photos that links connect, each photo in one group; the largest group first, photos rising."""
    root: Dict[int, int] = {}

    def find(photo: int) -> int:
        root.setdefault(photo, photo)
        while root[photo] != photo:
            root[photo] = root[root[photo]]
            photo = root[photo]
        return photo

    for link in links:
        first, second = sorted((find(link.first), find(link.second)))
        root[second] = first
    groups: Dict[int, List[int]] = {}
    for photo in sorted(root):
        groups.setdefault(find(photo), []).append(photo)
    return sorted(groups.values(), key=lambda group: (-len(group), group))


def copies_in(links: Sequence[Link], least_share: float) -> Dict[int, int]:
    """Photos that are nearly another one, and the first photo of which each is a copy.

    Args:
        links: of the collection.
        least_share: of a link between copies.
    """
    groups = groups_of([link for link in links if link.share >= least_share])
    return {photo: group[0] for group in groups for photo in group[1:]}
