"""The benchmark of aggregated local features: what is computed for more photos, and a run on a few."""

import re
import runpy
from pathlib import Path

import pytest

from src.errors import UserError

benchmark = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "benchmarks" / "aggregated.py"))


def test_what_is_not_measured_is_computed():
    built = benchmark["Built"](30, 10, 2e9)
    searched = benchmark["Searched"](0.25, 0.35, 0.05, 1e9, 0.9)
    assert benchmark["row"]("asmk", 100, 1, built, searched, 5e5) == (
        "| asmk | 100 | 30 s | 10 s | 2.00 GB | 1.00 GB | 5.00 kB | 250.0 | 350.0 | 50.0 | 90.0 % |"
    )
    # 10 + 20 x 10 s; 0.05 s for the words and ten times the rest
    assert benchmark["row"]("asmk", 100, 10, built, searched, 5e5) == (
        "| asmk | 1,000 (computed) | 210 s | 10 s |  |  | 5.00 kB | 2050.0 | 3050.0 | 50.0 |  |"
    )


def test_each_searcher_finds_what_is_planted(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(benchmark["main"].__globals__, "_apart", lambda function, *arguments: function(*arguments))
    small = [f"--work_dir={tmp_path}/work", "--num_photos=30", "--num_queries=2", "--num_features=50", "--planted=2"]
    benchmark["main"]([*small, "--codebook_size=16", "--searchers", "asmk_star", "votes", "--target", "60"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| asmk_star"] * 2 + ["| votes"] * 2
    assert float(re.search(r"([\d.]+) % \|$", rows[2])[1]) >= 50 and not re.search(r"inf|nan", "".join(rows))
    with pytest.raises(UserError, match="--num_photos is 30; give"):
        benchmark["main"]([*small, "--target", "9"])
