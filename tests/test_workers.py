"""The pool of processes: order, errors, early end, dead processes; signals."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from src.errors import UserError
from src.workers import Pool, WorkerDied, ordered_map


def double(number):
    if number == 13:
        raise ValueError("thirteen")
    return 2 * number, os.getpid()


def double_together(folder, workers, number):
    """``double``; numbers above 100 wait until every process has come to one."""
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + 120
    while number > 100 and len(list(folder.iterdir())) < workers:
        assert time.monotonic() < deadline, "a process has got nothing to do"
        time.sleep(0.01)
    return double(number)


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def grow(number):
    return bytes(number)


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_from_every_process(workers, tmp_path):
    with ordered_map(partial(double_together, tmp_path, workers), workers) as apply:
        for count in (0, 1, 50):  # a map may be used again
            results = list(apply(range(100, 100 + count)))
            assert [result for result, _ in results] == [2 * number for number in range(100, 100 + count)]
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


def test_when_all_are_dead_it_is_said():
    with ordered_map(die, 2) as apply, pytest.raises(UserError, match="status -9.*the last one"):
        list(apply(range(3)))


def die_over_five(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return double(number)


def test_an_item_that_kills_is_told_in_its_place():
    with ordered_map(die_over_five, 2) as apply:
        results = apply(range(9))
        assert [result for result, _ in islice(results, 5)] == [0, 2, 4, 6, 8]
        with pytest.raises(UserError, match="two processes died over 5 .status -9.*`num_workers`"):
            next(results)


def collecting(seconds):
    """A stage that takes what is there before it answers, as a pipeline does; worker 9 dies at its start."""
    if seconds == 9:
        os.kill(os.getpid(), signal.SIGKILL)

    def stage(take, deliver):
        waiting = []
        while True:
            item = take(not waiting)
            if item is not None and len(waiting) < 3:
                waiting.append(item)
                continue
            for number in waiting + ([] if item is None else [item]):
                if number == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
                deliver(number, 2 * number)
            waiting = []

    return stage


def test_every_item_is_answered_once_although_workers_and_an_item_die():
    with Pool(collecting, [0, 9, 1], ahead=4) as pool:
        answers = list(pool.map(range(20)))
        assert sorted(item for item, _ in answers) == list(range(20))
        assert {item: result for item, result in answers if item != 5} == {n: 2 * n for n in range(20) if n != 5}
        assert dict(answers)[5] == WorkerDied(-9)
        assert sorted(pool.map([7, 8])) == [(7, 14), (8, 16)]  # it may be used again


def failing(_):
    raise UserError("no network")


def test_what_a_stage_raises_is_raised_here():
    with Pool(failing, [0, 1], ahead=1) as pool, pytest.raises(UserError, match="no network"):
        list(pool.map(range(3)))


SIGNALS = """
import os, signal
import pytest
from src.errors import Interrupted
from src.stop_signals import StopSignals
before = signal.getsignal(signal.SIGTERM)
with pytest.raises(Interrupted, match="all is kept") as caught, StopSignals("all is kept"):
    os.kill(os.getpid(), signal.SIGTERM)
assert caught.value.status == 128 + signal.SIGTERM
with StopSignals() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.number == signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted, match="saved") as caught:
        stop.raise_stopped("saved")
assert caught.value.status == 130 and signal.getsignal(signal.SIGTERM) is before
"""


def test_a_signal_ends_the_job_with_its_sentence_or_is_kept_for_the_next_step():
    # In a process of its own: the signals never reach the suite's process.
    done = subprocess.run(
        [sys.executable, "-c", SIGNALS], cwd=Path(__file__).parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
