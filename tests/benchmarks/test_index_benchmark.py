"""The scale table: what is measured, and that the rest follows from it by the number of photos."""

import re
import runpy
from pathlib import Path

import pytest

from src.errors import UserError
from tools.benchmarks.index_cost import Cost, Timing

benchmark = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "benchmarks" / "index.py"))
COST = Cost(
    fixed_bytes=1e9,
    memory_bytes=3e9,
    disk_bytes=4e9,
    train_seconds=60,
    add_seconds=30,
    peak_bytes=5e9,
    timings={5: Timing(1, 2, 3), 50: Timing(0.4, 8, 9)},
)


def test_what_is_not_measured_is_computed():
    row = benchmark["table_row"]
    assert row(5, 5, "X", COST, 7e9) == "| 5 | `X` | 3.00 GB | 4.00 GB | 7.00 GB | 90 s | 3.0 s | measured |"
    # 1 + 2 x 10 GB, and 10 more; 60 + 300 s; 8 s for 0.4 of the comparisons make 20, and 1 s for the rest
    assert (
        row(50, 5, "X", COST, 7e9) == "| 50 | `X` | 21.00 GB | 31.00 GB | 70.00 GB | 6 min | 21 s | computed from 5 |"
    )


def test_the_tool_prints_a_row_for_each_number_of_photos(tmp_path, capsys):
    small = [f"--work_dir={tmp_path}/work", "--num_photos=12", "--num_features=50", "--dimension=8"]
    small.append("--index_type=IVF4,Flat")
    benchmark["main"]([*small, "--targets", "12", "120"])
    _, _, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("| 12 | `IVF4,Flat` |") and first.endswith("| measured |")
    assert second.startswith("| 120 | `IVF4,Flat` |") and second.endswith("| computed from 12 |")
    assert not re.search(r"inf|nan", first + second)
    assert sorted(path.suffix for path in (tmp_path / "work").iterdir()) == [".h5", ".h5", ".json"]
    with pytest.raises(UserError, match="--num_photos is 12"):
        benchmark["main"]([*small, "--targets", "5"])
