"""What the recipe leaves open of a global descriptor, decided: by the export that is run, or by the weights' file."""

import json
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple, Union

import numpy as np

from ..config import GlobalConfig, ModelConfig
from ..engines import DELF_OUTPUTS, OUTPUTS, available_outputs, export_texts
from ..errors import UserError, reading
from ..model.foreign_head import ForeignHead, read_head
from ..model.own_head import OwnHead, read_own_head
from .heads import Head, Linear, RegionalAttention, as_text, from_text, make_head

OUTPUT_OF_LAYER = {"block3": "feature_map", "block4": "block4"}  # of the network
EXPORT_TEXT = "global"  # name of the text in an exported network that holds the following
_NAMES = ("pooling", "gem_p", "rmac_levels", "descriptor_layer", "head")
_LAYERS = ("head_layer", "region_layer")
_ATTENTION = ("w1", "b1", "w2", "b2")
_DEFAULTS: Dict[str, Any] = {"pooling": "gem", "gem_p": 3.0, "rmac_levels": 3, "descriptor_layer": "auto"}
_OPEN = (None, "auto")
_HOW = "how"  # what weights of HOW's network say in place of a pooling
# Names of other libraries' poolings; all else of theirs has the same name, or is not there
_THEIR_POOLINGS = {"max": "mac", "avg": "spoc", "gemmp": "gem", "rmac": "rmac_whole"}
_KNOWN = ("mac", "spoc", "gem", "rmac_whole", "regional")
_SAID = ("pooling", "rmac_levels", "descriptor_layer")  # by the text of this project's checkpoint


@dataclass(frozen=True, eq=False)
class GlobalSettings:
    """A section of the recipe with nothing left open, and the numbers that come with the weights.

    Attributes:
        descriptor: the section; its gem_p is None where ``gem_p`` is one for each channel.
        gem_p: power of GeM, a number or [C].
        head: layer after pooling, or None.
        region_layer: layer on each region's vector, or None.
        attention: of regions, for the pooling regional_attention.
    """

    descriptor: GlobalConfig
    gem_p: Union[float, np.ndarray]
    head: Optional[Head] = None
    region_layer: Optional[Linear] = None
    attention: Optional[RegionalAttention] = None

    @property
    def output(self) -> str:
        """Of the network, that is pooled."""
        return OUTPUT_OF_LAYER[self.descriptor.descriptor_layer]

    @property
    def scale_power(self) -> float:
        """Of the means of several scales that are power means: that of GeM, as in cirtorch, else 3."""
        is_gem = (self.descriptor.pooling, self.descriptor.scale_pooling) == ("gem", "gem")
        return float(self.gem_p) if is_gem and not np.ndim(self.gem_p) else 3.0

    def outputs(self, with_local: bool) -> Tuple[str, ...]:
        """What the network has to give, for DELF's local features too if asked."""
        wanted = {self.output, *(DELF_OUTPUTS if with_local else ())}
        return tuple(name for name in OUTPUTS if name in wanted)

    def as_text(self) -> str:
        """The text that carries all this in an exported network."""
        values: Dict[str, Any] = {name: getattr(self.descriptor, name) for name in _NAMES}
        values["gem_p"] = np.asarray(self.gem_p).tolist()
        layers = (self.head.linear if self.head else None, self.region_layer)
        values.update({name: layer.as_texts() for name, layer in zip(_LAYERS, layers) if layer})
        if self.attention:
            arrays = {name: as_text(getattr(self.attention, name)) for name in _ATTENTION}
            values["attention"] = {**arrays, "nonlinearity": self.attention.nonlinearity}
        return json.dumps(values)


def decide(descriptor: GlobalConfig, model: ModelConfig) -> GlobalSettings:
    """The section with nothing left open.

    What is open is as the export says, or the checkpoint of a training of global descriptors, or the file of cirtorch's
    or dirtorch's weights; else GeM with p = 3, three levels, no head, and block4 where the weights have it.

    Raises:
        UserError: no such file or a damaged one; a layer, a head or an attention of regions that it does not hold.
    """
    path = model.checkpoint_path
    texts = export_texts(path)
    found = _of_export(path, texts[EXPORT_TEXT]) if EXPORT_TEXT in texts else {} if texts else _of_file(path)
    if found.get("pooling") == _HOW and descriptor.pooling in _OPEN:
        raise UserError(f"{path}: HOW's network, which is for `features` local; give a `pooling`")
    given = {name: value for name in _NAMES if (value := getattr(descriptor, name)) not in _OPEN}
    values = {**_DEFAULTS, "head": "none", **found, **given}
    own_power = np.ndim(values["gem_p"]) > 0
    descriptor = descriptor.replace(**{name: values[name] for name in _NAMES if name != "gem_p" or not own_power})
    if descriptor.head not in ("none", found.get("head")):
        raise UserError(f"{path}: holds no head {descriptor.head} after the pooling; give `head` none")
    is_attended = descriptor.pooling == "regional_attention"
    if is_attended and "attention" not in found:
        raise UserError(f"{path}: holds no attention of regions; give another `pooling`")
    descriptor = descriptor.replace(descriptor_layer=_layer(descriptor.descriptor_layer, model))
    head = None
    if descriptor.head != "none":
        linear = found["head_layer"]
        head = make_head(descriptor.head, linear.weight, linear.bias)
    region_layer = found.get("region_layer") if descriptor.pooling == "regional" else None
    attention = found["attention"] if is_attended else None
    return GlobalSettings(descriptor, values["gem_p"], head, region_layer, attention)


def _layer(asked: str, model: ModelConfig) -> str:
    if asked == "block3":
        return asked
    has_block4 = "block4" in available_outputs(model)
    if asked == "block4" and not has_block4:
        fix = "give `descriptor_layer` block3, or weights with conv5"
        raise UserError(f"{model.checkpoint_path}: lacks conv5, and so block4; {fix}")
    return "block4" if has_block4 else "block3"


def _of_file(path: str) -> Dict[str, Any]:
    """What a file of weights says, ours or another library's."""
    own = read_own_head(path)
    return _of_checkpoint(path, own) if own.said else _of_foreign(read_head(path), path)


def _of_checkpoint(path: str, own: OwnHead) -> Dict[str, Any]:
    """What a checkpoint of a training of global descriptors says."""
    with reading(path, "give a checkpoint of this version"):
        found = {name: own.said[name] for name in _SAID if name in own.said}
        if found.get("pooling") != _HOW:
            _require_known(found)
        if own.gem_p is not None:
            found["gem_p"] = _power(own.gem_p)
        if own.layer is not None:
            found.update(head=own.head, head_layer=Linear(*own.layer))
        if own.attention:
            found["attention"] = RegionalAttention(**own.attention, nonlinearity=own.said["nonlinearity"])
        return found


def _power(numbers: np.ndarray) -> Union[float, np.ndarray]:
    return float(numbers[0]) if numbers.size == 1 else numbers


def _require_known(found: Mapping[str, Any]) -> None:
    """ValueError for what no key of the section takes: a text of a newer version."""
    try:
        GlobalConfig(**found)
    except (UserError, TypeError) as error:
        raise ValueError(str(error).replace("`", "")) from error


def _of_foreign(theirs: ForeignHead, path: str) -> Dict[str, Any]:
    """What a file of cirtorch or dirtorch says; nothing for any other."""
    found: Dict[str, Any] = {}
    pooling = _THEIR_POOLINGS.get(theirs.pooling, theirs.pooling)
    if theirs.regional_whiten is not None:
        found.update(pooling="regional", region_layer=Linear(*theirs.regional_whiten))
    elif pooling in _KNOWN:
        found["pooling"] = pooling
    if theirs.gem_p is not None:
        found["gem_p"] = _power(theirs.gem_p)
    for name in ("fc", "whiten"):
        if getattr(theirs, name) is not None:
            with reading(path):
                found.update(head=name, head_layer=Linear(*getattr(theirs, name)))
    return found


def _of_export(path: str, text: str) -> Dict[str, Any]:
    with reading(path, "export it again"):
        stored = json.loads(text)
        found = {name: stored[name] for name in _NAMES}
        own_power = isinstance(found["gem_p"], list)
        _require_known({name: found[name] for name in _NAMES if name != "gem_p" or not own_power})
        found["gem_p"] = np.array(found["gem_p"], np.float32) if own_power else found["gem_p"]
        found.update({name: Linear.from_texts(stored[name]) for name in _LAYERS if name in stored})
        if "attention" in stored:
            kept = stored["attention"]
            arrays = {name: from_text(kept[name]) for name in _ATTENTION}
            arrays["w1"] = arrays["w1"].reshape(len(arrays["b1"]), -1)
            found["attention"] = RegionalAttention(**arrays, nonlinearity=kept["nonlinearity"])
        return found
