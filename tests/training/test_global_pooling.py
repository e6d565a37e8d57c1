"""Poolings as cells: numbers by hand, the NumPy poolings of extraction, gradients by central differences."""

import numpy as np
import pytest
from eager import central_differences, tensor
from mindspore import ops

from src.errors import UserError
from src.features.pooling import make_pooling
from src.training.global_pooling import Gem, Mac, Rmac, Spoc, l2, make_pooling_cell

pytestmark = pytest.mark.usefixtures("pynative")


PLAIN, MIXED = [[[[1, 2], [3, 4]]]], [[[[-1, 0], [2, 5]]]]


@pytest.mark.parametrize(
    "maps,cell,expected",
    [
        (PLAIN, Mac, 4), (PLAIN, Spoc, 2.5), (PLAIN, Gem, 2.924018), (PLAIN, lambda: Gem(4.6), 3.137704),
        (MIXED, Mac, 5), (MIXED, Spoc, 1.5), (MIXED, Gem, 3.215614), (MIXED, lambda: Gem(1.0), 1.7500005),
    ],
)  # fmt: skip
def test_numbers_of_a_channel(maps, cell, expected):
    np.testing.assert_allclose(cell()(tensor(maps)).asnumpy(), [[expected]], rtol=1e-6)


def test_gradients_of_gem():
    cell = Gem()
    by_map, (by_power,) = ops.grad(cell, 0, [cell.p])(tensor(PLAIN))
    np.testing.assert_allclose(by_map.asnumpy().ravel(), [0.029240, 0.116961, 0.263162, 0.467843], atol=1e-6)
    np.testing.assert_allclose(by_power.asnumpy(), [0.162134], atol=1e-6)


@pytest.mark.parametrize("powers", [[2.5], [1.5, 3.0, 6.0]])
def test_gradients_of_gem_by_differences(powers):
    maps = np.random.default_rng(1).uniform(0.1, 3, (2, 3, 2, 4))
    weights = np.random.default_rng(2).normal(size=(2, 3))

    def slow(maps, powers):
        means = (maps ** powers[None, :, None, None]).mean((2, 3))
        return float((weights * means ** (1 / powers)).sum())

    cell = Gem(1.0, len(powers))
    cell.p.set_data(tensor(powers))

    def loss(maps):
        return (cell(maps) * tensor(weights)).sum()

    by_map, (by_power,) = ops.grad(loss, 0, [cell.p])(tensor(maps))
    arrays = [maps, np.array(powers)]
    np.testing.assert_allclose(by_map.asnumpy(), central_differences(slow, arrays, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_power.asnumpy(), central_differences(slow, arrays, 1), rtol=1e-4, atol=1e-5)


def test_a_dead_channel_and_a_large_power_keep_finite_gradients():
    cell = Gem(9.0)
    maps = tensor([[[[0, 0], [0, 0]], [[1e4, 0], [2e4, 1]]]])
    gradients = ops.grad(lambda maps: l2(cell(maps)).sum(), 0, [cell.p])(maps)
    assert all(np.isfinite(each.asnumpy()).all() for each in (gradients[0], gradients[1][0]))


def test_numbers_of_rmac():
    first = np.arange(16.0).reshape(4, 4)
    maps = tensor(np.stack([first, 16 + first[::-1]])[None])
    np.testing.assert_allclose(l2(Rmac(2)(maps)).asnumpy(), [[0.385127, 0.922863]], atol=1e-6)
    np.testing.assert_allclose(l2(Rmac(2, whole_map=True)(maps)).asnumpy(), [[0.393718, 0.919231]], atol=1e-6)


@pytest.mark.parametrize("pooling", ["mac", "spoc", "gem", "rmac", "rmac_whole"])
def test_cells_equal_the_poolings_of_extraction(pooling):
    maps = np.random.default_rng(3).uniform(-0.2, 2, (2, 5, 6, 8)).astype(np.float32)
    maps[0, 0] = 0
    found = make_pooling_cell(pooling, 5, 2.7)(tensor(maps)).asnumpy()
    twin = make_pooling(pooling, 2.7)
    expected = [twin(each.transpose(1, 2, 0)) for each in maps]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_pooling_that_is_not_trained_is_refused():
    with pytest.raises(UserError, match="`pooling` regional are not trained: give one of mac, spoc, gem, rmac"):
        make_pooling_cell("regional", 5)


def test_which_powers_train():
    shapes = {}
    for power in ("learned", "fixed", "channel"):
        cell = make_pooling_cell("gem", 5, 2.0, power)
        shapes[power] = cell.p.shape, len(cell.trainable_params()), float(cell.p.asnumpy()[0])
    assert shapes == {"learned": ((1,), 1, 2.0), "fixed": ((1,), 0, 2.0), "channel": ((5,), 1, 2.0)}
