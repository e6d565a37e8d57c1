"""What a report was made of and with: the lines at its end, and what tells one report from another."""

from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from ..artifacts import git_commit, versions
from ..evaluation.result_files import find_value
from .inliers import FeatureFiles
from .results import Judgement, ShownQuery

_NOT_SHOWN = ("config_hash", "photos", "format_version")  # of use to programs only
_LAYOUT = 2  # raise it when the page changes: then a page of an older program is not taken for this one's


def identity(
    queries: Sequence[ShownQuery],
    files: Mapping[str, Optional[Path]],
    judgement: Optional[Judgement],
    features: Optional[FeatureFiles],
    provenance: Mapping[str, Any],
) -> Dict[str, Any]:
    """All that the page's content depends on, but for the versions of programs."""
    content: Dict[str, Any] = {"layout": _LAYOUT, "provenance": provenance}
    content["queries"] = [query._replace(curve=None) for query in queries]
    content["photos"] = {name: file.stat().st_size if file else None for name, file in files.items()}
    if judgement:
        truth, evaluation = judgement
        means = {name: metrics.means() for name, metrics in evaluation.metrics.items()}
        content["judged"] = (truth.name, evaluation.protocol, means, evaluation.notes)
    if features:
        content["features"] = features.attributes()
        content["settings"] = features.settings
    return content


def provenance_facts(
    judgement: Optional[Judgement], provenance: Mapping[str, Any], rung: Tuple[int, int]
) -> Dict[str, Any]:
    """What the page was made with, by its name on the page; the empty ones are not known.

    Args:
        judgement: what the figures come from, if any.
        provenance: of the ranking.
        rung: longer side and JPEG quality of the thumbnails.
    """
    facts: Dict[str, Any] = {}
    if judgement:
        truth, evaluation = judgement
        facts["Ground truth"] = f"{truth.name}, {len(truth.queries)} queries"
        facts["Protocol"] = evaluation.protocol
        facts["Notes"] = "; ".join(evaluation.notes)
        facts["Not in the index"] = f"{len(evaluation.missing)} named photos" if evaluation.missing else ""
    facts["Checkpoint"] = (find_value(provenance, "checkpoint_sha256") or "")[:12]
    facts["PCA"] = (find_value(provenance, "pca") or "")[:12]
    facts["Extraction"] = _show(provenance.get("query_features", {}))
    facts["Index"] = _show(provenance.get("index", {}))
    facts["Retrieval"] = _show(provenance.get("retrieval", {}))
    facts["Versions"] = _show(versions())
    facts["Commit"] = git_commit()
    facts["Thumbnails"] = f"{rung[0]} pixels, JPEG quality {rung[1]}"
    return facts


def _show(settings: Mapping[str, Any]) -> str:
    """Settings on one line, without checksums, what is not set and what lies deeper."""
    plain = {name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in settings.items()}
    shown = {
        name: value
        for name, value in plain.items()
        if name not in _NOT_SHOWN and value not in ("", None) and not isinstance(value, dict) and len(str(value)) < 64
    }
    return "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in sorted(shown.items()))
