"""The figures of a ranking as a table, as mAP.txt in the reference's format, and as results.json beside it."""

import json
import math
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from ..artifacts import (
    PathLike,
    atomic_path,
    atomic_write_json,
    atomic_write_text,
    digest,
    git_commit,
    is_made,
    versions,
)
from ..errors import UserError, printable, reading
from ..outside import read_bounded
from ..records import Provenance
from .evaluate import Evaluation, extra_figures
from .ground_truth import GroundTruth
from .metrics import MeanMetrics, Metrics


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


def format_extra_figures(extra: Mapping[str, Any]) -> str:
    """Lines for the terminal of what ``extra_figures`` gives."""
    lines = [
        f"{printable(landmark):20}{100 * value:9.2f}\n" for landmark, value in extra.get("mAP_by_landmark", {}).items()
    ]
    if lines:
        lines.insert(0, "mAP by landmark\n")
    if "N-S" in extra:
        lines.append(f"N-S score {extra['N-S']:.4f}\n")
    lines += [f"{name:10}{100 * share:7.2f}\n" for name, share in extra.get("top-k", {}).items()]
    return "".join(lines)


def save_results(
    path: PathLike,
    ground_truth: GroundTruth,
    evaluation: Evaluation,
    provenance: Provenance,
    overwrite: bool = False,
) -> Path:
    """Write mAP.txt to ``path`` and results.json into the same folder; both are kept where they are made already.

    Args:
        path: the metrics file.
        ground_truth: what ``evaluation`` was made with.
        evaluation: the figures.
        provenance: how the ranking was made.
        overwrite: replace files of another ranking, ground truth or protocol.

    Returns:
        Path of results.json.

    Raises:
        UserError: other results are there and ``overwrite`` is off.
    """
    path = Path(path)
    results_path = path.parent / "results.json"
    if path == results_path:
        raise UserError(f"{path}: is the file beside the metrics file; give `output` another name, such as mAP.txt")
    results = results_as_json(ground_truth, evaluation, provenance)
    text = format_metrics({name: setting.means() for name, setting in evaluation.metrics.items()})
    made = [
        is_made(path, _provenance_of_text(text), _read_figures, overwrite),
        is_made(results_path, _provenance_of_results(results), _read_provenance, overwrite),
    ]
    if not all(made):
        with atomic_path(results_path) as temporary:  # renamed when both are written
            atomic_write_json(temporary, results)
            atomic_write_text(path, text)
    return results_path


def _provenance_of_text(text: str) -> Provenance:
    """mAP.txt does not say where it comes from: its figures tell it from another."""
    return Provenance(sources={"figures": digest({"text": text})})


def _read_figures(path: Path) -> Provenance:
    return _provenance_of_text(read_bounded(path, "output").decode("utf-8", "replace"))


def _provenance_of_results(results: Mapping[str, Any]) -> Provenance:
    """What tells one results.json from another: the ranking, how it was judged, and the figures."""
    ranking = Provenance.from_json(results["settings"])
    judged = {"protocol": results["protocol"], "ground_truth": results["ground_truth_digest"]}
    return Provenance(
        ranking.weights,
        ranking.encoder,
        ranking.settings,
        {**ranking.sources, **judged, "figures": digest({"metrics": results["metrics"]})},
    )


def _read_provenance(path: Path) -> Provenance:
    """Of a results.json; one that nothing equals where the file is something else."""
    try:
        with reading(path):
            return _provenance_of_results(json.loads(read_bounded(path, "results.json")))
    except UserError:
        return Provenance(sources={"figures": ""})


def results_as_json(ground_truth: GroundTruth, evaluation: Evaluation, provenance: Provenance) -> Dict[str, Any]:
    """The content of results.json: unrounded fractions, per query too, and what they were made with."""
    names = [query.name for query in ground_truth.queries]
    queries = [vars(query) for query in ground_truth.queries]
    return {
        "protocol": evaluation.protocol,
        "ground_truth": ground_truth.name,
        "ground_truth_digest": digest({"queries": queries, "index_names": ground_truth.index_names}),
        "index_size": evaluation.index_size,
        "notes": list(evaluation.notes),
        "missing_images": list(evaluation.missing),
        **extra_figures(ground_truth, evaluation),
        "metrics": {name: _setting_as_json(names, setting) for name, setting in evaluation.metrics.items()},
        "settings": provenance.as_json(),
        "checkpoint_sha256": provenance.weights or None,
        "versions": versions(),
        "git_commit": git_commit(),
    }


def read_results(path: PathLike) -> Dict[str, Any]:
    """What a comparison needs of a results.json: protocol, ground truth, index size, and mAP and each query's AP.

    Raises:
        UserError: no such file, or not a results.json.
    """
    with reading(path, "give a results.json that the command compute_map made"):
        results = _checked(json.loads(read_bounded(path, "results.json")), dict)
        texts = {name: _checked(results[name], str) for name in ("protocol", "ground_truth", "ground_truth_digest")}
        metrics = {}
        for name, setting in _checked(results["metrics"], dict).items():
            queries = _checked(_checked(setting, dict)["queries"], dict)
            found = {query: {"AP": _fraction(_checked(values, dict)["AP"])} for query, values in queries.items()}
            metrics[name] = {"mAP": _fraction(setting["mAP"]), "queries": found}
        return {**texts, "index_size": _checked(results["index_size"], int), "metrics": metrics}


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value


def _fraction(value: Any) -> Optional[float]:
    if value is not None and not (isinstance(value, (int, float)) and 0 <= value <= 1):
        raise ValueError("a mean or average precision that is not between 0 and 1")
    return value


def _setting_as_json(names: List[str], metrics: Metrics) -> Dict[str, Any]:
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
