"""The inverted file: what it holds, that chunks and additions leave no trace, and damage on the way."""

import numpy as np
import pytest

from src.retrieval.aggregation import Words
from src.retrieval.index_folder import POSTING_FILES
from src.retrieval.inverted_file import Postings, PostingWriter, gather, join, load_postings

NUM_WORDS, WIDTH = 23, 3


def draw(count, seed=0):
    """Photos with some words each, some with none."""
    generator = np.random.default_rng(seed)
    photos = []
    for number in range(count):
        numbers = np.flatnonzero(generator.random(NUM_WORDS) < (0 if number % 5 == 2 else 0.4))
        photos.append(Words(numbers, generator.integers(0, 256, (len(numbers), WIDTH), dtype=np.uint8)))
    return photos


def write(folder, photos, chunk_bytes, old=None):
    folder.mkdir()
    old = old or Postings.empty(NUM_WORDS, WIDTH, np.dtype(np.uint8))
    writer = PostingWriter(folder, old, chunk_bytes)
    first = int(old.photos.max()) + 1 if len(old.photos) else 0
    for number, words in enumerate(photos):
        writer.add(first + number, words)
    return writer.finish()


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("chunk_bytes", [1, 100, 10**6])
def test_each_word_has_its_photos_and_their_codes(tmp_path, chunk_bytes):
    photos = draw(40)
    postings = write(tmp_path / "index", photos, chunk_bytes)
    assert sorted(content(tmp_path / "index")) == sorted(POSTING_FILES)
    for word in range(NUM_WORDS):
        having = [n for n, photo in enumerate(photos) if word in photo.numbers]
        numbers, codes = postings.of(word)
        assert numbers.tolist() == having and numbers.dtype == np.int32
        for number, code in zip(having, codes):
            assert code.tolist() == photos[number].vectors[photos[number].numbers == word][0].tolist()
    write(tmp_path / "whole", photos, 10**6)
    assert content(tmp_path / "index") == content(tmp_path / "whole")


@pytest.mark.parametrize("chunk_bytes", [50, 10**6])
def test_photos_added_later_leave_the_bytes_of_all_at_once(tmp_path, chunk_bytes):
    photos = draw(31)
    write(tmp_path / "whole", photos, 200)
    old = write(tmp_path / "old", photos[:10], chunk_bytes)
    write(tmp_path / "more", photos[10:], chunk_bytes, old)
    assert content(tmp_path / "more") == content(tmp_path / "whole")
    in_memory = join([load_postings(tmp_path / "old"), gather(10, photos[10:], NUM_WORDS)])
    for ours, theirs in zip(in_memory, load_postings(tmp_path / "whole")):
        np.testing.assert_array_equal(ours, theirs)


def test_no_photo_has_a_word(tmp_path):
    postings = write(tmp_path / "index", [photo for photo in draw(10) if not len(photo.numbers)], 10)
    assert postings.starts.tolist() == [0] * (NUM_WORDS + 1) and postings.codes.shape == (0, WIDTH)
