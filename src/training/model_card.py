"""The model card of a finished stage: what its checkpoint was made of, its cost, and what is left to say by hand."""

import os
import platform
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from ..artifacts import git_commit, versions
from ..config import KEYS, METRIC_STAGES, definition_of
from ..data.summary import DatasetInfo
from .progress import Line

_BY_HAND = "_to be filled in_"
_NOT_SAID = {"save_ckpt", "traindata_path", "checkpoint_path", "imagenet_checkpoint", "cache_path", "overwrite"}


def peak_memory() -> float:
    """The most memory this process has held, GB."""
    import resource  # no Windows has it

    unit = 1 if platform.system() == "Darwin" else 1024  # bytes there, kB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def model_card(
    checkpoint: Path,
    recipe: Mapping[str, Any],
    sources: Mapping[str, str],
    metrics: List[Line],
    info: DatasetInfo,
    device: str,
) -> str:
    """The card as Markdown.

    Args:
        checkpoint: the last one.
        recipe: every key of the run with its value; those that are not the default are written.
        sources: identities of the data set and of the starting weights.
        metrics: of the whole run, in the order of its steps.
        info: the data set.
        device: what it ran on.
    """
    stage, last = recipe["train_state"], next((line for line in reversed(metrics) if "seconds" in line), {})
    weights = {name: value for name, value in sources.items() if name not in ("dataset", "pairs_sha256")}
    started = ", ".join(f"{name.removesuffix('_sha256')} (SHA-256 {value})" for name, value in weights.items())
    lines = [
        f"# {checkpoint.name}",
        "",
        f"{_kind(stage)}, stage `{stage}`, {recipe['architecture']} in style {recipe['weights_style']}. Written by the "
        f"training run; what is {_BY_HAND} is not known to it.",
        "",
        "## Made of",
        "",
        f"- Starting weights: {started or 'random'}",
        f"- Data set: {info.num_train} training photos of {info.num_classes} classes, {info.num_validation} to "
        f"validate; fingerprint {sources.get('dataset', 'unknown')}",
        f"- Photos, their source and their rights: {_BY_HAND}",
        "",
        "## Recipe",
        "",
        "Keys that are not the default:",
        "",
        *(f"- `{name}`: {value}" for name, value in _changed(recipe).items()),
        "",
        "## Figures",
        "",
        *_figures(metrics),
        f"- Retrieval on landmarks it was not trained on (mAP, interval, protocol): {_BY_HAND}",
        f'- "Same place" answers, false alarms and misses: {_BY_HAND}',
        "",
        "## Cost",
        "",
        f"- {_duration(last.get('seconds'))} on {device}, {os.cpu_count()} processor cores, {platform.machine()}",
        f"- Memory at most: {last.get('peak_memory_gb', 0):.1f} GB",
        f"- Energy: {_BY_HAND} (not measured; time times the power of the machine is a bound)",
        f"- Made with {', '.join(f'{name} {version}' for name, version in versions().items() if version)}; "
        f"commit {git_commit() or 'unknown'}",
        "",
        "## Good and bad at",
        "",
        f"- {_BY_HAND}: which photos it finds, which it confuses, where it should not be used",
        "",
    ]
    return "\n".join(lines)


def _kind(stage: str) -> str:
    return "HOW" if stage == "how" else "Global descriptor" if stage in METRIC_STAGES else "DELF"


def _changed(recipe: Mapping[str, Any]) -> Dict[str, Any]:
    def default(name: str) -> Any:
        value = definition_of(name).default
        return list(value) if isinstance(value, tuple) else value

    names = [name for name in KEYS if name in recipe and name not in _NOT_SAID]
    return {name: recipe[name] for name in names if recipe[name] != default(name)}


def _figures(metrics: List[Line]) -> List[str]:
    found: List[str] = []
    for kind, title in (("", "Training, last report"), ("validation_", "Validation, last")):
        line: Optional[Line] = next((line for line in reversed(metrics) if f"{kind}losses" in line), None)
        if line is not None:
            losses, accuracies = line[f"{kind}losses"], line[f"{kind}accuracies"]
            heads = (f"{head} loss {losses[head]:.3f}, accuracy {100 * accuracies[head]:.1f} %" for head in losses)
            found.append(f"- {title} (step {line['step']}): {'; '.join(heads)}")
    best = max((line["validation_map"] for line in metrics if "validation_map" in line), default=None)
    if best is not None:
        found.append(f"- Validation photos finding each other, best: mAP {100 * best:.1f} %")
    return found


def _duration(seconds: Optional[float]) -> str:
    if seconds is None:
        return "Time not recorded"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
