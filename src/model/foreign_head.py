"""What files of cirtorch and dirtorch say beside the weights of a ResNet: normalisation, pooling, layers, whitening."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

from ..artifacts import PathLike
from ..config import ARCHITECTURES
from ..errors import UserError, printable
from .architectures import Style
from .checkpoint_file import require_weights
from .foreign_names import PREFIX
from .torch_file import is_torch, read_torch

Layer = Tuple[np.ndarray, np.ndarray]
_STATES = ("state_dict", "model", "model_state_dict")  # entries that hold the network's tensors, if any does
_TOLERANCE = 1e-3  # of a mean or deviation, in units of 255
_PCA = {"mean": "mean_", "components": "components_", "explained_variance": "explained_variance_"}  # scikit-learn's


@dataclass(frozen=True, eq=False)
class ForeignHead:
    """What follows the last map of a network of cirtorch or dirtorch.

    Attributes:
        pooling: its name there, such as "gem"; "" where the file does not say.
        gem_p: power of GeM, [1] or [C]; None = no learned one.
        fc: weight [D, C] and bias [D] of dirtorch's layer after pooling.
        whiten: the same of cirtorch's.
        regional_whiten: the same of cirtorch's, for each region.
        whitenings: arrays of a whitening fitted afterwards, by the name of its data: mean [C], components [D, C] and
            explained_variance [D] (dirtorch), or m [C, 1] and P [D, C] (cirtorch, whose names end in /ss and /ms).
    """

    pooling: str = ""
    gem_p: Optional[np.ndarray] = None
    fc: Optional[Layer] = None
    whiten: Optional[Layer] = None
    regional_whiten: Optional[Layer] = None
    whitenings: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)


def state_of(content: Mapping[Any, Any]) -> Dict[str, np.ndarray]:
    """The tensors of what ``read_torch`` gives, which may lie one dictionary deeper."""
    found = next((content[key] for key in _STATES if isinstance(content.get(key), dict)), content)
    return {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, np.ndarray)}


def read_head(path: PathLike) -> ForeignHead:
    """What a file of cirtorch or dirtorch says of pooling, layers after it, and whitening; all empty for any other.

    Raises:
        UserError: see ``read_torch``.
    """
    path = require_weights(path, "checkpoint_path")
    if not is_torch(path):
        return ForeignHead()
    content = read_torch(path)
    tensors = {PREFIX.sub("", name): value for name, value in state_of(content).items()}
    power = next((tensors[name] for name in ("pool.p", "adpool.p", "pool.rpool.p") if name in tensors), None)
    options = {**_mapping(content, "model_options"), **_mapping(content, "meta")}
    is_dirtorch = "adpool.p" in tensors or "_rmac" in str(options.get("arch", ""))
    pooling = options.get("pooling", "gem" if power is not None else "")
    return ForeignHead(
        pooling if isinstance(pooling, str) else "",
        None if power is None else power.reshape(-1),
        _layer(tensors, "fc") if is_dirtorch else None,  # elsewhere ImageNet's classifier
        _layer(tensors, "whiten"),
        _layer(tensors, "pool.whiten"),
        _whitenings(content),
    )


def _mapping(content: Mapping[Any, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _layer(tensors: Mapping[str, np.ndarray], name: str) -> Optional[Layer]:
    parts = [tensors.get(f"{name}.{kind}") for kind in ("weight", "bias")]
    return (parts[0], parts[1]) if all(part is not None for part in parts) else None


def _whitenings(content: Mapping[Any, Any]) -> Dict[str, Dict[str, np.ndarray]]:
    found = {}
    for name, values in _mapping(content, "pca").items():
        if isinstance(values, dict):
            found[str(name)] = {ours: values[theirs] for ours, theirs in _PCA.items() if theirs in values}
    for name, kinds in _mapping(_mapping(content, "meta"), "Lw").items():
        for kind, values in kinds.items() if isinstance(kinds, dict) else ():
            found[f"{name}/{kind}"] = values
    if {"m", "P"} <= set(content):  # cirtorch's cache of one
        found[""] = {key: content[key] for key in ("m", "P")}
    return {
        name: dict(values)
        for name, values in found.items()
        if isinstance(values, dict) and values and all(isinstance(value, np.ndarray) for value in values.values())
    }


def require_fitting(path: Path, content: Mapping[Any, Any], architecture: str, style: Style) -> None:
    """UserError where a file says that it is of another network or takes pixels otherwise than its weights' style.

    Args:
        path: the file.
        content: of ``read_torch``.
        architecture: that its names are of, "" where they are of none.
        style: of its weights.
    """
    meta, preprocess = _mapping(content, "meta"), _mapping(content, "preprocess")
    named = meta.get("architecture") or _mapping(content, "model_options").get("arch")
    if isinstance(named, str):
        known = re.match(r"resnet\d+(?=_|$)", named)
        if not known or known[0] not in ARCHITECTURES:
            choices = ", ".join(ARCHITECTURES)
            raise UserError(f"{path}: weights of {printable(named[:40])}, which no `architecture` is; give {choices}")
        if architecture and known[0] != architecture:
            raise UserError(f"{path}: says that it is {known[0]} and holds {architecture}; give another file")
    for key, ours in (("mean", style.pixel_offset), ("std", style.pixel_scale)):
        theirs = meta.get(key, preprocess.get(key))
        if theirs is None:
            continue
        try:
            fits = np.allclose(np.array(theirs, float), np.array(ours) / 255, rtol=0, atol=_TOLERANCE)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            what = f"pixels with `{key}` {printable(str(theirs)[:60])}"
            wanted = ", ".join(f"{value / 255:.3f}" for value in ours)
            raise UserError(f"{path}: takes {what}, `weights_style` {style.name} has {wanted}; give another file")
