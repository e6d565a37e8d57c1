"""Damaged files of every kind are read or answered by one sentence; ``fuzz.py`` tries more of them."""

from tests.fuzz.fuzz import fuzz
from tests.fuzz.kinds import KINDS

MUTATIONS = 100


def test_damaged_files_are_read_or_refused_in_one_sentence(tmp_path):
    report = fuzz(list(KINDS), MUTATIONS, tmp_path)
    assert report.failures == []
    for kind in KINDS:
        assert report.read[kind] + report.refused[kind] == MUTATIONS
        assert report.refused[kind] > MUTATIONS / 10, f"{kind}: nothing that was done to it mattered"


def test_what_no_reader_may_do_is_told(tmp_path):
    report = fuzz(["bad"], 12, tmp_path, module="tests.fuzz.bad_kinds")
    told = [failure.what for failure in report.failures]
    for fault in ("ended with status -11", "files outside the output", "ValueError: a bug"):
        assert any(fault in what for what in told)
    assert report.read["bad"] == 12 - len(told) > 0
