"""What a log, which is no terminal, is told of a long extraction."""

import logging

from src.features import progress
from src.features.progress import Progress


def test_lines_now_and_then_with_rate_and_remaining_time(monkeypatch, caplog):
    clock = iter([100.0, 110.0, 130.0, 135.0, 140.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress, "tqdm", lambda **_: type("Bar", (), {"disable": True, "update": int, "close": int}))
    caplog.set_level(logging.INFO)
    with Progress(600) as counter:
        counter.advance(2)  # too early for a line
        counter.advance(58)
        counter.advance(-4)  # of a worker that died
    assert [record.getMessage() for record in caplog.records] == [
        "60 of 600 photos, 2.00 images/s, 4 min left",  # 540 / 2 = 270 s
        "56 photos in 40.0 s, 1.40 images/s",
    ]
