"""VLAD, ASMK and ASMK* in numbers: those of the reference by hand, and slow twins on random descriptors."""

import numpy as np
import pytest

from src.errors import UserError
from src.retrieval.aggregation import (
    JENICEK,
    TF_DELF,
    Kernel,
    Words,
    asmk,
    asmk_star,
    code_bits,
    hamming,
    idf,
    nearest_words,
    similarities_by_distance,
    similarity,
    sum_residuals,
    vlad,
)

WORDS = np.array([[0, 0, 0, 0], [4, 0, 0, 0]], np.float32)
A = np.array([[1, 2, 0, -1], [1, 0, 0, -1], [5, 1, 1, 0]], np.float32)
B = np.array([[2, 2, 1, -3], [3, -1, 2, 0]], np.float32)


def sums(descriptors, words=WORDS, count=1):
    return sum_residuals(descriptors, words, nearest_words(descriptors, words, count))


def test_residuals_and_asmk_of_the_reference():
    a, b = sums(A), sums(B)
    assert nearest_words(A, WORDS).tolist() == [[0], [0], [1]] and nearest_words(B, WORDS).tolist() == [[0], [1]]
    assert a.numbers.tolist() == [0, 1] and a.vectors.tolist() == [[2, 2, 0, -2], [1, 1, 1, 0]]
    assert b.vectors.tolist() == [[2, 2, 1, -3], [-1, -1, 2, 0]]
    dots = (asmk(a).vectors * asmk(b).vectors).sum(axis=1)
    np.testing.assert_allclose(dots, [0.952579, 0], atol=1e-6)
    for family in (TF_DELF, JENICEK):  # they differ nowhere here
        assert similarity(asmk(a, family), asmk(b, family), Kernel(family)) == pytest.approx(0.432189, abs=1e-6)


@pytest.mark.parametrize(
    "family, bits, alike, expected",
    [(TF_DELF, 4, [0.5, 0], 0.0625), (JENICEK, 32, [0.9375, 0.875], 0.746948)],
)
def test_asmk_star_of_both_references(family, bits, alike, expected):
    a, b = (asmk_star(sums(photo), family) for photo in (A, B))
    assert hamming(a.vectors, b.vectors).tolist() == [1, 2]
    assert a.vectors.tolist() == [[0b11000000], [0b11100000]]
    kernel = Kernel(family)
    assert code_bits(4, family) == bits
    np.testing.assert_allclose(similarities_by_distance(bits, kernel)[[1, 2]], np.power(alike, 3))
    assert similarity(a, b, kernel, bits) == pytest.approx(expected, abs=1e-6)


def test_bits_of_a_code():
    assert [code_bits(size, TF_DELF) for size in (4, 8, 12, 40, 128)] == [4, 8, 16, 40, 128]
    assert [code_bits(size, JENICEK) for size in (4, 32, 40, 128)] == [32, 32, 64, 128]
    assert code_bits(40, JENICEK, 40) == 40
    with pytest.raises(UserError, match="`asmk_bits` is 32; the codes have 40"):
        code_bits(40, TF_DELF, 32)


def test_kernels_of_both_references():
    x = np.array([-0.5, 0.0, 0.2, 0.5])
    np.testing.assert_allclose(Kernel(TF_DELF, 3, 0.2)(x), [0, 0, 0, 0.125])
    np.testing.assert_allclose(Kernel(JENICEK, 3, 0.2)(x), [0, 0, 0.008, 0.125])
    np.testing.assert_allclose(Kernel(TF_DELF, 2, -1)(x), [-0.25, 0, 0.04, 0.25])  # the sign stays
    np.testing.assert_allclose(Kernel(JENICEK, 2, -1)(x), [0.25, 0, 0.04, 0.25])  # and is lost
    np.testing.assert_allclose(Kernel(JENICEK, 3, -1)(x), [-0.125, 0, 0.008, 0.125])
    Kernel(JENICEK, 2.5, 0).require_defined()
    with pytest.raises(UserError, match="give 0 or more, or a whole `asmk_alpha`"):
        Kernel(JENICEK, 2.5, -0.1).require_defined()


def test_a_tiny_sum_is_a_word_for_jenicek_alone():
    found = sums(np.array([[0, 1e-7, 0, 0], [4, 1, 0, 0]], np.float32))
    assert asmk(found, TF_DELF).numbers.tolist() == asmk_star(found, TF_DELF).numbers.tolist() == [1]
    assert asmk(found, JENICEK).numbers.tolist() == asmk_star(found, JENICEK).numbers.tolist() == [0, 1]
    at_the_word = sums(np.float32(WORDS[1:]))
    assert asmk(at_the_word, JENICEK).vectors.tolist() == [[0, 0, 0, 0]]


def test_vlad_by_hand_and_of_nothing():
    np.testing.assert_allclose(vlad(sums(A), 2), np.array([2, 2, 0, -2, 1, 1, 1, 0]) / np.sqrt(15), rtol=1e-6)
    nothing = sums(np.zeros((0, 4), np.float32))
    assert vlad(nothing, 2).tolist() == [0] * 8
    for form in (asmk, asmk_star):
        assert similarity(form(nothing), form(sums(A)), Kernel(), 4) == -1


def test_idf_enters_once_and_normalises():
    """By hand: weights log 2 of word 0, which half of the photos have, and 0 of word 1, which all have."""
    weights = idf([2, 4, 0], 4)
    np.testing.assert_allclose(weights, [np.log(2), 0, 1])
    a, b = asmk(sums(A)), asmk(sums(B))
    assert similarity(a, b, Kernel(), weights=weights[:2]) == pytest.approx(0.952579**3, abs=1e-5)
    only = Words(np.array([1]), a.vectors[1:])
    assert similarity(only, b, Kernel(), weights=weights[:2]) == 0


def slow_sums(descriptors, words, count):
    """{word: sum of residuals}, descriptor by descriptor in double precision."""
    found = {}
    for row in descriptors.astype(np.float64):
        distances = [float(((row - word) ** 2).sum()) for word in words]
        for word in np.argsort(distances, kind="stable")[:count]:
            found[word] = found.get(word, 0) + row - words[word]
    return found


def slow_similarity(a, b, signs, alpha, tau, bits, weights):
    """Word by word, number by number."""
    total = 0.0
    for word in set(a) & set(b):
        if signs:
            x = 1 - 2 * sum((m > 0) != (n > 0) for m, n in zip(a[word], b[word])) / bits
        else:
            x = float(a[word] @ b[word]) / np.sqrt(float(a[word] @ a[word]) * float(b[word] @ b[word]))
        total += weights[word] * (np.sign(x) * abs(x) ** alpha if x > tau else 0)
    return total / np.sqrt(sum(weights[word] for word in a) * sum(weights[word] for word in b))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("with_idf", [False, True])
def test_similarities_of_random_photos_equal_a_slow_twin(count, signs, with_idf):
    generator = np.random.default_rng(count)
    words = generator.normal(size=(9, 12)).astype(np.float32)
    first, second = (generator.normal(size=(size, 12)).astype(np.float32) for size in (30, 11))
    weights = idf(generator.integers(1, 20, 9), 20) if with_idf else None
    form, bits = (asmk_star, code_bits(12)) if signs else (asmk, 0)
    a, b = (form(sums(photo, words, count)) for photo in (first, second))
    for alpha, tau in ((3, 0), (1.5, -1), (2, 0.1)):
        slow = [slow_sums(photo, words, count) for photo in (first, second)]
        expected = slow_similarity(*slow, signs, alpha, tau, bits, np.ones(9) if weights is None else weights)
        assert similarity(a, b, Kernel(TF_DELF, alpha, tau), bits, weights) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_vlad_of_a_random_photo_equals_a_slow_twin(count):
    generator = np.random.default_rng(count)
    words, photo = generator.normal(size=(9, 5)), generator.normal(size=(40, 5))
    expected = np.zeros((9, 5))
    for word, total in slow_sums(photo, words, count).items():
        expected[word] = total
    np.testing.assert_allclose(
        vlad(sums(photo, words, count), 9), expected.ravel() / np.linalg.norm(expected), atol=1e-6
    )
