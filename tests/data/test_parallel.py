"""The ordered map over processes: order, errors, early end, dead processes."""

import os
import signal
from itertools import islice

import pytest

from src.data.parallel import ordered_map
from src.errors import UserError


def double(number):
    if number == 13:
        raise ValueError("thirteen")
    return 2 * number, os.getpid()


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def grow(number):
    return bytes(number)


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_from_every_process(workers):
    with ordered_map(double, workers) as apply:
        for count in (0, 1, 10):  # a map may be used again
            results = list(apply(range(count)))
            assert [result for result, _ in results] == [2 * number for number in range(count)]
        assert len({process for _, process in results}) == workers
        assert (os.getpid() in {process for _, process in results}) == (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_are_raised_in_their_place(workers):
    with ordered_map(double, workers) as apply:
        results = apply(range(20))
        assert [result for result, _ in islice(results, 13)] == [2 * number for number in range(13)]
        with pytest.raises(ValueError, match="thirteen"):
            next(results)


def test_items_are_taken_no_faster_than_results():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield 1 << 20

    with ordered_map(grow, 2) as apply:
        results = apply(items())
        assert len(next(results)) == 1 << 20
        assert len(taken) <= 5


def test_a_killed_process_is_told():
    with ordered_map(die, 2) as apply, pytest.raises(UserError, match="killed.*--num_workers"):
        list(apply(range(3)))
