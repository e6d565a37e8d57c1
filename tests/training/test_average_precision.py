"""Average precision as a loss: a small ranking's numbers, NumPy twins, gradients, blocks of rows, rows left out."""

import mindspore as ms
import numpy as np
import pytest
from eager import central_differences, tensor
from mindspore import ops

from src.training.average_precision import as_distance, average_precision_loss, average_precisions, loss_sum

pytestmark = pytest.mark.usefixtures("pynative")


SCORES, POSITIVES = [[0.9, 0.55, 0.4, -0.2]], [[1, 0, 1, 0]]


@pytest.mark.parametrize(
    "bins,least,form,expected",
    [
        (3, 0.0, "ap", 0.726984), (5, -1.0, "ap", 0.732540), (20, -1.0, "ap", 0.818116), (25, -1.0, "ap", 0.823810),
        (5, -1.0, "simplified", 0.826791), (5, -1.0, "full", 0.680471),
    ],
)  # fmt: skip
def test_numbers_of_a_ranking(bins, least, form, expected):
    found = average_precisions(tensor(SCORES), tensor(POSITIVES), bins, least, 1.0, form).asnumpy()
    np.testing.assert_allclose(found, [expected], atol=1e-6)


def test_more_bins_come_to_the_average_precision_itself():
    found = average_precisions(tensor(SCORES), tensor(POSITIVES), 1001).asnumpy()
    np.testing.assert_allclose(found, [0.833333], atol=2e-5)


def test_gradient_of_a_ranking():
    def loss(scores):
        return average_precision_loss(scores, tensor(POSITIVES), 5)

    value, gradient = ops.value_and_grad(loss)(tensor(SCORES))
    assert float(value.asnumpy()) == pytest.approx(0.267460, abs=1e-6)
    np.testing.assert_allclose(gradient.asnumpy(), [[-0.344797, 0.790123, -0.214853, 0.030864]], atol=2e-6)


def test_scores_as_distances():
    found = as_distance(tensor([0.9, 0, -1])).asnumpy()
    np.testing.assert_allclose(found, [0.551670, -0.414567, -1.000250], atol=1e-6)
    by_distance = average_precisions(tensor(SCORES), tensor(POSITIVES), 5, by_distance=True)
    direct = average_precisions(as_distance(tensor(SCORES)), tensor(POSITIVES), 5)
    assert float(by_distance.asnumpy()[0]) == float(direct.asnumpy()[0])


def slow_precision(scores, positives, bins, least, most, form, by_distance):
    """One row by loops over bins and scores; 0 without a positive."""
    if by_distance:
        scores = 1 - np.sqrt(2.001 - 2 * scores)
    step, hits_in_all = (most - least) / (bins - 1), sum(positives)
    total, all_found, all_hits = 0.0, 0.0, 0.0
    for number in range(bins):
        centre, found, hits = most - number * step, 0.0, 0.0
        for score, positive in zip(scores, positives):
            share = max(0.0, 1 - abs(score - centre) / step)
            if (number == 0 and score > most) or (number == bins - 1 and score < least):
                share = 1.0
            found, hits = found + share, hits + share * positive
        before, hits_before = all_found, all_hits
        all_found, all_hits = all_found + found, all_hits + hits
        if form == "ap":
            precision = all_hits / (1e-16 + all_found)
        elif form == "simplified":
            precision = (hits_before + all_hits + 1) / (before + all_found + 1)
        else:
            share = max(0.0, hits - 1) / (max(0.0, found - 1) + 1e-8)
            rest = (hits_before + 1 - share * (before + 1)) * np.log((all_found + 1) / (before + 1))
            precision = (found * share + rest) / (found + 1e-8)
        total += hits * precision
    return total / hits_in_all if hits_in_all else 0.0


def slow_loss(scores, positives, weights, **settings):
    rows = [number for number, row in enumerate(positives) if row.sum()]
    return np.mean([1 - weights[row] * slow_precision(scores[row], positives[row], **settings) for row in rows])


@pytest.fixture(scope="module")
def ranking():
    """Scores away from the centres of the bins, some beyond the ends; the third row has no positive."""
    generator = np.random.default_rng(5)
    scores = generator.uniform(-1, 0.98, (4, 7))
    scores[0, :2] = 0.99, -0.999
    positives = (generator.uniform(size=(4, 7)) < 0.4).astype(np.float64)
    positives[2], positives[0, 0] = 0, 1
    return scores, positives, np.array([1.0, 0.5, 2.0, 0.8])


@pytest.mark.parametrize("form", ["ap", "simplified", "full"])
@pytest.mark.parametrize("least,most,by_distance", [(-1.0, 1.0, False), (-0.8, 0.9, False), (-1.0, 1.0, True)])
def test_values_and_gradients_equal_the_slow_twin(ranking, form, least, most, by_distance):
    scores, positives, weights = ranking
    settings = {"bins": 6, "least": least, "most": most, "form": form, "by_distance": by_distance}

    def loss(scores):
        return average_precision_loss(scores, tensor(positives), query_weights=tensor(weights), **settings)

    found, gradient = ops.value_and_grad(loss)(tensor(scores))
    assert float(found.asnumpy()) == pytest.approx(slow_loss(scores, positives, weights, **settings), rel=1e-5)
    assert not gradient.asnumpy()[2].any()
    expected = central_differences(lambda scores: slow_loss(scores, positives, weights, **settings), [scores], 0)
    np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=1e-4, atol=2e-5)


def test_blocks_of_rows_add_up_to_the_batch(ranking):
    scores, positives, weights = (tensor(array) for array in ranking)
    blocks = [loss_sum(scores[row : row + 2], positives[row : row + 2], 6, query_weights=weights[row : row + 2])
              for row in (0, 2)]  # fmt: skip
    whole = average_precision_loss(scores, positives, 6, query_weights=weights)
    assert float((blocks[0] + blocks[1]).asnumpy()) / 3 == pytest.approx(float(whole.asnumpy()), rel=1e-6)


def test_a_row_that_does_not_count_has_no_gradient(ranking):
    scores, positives, _ = ranking
    counted = tensor([1, 0, 0, 1])

    def loss(scores):
        return average_precision_loss(scores, tensor(positives), 6, counted=counted)

    value, gradient = ops.value_and_grad(loss)(tensor(scores))
    kept = average_precision_loss(tensor(scores[[0, 3]]), tensor(positives[[0, 3]]), 6)
    assert float(value.asnumpy()) == pytest.approx(float(kept.asnumpy()), rel=1e-6)
    gradient = gradient.asnumpy()
    assert gradient[[0, 3]].any() and not gradient[1:3].any()
    nothing = average_precision_loss(tensor(scores), tensor(positives * 0), 6)
    assert float(nothing.asnumpy()) == 0


def test_it_runs_in_a_compiled_graph(ranking):
    scores, positives, weights = (tensor(array) for array in ranking)

    def loss(scores, positives, weights):
        return (
            average_precision_loss(scores, positives, 6, query_weights=weights)
            + average_precision_loss(scores, positives, 6, form="full", by_distance=True)
        )  # fmt: skip

    eager, eager_gradient = ops.value_and_grad(loss)(scores, positives, weights)
    compiled, gradient = ms.jit(ops.value_and_grad(loss))(scores, positives, weights)
    np.testing.assert_allclose(compiled.asnumpy(), eager.asnumpy(), rtol=1e-5)
    np.testing.assert_allclose(gradient.asnumpy(), eager_gradient.asnumpy(), rtol=1e-4, atol=1e-6)
