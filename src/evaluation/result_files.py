"""mAP.txt in the reference's format, and results.json beside it."""

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from ..artifacts import PathLike, atomic_write_json, atomic_write_text, digest, git_commit, versions
from ..errors import UserError
from .ground_truth import GroundTruth
from .metrics import MeanMetrics, Metrics
from .protocols import Evaluation
from .summaries import summarise

_BLOCK = re.compile(
    r"\s*(?P<name>\S+)[ \t]*\n"
    r"\s*mAP=(?P<mAP>\S+)[ \t]*\n"
    r"\s*mP@k\[(?P<depths>[^\]]*)\] \[(?P<mP>[^\]]*)\][ \t]*\n"
    r"\s*mR@k\[(?P<recall_depths>[^\]]*)\] \[(?P<mR>[^\]]*)\][ \t]*(?:\n|$)"
)


def format_metrics(means: Mapping[str, MeanMetrics]) -> str:
    """The text of mAP.txt: settings sorted by name, percent, two decimals, arrays as NumPy prints them."""
    lines = []
    for name in sorted(means):
        mean_average_precision, depths, precisions, recalls = means[name]
        lines += [
            name,
            f"  mAP={_percent(mean_average_precision)}",
            f"  mP@k{_show(np.array(depths, dtype=int))} {_show(_percent(precisions))}",
            f"  mR@k{_show(np.array(depths, dtype=int))} {_show(_percent(recalls))}",
        ]
    return "\n".join(lines) + "\n"


def _percent(fractions: Any) -> Any:
    return np.around(np.asarray(fractions, dtype=np.float64) * 100, decimals=2)


def _show(values: np.ndarray) -> str:
    return np.array2string(values, max_line_width=10**6, threshold=10**6)  # one line whatever the length


def parse_metrics(text: str) -> Dict[str, MeanMetrics]:
    """Read the text of mAP.txt back, as fractions; indentation may be missing, as in the model zoo's README.

    Raises:
        ValueError: 'Malformed input', with the line or setting at fault.
    """
    means: Dict[str, MeanMetrics] = {}
    position = 0
    while text[position:].strip():
        block = _BLOCK.match(text, position)
        if block is None:
            raise ValueError(f"Malformed input: expected name, mAP=, mP@k, mR@k at {text[position:].strip()[:40]!r}")
        position = block.end()
        name, depths = block["name"], tuple(int(depth) for depth in block["depths"].split())
        if name in means:
            raise ValueError(f"Malformed input: {name} appears twice")
        precisions, recalls = (tuple(float(value) / 100 for value in block[key].split()) for key in ("mP", "mR"))
        if block["recall_depths"].split() != block["depths"].split() or not (
            len(depths) == len(precisions) == len(recalls)
        ):
            raise ValueError(f"Malformed input: {name}: mP@k and mR@k differ in their depths or numbers")
        means[name] = MeanMetrics(float(block["mAP"]) / 100, depths, precisions, recalls)
    if not means:
        raise ValueError("Malformed input: no metrics")
    return means


def read_metrics_file(path: PathLike) -> Dict[str, MeanMetrics]:
    """``parse_metrics`` of a file; UserError when it cannot be read or is malformed."""
    try:
        return parse_metrics(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a metrics file: {error}") from error


def table_rows(means: Mapping[str, MeanMetrics]) -> List[List[str]]:
    """Cells of a table in percent: a heading, then a row of precisions and one of recalls for each setting."""
    depths = next(iter(means.values())).pr_ranks
    rows = [["setting", "mAP", "", *(f"@{depth}" for depth in depths)]]
    for name in sorted(means):
        mean_average_precision, _, precisions, recalls = means[name]
        rows.append(
            [name, f"{mean_average_precision * 100:.2f}", "mP", *(f"{value * 100:.2f}" for value in precisions)]
        )
        rows.append(["", "", "mR", *(f"{value * 100:.2f}" for value in recalls)])
    return rows


def format_table(means: Mapping[str, MeanMetrics]) -> str:
    """``table_rows`` for the terminal."""
    return "\n".join(f"{row[0]:10}" + "".join(f"{cell:>7}" for cell in row[1:]) for row in table_rows(means))


def save_results(
    path: PathLike,
    ground_truth: GroundTruth,
    evaluation: Evaluation,
    provenance: Mapping[str, Any],
    overwrite: bool = False,
) -> Path:
    """Write mAP.txt to ``path`` and results.json into the same folder.

    Args:
        path: the metrics file.
        ground_truth: what ``evaluation`` was made with.
        evaluation: the numbers.
        provenance: where the ranking came from; ``checkpoint_sha256`` is taken from it, at any depth.
        overwrite: replace files of another ranking, ground truth or protocol.

    Returns:
        Path of results.json.

    Raises:
        UserError: other results are there and ``overwrite`` is off.
    """
    path = Path(path)
    results = describe(ground_truth, evaluation, provenance)
    text = format_metrics({name: setting.means() for name, setting in evaluation.metrics.items()})
    results_path = path.with_name("results.json")
    if not overwrite:
        _refuse_other_figures(path, text)
        _refuse_other_results(results_path, results)
    atomic_write_json(results_path, results)
    atomic_write_text(path, text)
    return results_path


def _refuse_other_figures(path: Path, text: str) -> None:
    if path.exists() and path.read_bytes() != text.encode():
        raise UserError(f"{path}: holds other figures; give `overwrite` to replace them, or another `output`")


def _refuse_other_results(path: Path, results: Mapping[str, Any]) -> None:
    try:
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else results
        same = all(earlier[key] == results[key] for key in ("protocol", "ground_truth_digest", "metrics"))
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise UserError(f"{path}: holds other results; give `overwrite` to replace them, or `output` in another folder")


def describe(ground_truth: GroundTruth, evaluation: Evaluation, provenance: Mapping[str, Any]) -> Dict[str, Any]:
    """The content of results.json: unrounded fractions, per query too, and what they were made with."""
    names = [query.name for query in ground_truth.queries]
    content = dataclasses.asdict(ground_truth)
    return {
        "protocol": evaluation.protocol,
        "ground_truth": ground_truth.name,
        "ground_truth_digest": digest({part: content[part] for part in ("queries", "index_names")}),
        "index_size": evaluation.index_size,
        "notes": list(evaluation.notes),
        "missing_images": list(evaluation.missing),
        **summarise(ground_truth, evaluation),
        "metrics": {name: _describe_setting(names, setting) for name, setting in evaluation.metrics.items()},
        "settings": dict(provenance),
        "checkpoint_sha256": find_value(provenance, "checkpoint_sha256"),
        "versions": versions(),
        "git_commit": git_commit(),
    }


def _describe_setting(names: List[str], metrics: Metrics) -> Dict[str, Any]:
    means = metrics.means()
    return {
        "mAP": _number(means.mean_average_precision),
        "k": list(means.pr_ranks),
        "mP@k": [_number(value) for value in means.mean_precisions],
        "mR@k": [_number(value) for value in means.mean_recalls],
        "num_queries": len(names),
        "num_queries_with_positives": metrics.num_valid,
        "queries": {
            name: {
                "AP": _number(metrics.average_precisions[row]),
                "P@k": [_number(value) for value in metrics.precisions[row]],
                "R@k": [_number(value) for value in metrics.recalls[row]],
            }
            for row, name in enumerate(names)
        },
    }


def _number(value: float) -> Optional[float]:
    return None if math.isnan(value) else float(value)  # JSON has no NaN


def find_value(nested: Mapping[str, Any], key: str) -> Any:
    """The first value under ``key`` at any depth of dictionaries, or None."""
    if key in nested:
        return nested[key]
    inner = (find_value(value, key) for value in nested.values() if isinstance(value, Mapping))
    return next((value for value in inner if value is not None), None)
