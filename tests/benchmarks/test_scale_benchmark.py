"""The simulator of many shards: its arithmetic by hand, and a run on a few."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from src.errors import UserError

benchmark = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "benchmarks" / "scale.py"))


def test_a_round_lasts_as_long_as_its_slowest_actor(monkeypatch):
    scope = benchmark["computed_seconds"].__globals__
    monkeypatch.setitem(scope, "_STRAGGLERS", 0.0)
    rounds = [benchmark["Asked"]([1, 2, 3, 4], 10**6, 5 * 10**5, 5 * 10**5), benchmark["Asked"]([1], 0, 0, 0)]
    seconds = benchmark["computed_seconds"](rounds, 2, 0.0, 1.0, 0)
    # shards 1 and 3 take 6 s together; 3 MB by one gigabit a second 0.024 s; two rounds of 2 ms
    np.testing.assert_allclose(seconds, 6 + 0.024 + 1 + 0.004)
    monkeypatch.setitem(scope, "_STRAGGLERS", 1.0)
    np.testing.assert_allclose(benchmark["computed_seconds"](rounds, 2, 0.0, 1.0, 0), 60 + 0.024 + 10 + 0.004)


@pytest.mark.parametrize("searcher", ["votes", "asmk_star"])
def test_a_few_shards(tmp_path, capsys, searcher):
    small = ["--num_shards=6", "--distinct=2", "--shard_photos=4", "--num_queries=2", "--num_features=30"]
    benchmark["main"]([f"--work_dir={tmp_path}/work", *small, f"--searcher={searcher}", "--codebook_size=0"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{searcher}, 6 shards, 24 photos: ")
    rounds = [line for line in lines[4 : lines.index("", 4)]]
    assert [row.split(" | ")[1] for row in rounds][: 1 if searcher == "asmk_star" else 2] == ["6"] * (
        1 if searcher == "asmk_star" else 2
    )
    assert lines[-1].startswith("| 1 | ")
    with pytest.raises(UserError, match="--distinct"):
        benchmark["main"]([*small, "--distinct=7"])
