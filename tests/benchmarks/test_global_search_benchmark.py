"""The benchmark of global descriptors prints a row for each re-ranking, and draws photos of landmarks."""

import runpy
from pathlib import Path

import numpy as np

benchmark = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "benchmarks" / "global_search.py"))


def test_photos_of_a_landmark_are_alike():
    drawn = benchmark["Drawn"](500, 512, 0)
    vectors, landmarks = drawn.draw(300, 1)
    similarities = vectors @ vectors.T
    same = landmarks[:, None] == landmarks
    apart = ~np.eye(300, dtype=bool)
    assert abs(similarities[same & apart].mean() - 0.5) < 0.05 and similarities[~same].mean() < 0.1
    np.testing.assert_array_equal(drawn.draw(300, 1)[0], vectors)
    assert sum(len(rows) for _, rows, _ in drawn.chunks()) == 500


def test_the_tool_prints_a_row_for_each_rerank(tmp_path, capsys):
    small = ["--num_photos=300", "--dimension=16", "--num_queries=3", f"--work_dir={tmp_path}", "--index_type=SQ8"]
    benchmark["main"]([*small, "--steps", "none", "dba,alpha_qe"])
    head, _, _, plain, expanded = capsys.readouterr().out.splitlines()
    assert head.startswith("300 x 16, SQ8: 0 MB") and not list(tmp_path.iterdir())
    assert plain.startswith("| none |") and "| 1.000 |" in plain  # compared by the vectors themselves
    assert expanded.startswith("| dba,alpha_qe |")
