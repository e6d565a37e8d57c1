"""The searcher by votes: neighbours that no number of threads changes, and photos that are added one by one."""

import faiss
import numpy as np
import pytest

from src.records import LocalFeatures
from src.retrieval.index import DescriptorIndex
from src.retrieval.index_types import make_index
from src.retrieval.neighbours import find_neighbours, list_search_of
from src.retrieval.votes import VoteSearcher, default_nprobe, search_pool, set_nprobe


def unit_rows(generator, count):
    rows = generator.normal(size=(count, 40)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    return unit_rows(generator, 8000), unit_rows(generator, 1000)


@pytest.mark.parametrize("index_type", ["Flat", "IVF16,Flat", "PCAR20,Flat", "RR20,IVF16,SQ8"])
def test_the_number_of_threads_changes_no_bit(rows, index_type):
    """faiss's own threads do, in the index types that rotate: the order of their sums follows the number of threads."""
    indexed, queries = rows
    index = faiss.index_factory(40, index_type)
    index.train(indexed)
    index.add(indexed)
    before = faiss.omp_get_max_threads()
    found = []
    for threads in (1, 2, 5):
        with search_pool(threads) as pool:
            found.append(find_neighbours(index, queries, 60, pool))
    for distances, numbers in found[1:]:
        assert distances.tobytes() == found[0][0].tobytes() and numbers.tobytes() == found[0][1].tobytes()
    expected, _ = index.search(queries, 60)
    np.testing.assert_allclose(found[0][0], expected, atol=1e-4)
    assert faiss.omp_get_max_threads() == before


def test_missing_neighbours_and_columns_in_another_order(rows):
    indexed, queries = rows
    index = faiss.IndexFlatL2(40)
    index.add(indexed[:3])
    with search_pool(2) as pool:
        distances, numbers = find_neighbours(index, np.asfortranarray(queries[:70]), 5, pool)
    assert distances.shape == numbers.shape == (70, 5) and (numbers[:, 3:] == -1).all()
    nearest = ((queries[:70, None].astype(np.float64) - indexed[None, :3]) ** 2).sum(axis=2).argmin(axis=1)
    assert numbers[:, 0].tolist() == nearest.tolist()


@pytest.mark.parametrize("within", [np.inf, 1.2, 0.5])
def test_lists_searched_one_after_the_other_give_what_faiss_gives(rows, within):
    """Twelve descriptors stand in the index a hundred times: of equal distances the lower numbers are kept."""
    indexed, queries = rows
    index = faiss.index_factory(40, "IVF64,Flat")
    index.train(indexed)
    copies = indexed.copy()
    copies[1000:2200] = np.repeat(indexed[:12], 100, axis=0)
    index.add(copies)
    index.nprobe = 16
    queries = np.concatenate([queries[:200], indexed[:3], 2 * queries[:1]])
    expected, numbers = index.search(queries, 60)
    missing = ~(expected < within)
    expected[missing], numbers[missing] = np.inf, -1
    for threads in (1, 3):
        with search_pool(threads) as pool:
            found = list_search_of(index).search(queries, 60, np.nextafter(np.float32(within), np.float32(0)), pool)
        assert found[0].tobytes() == expected.tobytes()
        np.testing.assert_array_equal(found[1][:200], numbers[:200])
    for row in range(3):  # itself and its copies
        wanted = [row, *range(1000 + 100 * row, 1059 + 100 * row)]
        assert found[1][200 + row].tolist() == wanted
    assert list_search_of(faiss.IndexFlatL2(40)) is None


@pytest.mark.parametrize("index_type", ["IVF16,Flat", "PCAR20,IVF16,Flat"])
def test_nprobe(rows, index_type):
    index = faiss.index_factory(40, index_type)
    for asked, expected in ((3, 3), (100, 16), (0, default_nprobe(16))):
        set_nprobe(index, asked)
        assert faiss.extract_index_ivf(index).nprobe == expected
    set_nprobe(faiss.IndexFlatL2(40), 3)  # has no lists


def test_zero_threads_are_all_cores(monkeypatch):
    monkeypatch.setattr("src.retrieval.votes.num_cores", lambda: 7)
    assert [search_pool(count)._max_workers for count in (0, 3)] == [7, 3]


@pytest.mark.parametrize("index_type", ["Flat", "IVF4,Flat"])
def test_a_searcher_is_fitted_filled_and_asked(index_type):
    """Photo n has n of the query's descriptors and twenty of its own; it gets n votes."""
    generator = np.random.default_rng(2)
    query = photo_of(unit_rows(generator, 6))
    photos = {f"{n}.jpg": photo_of(np.concatenate([query.descriptors[:n], unit_rows(generator, 20)])) for n in range(6)}
    index = DescriptorIndex(make_index(index_type, 40))
    searcher = VoteSearcher(index)
    searcher.fit(unit_rows(generator, 400))
    items = list(photos.items())
    for some in (items[:2], items[2:5], items[5:]):
        searcher.add([name for name, _ in some], [item for _, item in some])
    assert index.names == ["0", "1", "2", "3", "4", "5"] and len(index.image_ids) == index.faiss_index.ntotal == 135
    np.testing.assert_array_equal(index.keypoints, np.concatenate([item.keypoints for item in photos.values()]))
    found = searcher.search(query, 3)
    assert found.photos.tolist() == [5, 4, 3] and found.scores.tolist() == [5, 4, 3]
    assert found.matches(4).indices.tolist() == [[row, row] for row in range(4)] and found.matches(4).inliers is None


def photo_of(descriptors):
    count = len(descriptors)
    keypoints = np.random.default_rng(count).uniform(0, 500, (count, 2))
    return LocalFeatures(keypoints, np.ones(count), np.ones(count), descriptors, (500, 500))
