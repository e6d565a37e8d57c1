"""A reader of mAP.txt for tests: it takes the reference's layout and nothing else."""

import re
from pathlib import Path

from src.evaluation.metrics import MeanMetrics

_BLOCK = re.compile(r"(\S+)\n *mAP=(\S+)\n *mP@k\[([^]]*)\] \[([^]]*)\]\n *mR@k\[([^]]*)\] \[([^]]*)\]\n")


def parse_metrics(text):
    """MeanMetrics, as fractions, by setting."""
    blocks = _BLOCK.findall(text)
    assert blocks and _BLOCK.sub("", text) == "", f"not the layout of mAP.txt:\n{text}"
    means = {}
    for name, mean, depths, precisions, recall_depths, recalls in blocks:
        assert depths.split() == recall_depths.split() and name not in means
        values = [tuple(float(value) / 100 for value in numbers.split()) for numbers in (precisions, recalls)]
        means[name] = MeanMetrics(float(mean) / 100, tuple(map(int, depths.split())), *values)
        assert len(depths.split()) == len(values[0]) == len(values[1])
    return means


def read_metrics_file(path):
    """``parse_metrics`` of a file."""
    return parse_metrics(Path(path).read_text(encoding="utf-8"))
