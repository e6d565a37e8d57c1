"""The benchmark of large steps draws the same photos in each pass, and refuses a step without a pair."""

import numpy as np
import pytest

from src.errors import UserError
from tools.benchmarks import large_steps as benchmark


def test_every_pass_sees_the_same_photos():
    batch = benchmark.drawn_batch(10, 8, 4)
    first, second = (list(batch.chunks()) for _ in range(2))
    assert [each.shape for each in first] == [(4, 3, 8, 8), (4, 3, 8, 8), (2, 3, 8, 8)]
    assert batch.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    for one, other in zip(first, second):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], first[1])


def test_one_photo_is_no_step():
    with pytest.raises(UserError, match="--photos are numbers of 2 or more"):
        benchmark.main(["--photos", "1"])
