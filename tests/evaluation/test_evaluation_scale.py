"""Size and speed: 55 queries on 5,063 photos, and 70 queries on a million, through the real command."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from src.evaluation.evaluate import evaluate
from src.evaluation.ground_truth import GroundTruth, QueryTruth
from src.records import Ranking

ROOT = Path(__file__).resolve().parents[2]
# Runs the command in a child and reports that child's peak memory in kilobytes, whatever it was.
MEASURE = (
    "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:]); "
    "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(status)"
)


def test_oxford_in_a_second():
    random = np.random.default_rng(0)
    index = [f"photo_{number:06}" for number in range(5063)]
    queries = []
    for number in range(55):
        good, ok, junk = np.split(random.choice(index, 150, replace=False), [40, 120])
        queries.append(QueryTruth(f"landmark_{number}", index[number], None, {"good": good, "ok": ok, "junk": junk}))
    ranks = np.argsort(random.random((55, 5063)), axis=1)
    scores = np.tile(np.arange(5063, 0, -1), (55, 1))
    truth = GroundTruth("speed", "text", tuple(queries))
    for protocol in ("classic", "modelzoo"):
        start = time.process_time()
        evaluate(truth, Ranking([query.name for query in queries], index, ranks, scores), protocol)
        assert time.process_time() - start < 1


def write_million(folder, num_queries=70, num_photos=1_001_001, num_benchmark=4993):
    """A ranking file and a revisited pickle of the size of ROxford5k + R1M."""
    random = np.random.default_rng(0)
    benchmark = [f"landmark_{number:06}" for number in range(num_benchmark)]
    queries = [f"query_{number:06}" for number in range(num_queries)]
    index = np.array(benchmark + [f"distractors/{n % 100}/{n:032x}" for n in range(num_photos - num_benchmark)])
    gnd = [dict(zip(("easy", "hard", "junk"), random.permutation(num_benchmark)[:300].reshape(3, 100).tolist()))
           for _ in queries]  # fmt: skip
    (folder / "gnd_million.pkl").write_bytes(pickle.dumps({"imlist": benchmark, "qimlist": queries, "gnd": gnd}))
    row = np.arange(num_photos, dtype=np.int32)
    ranks = np.stack([random.permutation(row) for _ in queries])
    scores = np.broadcast_to(-row.astype(np.float32), ranks.shape)
    np.savez(folder / "ranks.npz", query_names=queries, index_names=index, ranks=ranks, scores=scores)


def cpu_seconds_of_children():
    used = os.times()
    return used.children_user + used.children_system


@pytest.mark.slow
def test_million_photos(tmp_path):
    write_million(tmp_path)
    command = [
        sys.executable,
        str(ROOT / "eval/compute_map.py"),
        "--ranks",
        "ranks.npz",
        "--gt_path",
        "gnd_million.pkl",
    ]
    start = cpu_seconds_of_children()
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], cwd=tmp_path, capture_output=True, text=True)
    seconds = cpu_seconds_of_children() - start  # other processes may keep the cores
    os.unlink(tmp_path / "ranks.npz")  # 0.8 GB
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.split()[-1]) / 1e6
    print(f"{seconds:.1f} s, {peak:.2f} GB")
    assert seconds < 60 and peak < 3
    assert "996008 photos of the index are none of gnd_million's" in done.stderr
