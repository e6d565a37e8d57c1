"""The recipe: one flat dataclass, filled from its defaults, then a YAML file, then the command line.

The defaults are the published recipe (`configs/delf_gldv2.yaml` spells them out with a comment on every key). Key names
are the model zoo's where it has one.
"""

import argparse
import dataclasses
import difflib
import hashlib
import json
import sys
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import yaml

from .errors import UserError

DELF_SCALES = (0.25, 0.3536, 0.5, 0.7071, 1.0, 1.4142, 2.0)


def key(section: str, default: Any, help_text: str, choices: Optional[Sequence[str]] = None) -> Any:
    """A field of the recipe with the section it belongs to, its help and the values it may take."""
    return field(default=default, metadata={"section": section, "help": help_text, "choices": choices})


@dataclass(frozen=True)
class Config:
    """Every key of the recipe; `metadata` of each field holds its section and help."""

    device_target: str = key("run", "auto", "device; auto takes the best one present", ("auto", "CPU", "GPU", "Ascend"))
    seed: int = key("run", 0, "seed of initial weights, shuffling, crops and RANSAC")
    num_workers: int = key("run", 2, "threads (the data set builder: processes) that read photos")
    overwrite: bool = key("run", False, "make again what an earlier run has finished")

    imagenet_checkpoint: str = key("model", "", "Keras ResNet-50 weights (.h5) or checkpoint that tuning starts from")
    load_stem: bool = key("model", True, "load conv1 of imagenet_checkpoint too (the reference does not)")
    checkpoint_path: str = key("model", "", "checkpoint: the tuning one for stage attn, the attn one for extraction")
    kernel_init: str = key("model", "glorot", "initial convolution kernels", ("glorot", "he"))
    kernel_init_gain: float = key(
        "model", 1.0, "factor of the initial kernels; smaller ones turn faster under BatchNorm"
    )
    residual_gamma: float = key("model", 1.0, "initial BatchNorm gamma at the end of each residual branch")
    attention_init: str = key("model", "glorot", "initial attention head (normal: model zoo)", ("glorot", "normal"))
    batch_norm_momentum: float = key("model", 0.99, "share of the old BatchNorm moving statistics kept at each step")

    train_state: str = key(
        "training", "tuning", "stage: backbone, attention, or both at once", ("tuning", "attn", "joint")
    )
    traindata_path: str = key("training", "", "first MindRecord shard of the training set (train.mindrecord000)")
    save_ckpt: str = key("training", "ckpt", "run folder: checkpoints, log, metrics")
    save_ckpt_step: int = key("training", 5000, "steps between checkpoints")
    keep_checkpoint_max: int = key("training", 10, "checkpoints kept, newest first; the best one stays besides")
    resume: bool = key("training", True, "go on where a stopped run of the same settings was; false = from step 0")
    eval_steps: int = key("training", 5000, "steps between two validations")
    eval_photos: int = key("training", 5000, "validation photos looked at each time, at most; 0 = no validation")
    tensorboard: bool = key("training", False, "write TensorBoard events too (requirements-extras.txt)")
    amp_level: str = key("training", "O0", "precision: float32, or float16 convolutions (Ascend, GPU)", ("O0", "O2"))
    overfit_batches: int = key("training", 0, "learn these first batches over and over, a sanity check; 0 = off")
    batch_size: int = key("training", 32, "photos a step on each device")
    max_iters: int = key("training", 500000, "steps; the learning rate reaches 0 at the last")
    image_size: int = key("training", 321, "side of the training crop, pixels")
    use_augmentation: bool = key("training", True, "random crop of the photo; false = the whole photo")
    min_crop_area: float = key("training", 0.08, "least share of the photo in a random crop")
    initial_lr: float = key("training", 0.01, "learning rate of step 0; falls linearly to 0")
    momentum: float = key("training", 0.9, "momentum of SGD")
    clip_norm: float = key("training", 10.0, "global norm the gradients are clipped to")
    attention_loss_weight: float = key("training", 1.0, "factor of the attention head's loss")
    report_steps: int = key("training", 100, "steps between two lines of the log and of metrics.jsonl")

    image_scales: Tuple[float, ...] = key("extraction", DELF_SCALES, "pyramid scales, separated by commas")
    max_feature_num: int = key("extraction", 1000, "features a photo at most")
    score_threshold: Optional[float] = key(
        "extraction", None, "least attention score; none = the one saved beside the checkpoint, if any; 0 = all scores"
    )
    iou_threshold: float = key("extraction", 1.0, "receptive boxes overlapping more are suppressed; 1 = none")
    max_image_size: int = key("extraction", -1, "longer photos are shrunk to this, pixels; -1 = no limit")
    min_image_size: int = key("extraction", -1, "shorter photos are enlarged to this, pixels; -1 = no limit")
    use_square_images: bool = key("extraction", False, "stretch photos to squares of their longer side")
    resize_factor: float = key("extraction", 1.0, "factor of max_image_size and min_image_size")
    half: bool = key("extraction", False, "store descriptors and scores as float16")
    engine: str = key(
        "extraction",
        "auto",
        "what runs the network; auto takes the fastest installed",
        ("auto", "mindspore", "onnxruntime", "openvino"),
    )
    precision: str = key("extraction", "float32", "arithmetic of the network", ("float32", "bfloat16"))
    pca_path: str = key("extraction", "", "PCA file (.npz) or the model zoo's folder; '' = raw descriptors")
    force_pca: bool = key("extraction", False, "use a PCA that was fitted on another checkpoint")
    pca_dim: int = key("extraction", 40, "descriptor dimensions kept by the PCA")
    use_whitening: bool = key("extraction", False, "divide by the square root of the PCA's variances")

    match_distance: float = key("matching", 0.8, "descriptor distance below which a nearest neighbour counts")
    match_ratio: Optional[float] = key("matching", None, "nearest must be below this times the second; none = no test")
    mutual_check: bool = key("matching", False, "keep a match only if each is the nearest of the other")
    ransac_method: str = key("matching", "opencv", "estimator of the affine map", ("opencv", "magsac", "skimage"))
    ransac_residual: float = key("matching", 20.0, "distance to the affine map of an inlier, pixels")
    ransac_trials: int = key("matching", 1000, "RANSAC trials")

    index_type: str = key("retrieval", "", "faiss factory string such as Flat or IVF1024,PQ20; '' = chosen by size")
    num_neighbors: int = key("retrieval", 60, "index descriptors looked up for each query descriptor")
    search_distance: float = key("retrieval", 0.9, "descriptor distance below which a neighbour votes")
    num_rerank: int = key("retrieval", 100, "best-voted photos verified by RANSAC; 0 = all with enough votes")
    correspondences: str = key(
        "retrieval",
        "index",
        "verified are the neighbours found by the search, or each pair matched anew",
        ("index", "exact"),
    )
    nprobe: int = key("retrieval", 0, "inverted lists searched for each descriptor; 0 = chosen by their number")
    search_threads: int = key("retrieval", 0, "threads of search and verification; 0 = one for each core")


SECTIONS = ("run", "model", "training", "extraction", "matching", "retrieval")


def section_values(config: Config, *sections: str) -> Dict[str, Any]:
    """The keys of some sections as a plain dictionary (what a file made with them records)."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.metadata["section"] in sections}


def digest(values: Dict[str, Any]) -> str:
    """Twelve hex digits that change when any value does."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def parse_bool(text: str) -> bool:
    """'true'/'yes'/'1' and 'false'/'no'/'0' in any case; ValueError otherwise."""
    values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in values:
        raise ValueError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def _coerce(value: Any, kind: Any) -> Any:
    """``value`` (from YAML or the command line) as the field's type; ValueError when it is not one."""
    if typing.get_origin(kind) is typing.Union:  # Optional[float]
        if value is None or str(value).lower() == "none":
            return None
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is tuple:
        items = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
        return tuple(float(item) for item in items)
    if kind is bool:
        return value if isinstance(value, bool) else parse_bool(str(value))
    if kind is str:
        if value is not None and not isinstance(value, (str, int, float)):
            raise ValueError(f"{value!r} is not text")
        return "" if value is None else str(value)
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value!r} is not a number")
    if kind is int and float(value) != int(float(value)):
        raise ValueError(f"{value!r} is not a whole number")
    return int(float(value)) if kind is int else float(value)


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _set(values: Dict[str, Any], name: str, value: Any, origin: str) -> None:
    """Coerce and check one key; UserError names where it came from."""
    definition = Config.__dataclass_fields__[name]
    try:
        values[name] = _coerce(value, definition.type)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{origin}: {name}: {error}") from error
    choices = definition.metadata["choices"]
    if choices and values[name] not in choices:
        raise UserError(f"{origin}: {name} is {values[name]!r}; it must be one of {', '.join(choices)}")


def load_yaml(path: str) -> Dict[str, Any]:
    """The keys of a recipe file, checked and typed; UserError for a missing file, bad YAML, or an unknown key."""
    try:
        loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give --config the path of a recipe") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: a recipe is a list of 'key: value' lines")
    values: Dict[str, Any] = {}
    for name, value in loaded.items():
        if name not in Config.__dataclass_fields__:
            raise UserError(f"{path}: unknown key {name!r}{_nearest(str(name), list(Config.__dataclass_fields__))}")
        _set(values, name, value, path)
    return values


def _check_ranges(config: Config) -> Config:
    positive = (
        "num_workers",
        "save_ckpt_step",
        "eval_steps",
        "keep_checkpoint_max",
        "batch_size",
        "max_iters",
        "initial_lr",
        "clip_norm",
        "report_steps",
        "max_feature_num",
        "pca_dim",
        "match_distance",
        "ransac_residual",
        "ransac_trials",
        "num_neighbors",
        "search_distance",
        "resize_factor",
        "kernel_init_gain",
    )
    for name in positive:
        if not getattr(config, name) > 0:
            raise UserError(f"{name} is {getattr(config, name)}; it must be above 0")
    for name in ("seed", "num_rerank", "eval_photos", "overfit_batches", "nprobe", "search_threads"):
        if getattr(config, name) < 0:
            raise UserError(f"{name} is {getattr(config, name)}; it must be 0 or more")
    if not 0 < config.min_crop_area <= 1:
        raise UserError(f"min_crop_area is {config.min_crop_area}; it must be above 0 and at most 1")
    if config.match_ratio is not None and not 0 < config.match_ratio <= 1:
        raise UserError(f"match_ratio is {config.match_ratio}; it must be above 0 and at most 1, or none")
    if config.image_size < 5:
        raise UserError(f"image_size is {config.image_size}; the network needs at least 5 pixels")
    if not config.image_scales or min(config.image_scales) <= 0:
        raise UserError(f"image_scales is {config.image_scales}; give one or more numbers above 0")
    return config


def _show_default(value: Any) -> str:
    return ",".join(f"{item:g}" for item in value) if isinstance(value, tuple) else "''" if value == "" else str(value)


def _build_parser(description: str, shown: Sequence[str], add_arguments: Optional[Callable]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every other key of configs/*.yaml is accepted as an option too.",
    )
    if add_arguments:
        add_arguments(parser)
    parser.add_argument("--config", metavar="FILE", help="recipe (YAML); options win over it")
    for section in SECTIONS:
        group = parser.add_argument_group(section) if section in shown else parser
        for f in dataclasses.fields(Config):
            if f.metadata["section"] != section:
                continue
            text = f"{f.metadata['help']} (default: {_show_default(f.default)})".replace("%", "%%")
            choices = f.metadata["choices"]
            group.add_argument(
                f"--{f.name}",
                default=argparse.SUPPRESS,
                help=text if section in shown else argparse.SUPPRESS,
                metavar="|".join(choices) if choices else f.name.split("_")[-1].upper(),
                **({"nargs": "?", "const": "true"} if f.type is bool else {}),
            )
    return parser


def parse_command_line(
    description: str,
    sections: Sequence[str],
    add_arguments: Optional[Callable[[argparse.ArgumentParser], None]] = None,
    argv: Optional[List[str]] = None,
) -> Tuple[Config, argparse.Namespace]:
    """Parse a command: its own arguments plus every key of the recipe.

    Args:
        description: first line of ``--help``.
        sections: sections whose keys ``--help`` shows; keys of the others are accepted without being shown, so that a
            script can hand the same options to several commands.
        add_arguments: adds the command's own arguments to the parser.
        argv: arguments; None takes the process's own.

    Returns:
        The recipe (defaults, then ``--config``, then options) and the command's own arguments.

    Raises:
        UserError: unknown key, or a value of the wrong type or range.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = _build_parser(description, sections, add_arguments)
    known = sorted(option for action in parser._actions for option in action.option_strings)
    for argument in argv:
        option = argument.split("=")[0]
        if option.startswith("--") and len(option) > 2 and option not in known:
            raise UserError(f"unknown option {option}{_nearest(option, known)}")
    arguments = parser.parse_args(argv)
    values = load_yaml(arguments.config) if arguments.config else {}
    for name in Config.__dataclass_fields__:
        if hasattr(arguments, name):
            _set(values, name, getattr(arguments, name), "command line")
            delattr(arguments, name)
    return _check_ranges(Config(**values)), arguments


def to_yaml(config: Config) -> str:
    """The resolved recipe as YAML that ``load_yaml`` reads back to the same values."""
    plain = dataclasses.asdict(config)
    plain["image_scales"] = list(config.image_scales)
    return yaml.safe_dump(plain, sort_keys=False)
