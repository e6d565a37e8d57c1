"""The recipe: nested sections of keys, each with its default, help, choices and range, checked on construction.

A room of the library receives its own section. Recipe files (YAML) and command lines name the keys flat, as the model
zoo does; no name stands in two sections. The defaults are the published recipe (`configs/delf_gldv2.yaml`).
"""

import dataclasses
import difflib
import typing
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Type

from .errors import UserError
from .metric_config import METRIC_STAGES, MetricConfig
from .retrieval_config import RetrievalConfig
from .section import Section, key
from .values import short
from .yaml_file import read_mapping

ARCHITECTURES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
WEIGHTS_STYLES = ("keras", "torchvision")
STAGES = ("tuning", "attn", "joint", *METRIC_STAGES)
DELF_SCALES = (0.25, 0.3536, 0.5, 0.7071, 1.0, 1.4142, 2.0)


@dataclass(frozen=True)
class RunConfig(Section):
    """Where and how a command runs."""

    device_target: str = key(
        "auto", "device; auto takes the best one present", choices=("auto", "CPU", "GPU", "Ascend")
    )
    seed: int = key(0, "seed of initial weights, shuffling, crops and RANSAC", least=0)
    num_workers: int = key(2, "threads (the data set builder: processes) that read photos", above=0)
    overwrite: bool = key(False, "make again what an earlier run has finished")


@dataclass(frozen=True)
class ModelConfig(Section):
    """The network: where its weights come from, what runs it, and how it starts without weights."""

    architecture: str = key("resnet50", "backbone", choices=ARCHITECTURES)
    weights_style: str = key("keras", "layout of its weights: where strides sit, biases, input", choices=WEIGHTS_STYLES)
    imagenet_checkpoint: str = key("", "ImageNet weights (.h5, .pth, .ckpt) or checkpoint that tuning starts from")
    load_stem: bool = key(True, "load conv1 of imagenet_checkpoint too (the reference does not)")
    checkpoint_path: str = key("", "checkpoint: of tuning for attn, of attn for extraction; or weights (.h5, .pth)")
    engine: str = key(
        "auto",
        "what runs the network; auto takes the fastest installed",
        choices=("auto", "mindspore", "onnxruntime", "openvino"),
    )
    precision: str = key(
        "float32",
        "arithmetic of the network; auto = what is measured to be fastest, int8 = of an ONNX file written for it",
        choices=("float32", "bfloat16", "int8", "auto"),
    )
    kernel_init: str = key("glorot", "initial convolution kernels", choices=("glorot", "he"))
    kernel_init_gain: float = key(
        1.0, "factor of the initial kernels; smaller ones turn faster under BatchNorm", above=0
    )
    residual_gamma: float = key(1.0, "initial BatchNorm gamma at the end of each residual branch", least=0)
    attention_init: str = key("glorot", "initial attention head (normal: model zoo)", choices=("glorot", "normal"))
    batch_norm_momentum: float = key(
        0.99, "share of the old BatchNorm moving statistics kept at each step", least=0, most=1
    )


@dataclass(frozen=True)
class TrainingConfig(Section):
    """A stage of training."""

    train_state: str = key(
        "tuning",
        "stage: backbone, attention, both at once; or global descriptors, alone, as DELG or by attention of regions; "
        "or HOW",
        choices=STAGES,
    )
    traindata_path: str = key("", "first MindRecord shard of the training set (train.mindrecord000)")
    save_ckpt: str = key("ckpt", "run folder: checkpoints, log, metrics")
    save_ckpt_step: int = key(5000, "steps between checkpoints", above=0)
    keep_checkpoint_max: int = key(10, "checkpoints kept, newest first; the best one stays besides", above=0)
    resume: bool = key(True, "go on where a stopped run of the same settings was; false = from step 0")
    eval_steps: int = key(5000, "steps between two validations", above=0)
    eval_photos: int = key(5000, "validation photos looked at each time, at most; 0 = no validation", least=0)
    tensorboard: bool = key(False, "write TensorBoard events too (needs tensorboardX)")
    amp_level: str = key("O0", "precision: float32, or float16 convolutions (Ascend, GPU)", choices=("O0", "O2"))
    cache_features: bool = key(
        False, "stage attn: run the frozen backbone once over each whole photo and learn from its maps"
    )
    cache_path: str = key("maps", "folder that keeps the maps of cache_features, for stopped runs and other settings")
    tuning_head: str = key(
        "conv5",
        "what classifies in stage tuning; block3 = a dense layer on its mean, for weights without conv5",
        choices=("conv5", "block3"),
    )
    frozen_stages: int = key(
        0,
        "stages tuning, global, delg, how: first stages of the backbone that stay as they are; 3 = conv1 to conv3",
        least=0,
        most=4,
    )
    frozen_statistics: bool = key(
        False, "stage tuning: BatchNorm keeps its moving statistics, as a few thousand photos want it"
    )
    head_steps: int = key(0, "stages tuning, global, delg: first steps in which the head alone learns", least=0)
    overfit_batches: int = key(0, "learn these first batches over and over, a sanity check; 0 = off", least=0)
    batch_size: int = key(32, "photos a step on each device", above=0)
    max_iters: int = key(500000, "steps; the learning rate reaches 0 at the last", above=0)
    image_size: int = key(321, "side of the training crop, pixels", least=5)
    use_augmentation: bool = key(True, "random crop of the photo; false = the whole photo")
    min_crop_area: float = key(0.08, "least share of the photo in a random crop", above=0, most=1)
    initial_lr: float = key(0.01, "learning rate of step 0; falls linearly to 0", above=0)
    optimizer: str = key("sgd", "sgd with momentum, as the reference, or adam", choices=("sgd", "adam"))
    momentum: float = key(0.9, "momentum of SGD", least=0, most=1)
    clip_norm: float = key(10.0, "global norm the gradients are clipped to", above=0)
    attention_loss_weight: float = key(1.0, "factor of the attention head's loss", least=0)
    report_steps: int = key(100, "steps between two lines of the log and of metrics.jsonl", above=0)


MOST_FEATURES = 1000  # of a photo, unless `max_feature_num` says otherwise; as the reference


@dataclass(frozen=True)
class ExtractionConfig(Section):
    """How features are taken from a photo."""

    image_scales: Tuple[float, ...] = key(DELF_SCALES, "pyramid scales, separated by commas", above=0, most=100)
    max_feature_num: Optional[int] = key(
        None,
        "features a photo at most; none = 600 a megapixel that the network sees, from 100 to 1000, of a trained "
        "attention, 1000 of an untrained one",
        above=0,
    )
    score_threshold: Optional[float] = key(
        None, "least attention score; none = the one saved beside the checkpoint, if any; 0 = all scores", least=0
    )
    iou_threshold: float = key(1.0, "receptive boxes overlapping more are suppressed; 1 = none", least=0, most=1)
    max_image_size: int = key(-1, "longer photos are shrunk to this, pixels; -1 = no limit", least=-1, but=0)
    min_image_size: int = key(-1, "shorter photos are enlarged to this, pixels; -1 = no limit", least=-1, but=0)
    use_square_images: bool = key(False, "stretch photos to squares of their longer side")
    resize_factor: float = key(1.0, "factor of max_image_size and min_image_size", above=0, most=1000)
    half: bool = key(False, "store descriptors and scores as float16")
    pca_path: str = key(
        "",
        "PCA file (.npz) or the model zoo's folder; '' = an export's own, else none or what the command chooses",
    )
    force_pca: bool = key(False, "use a PCA that was fitted on another checkpoint")
    pca_dim: int = key(40, "descriptor dimensions kept by the PCA", above=0)
    use_whitening: bool = key(False, "divide by the square root of the PCA's variances")


@dataclass(frozen=True)
class GlobalConfig(Section):
    """How the one vector of a photo, its global descriptor, is made of the network's maps."""

    pooling: str = key(
        "auto",
        "from a map to a vector; auto = as the weights say, else gem",
        choices=("auto", "mac", "spoc", "gem", "rmac", "rmac_whole", "regional", "regional_dir", "regional_attention"),
    )
    gem_p: Optional[float] = key(None, "power of GeM; none = as the weights say, else 3", above=0, most=100)
    rmac_levels: Optional[int] = key(
        None, "levels of R-MAC's grid; none = as the weights say, else 3", above=0, most=20
    )
    descriptor_layer: str = key(
        "auto",
        "map that is pooled; auto = as an export says, else block4 where the weights have it",
        choices=("auto", "block3", "block4"),
    )
    global_scales: Tuple[float, ...] = key((1.0,), "scales of the photo, separated by commas", above=0, most=100)
    scale_pooling: str = key(
        "mean", "what joins the vectors of several scales", choices=("mean", "gem", "gem_dirtorch", "max")
    )
    query_resize: str = key(
        "crop",
        "a query cropped to its box is resized as a photo of its own, or with its whole photo's factor as by DELF",
        choices=("crop", "photo"),
    )
    head: str = key(
        "auto", "layer after pooling; auto = that of the weights, if any", choices=("auto", "none", "fc", "whiten")
    )
    whitening_path: str = key("", "whitening file (.npz) of the command learn_whitening; '' = none")
    region_whitening_path: str = key(
        "", "whitening of each region's vector (.npz), by learn_whitening --images_path; '' = none"
    )
    whiten_dim: int = key(0, "numbers of the descriptor kept by the whitening; 0 = all", least=0)


@dataclass(frozen=True)
class MatchingConfig(Section):
    """Correspondences of two photos, and their verification."""

    match_distance: float = key(0.8, "descriptor distance below which a nearest neighbour counts", above=0)
    match_ratio: Optional[float] = key(
        None, "nearest must be below this times the second; none = no test", above=0, most=1
    )
    mutual_check: bool = key(False, "keep a match only if each is the nearest of the other")
    ransac_method: str = key("opencv", "estimator of the affine map", choices=("opencv", "magsac", "skimage"))
    ransac_residual: float = key(
        20.0,
        "distance to the affine map of an inlier, pixels; the keypoints' grid sets it, not search_distance",
        above=0,
    )
    residual_unit: str = key(
        "network",
        "its pixels: those of the photo (a query's) as the network saw it, or as it was given",
        choices=("network", "original"),
    )
    ransac_trials: int = key(1000, "RANSAC trials", above=0)


@dataclass(frozen=True, init=False)
class Config:
    """The whole recipe; ``Config(max_iters=600, seed=1)`` takes the keys of all sections by their names.

    Raises:
        TypeError: a keyword that is no key; it names the nearest one.
        UserError: a value that the key cannot have.
    """

    run: RunConfig
    model: ModelConfig
    training: TrainingConfig
    metric: MetricConfig
    extraction: ExtractionConfig
    descriptor: GlobalConfig
    matching: MatchingConfig
    retrieval: RetrievalConfig

    def __init__(self, **values: Any) -> None:
        for name in values:
            if name not in KEYS:
                raise TypeError(f"{name!r} is no key of the recipe{nearest(name, KEYS)}")
        for section, kind in SECTIONS.items():
            own = {name: value for name, value in values.items() if KEYS[name] == section}
            object.__setattr__(self, section, kind(**own))

    def values(self) -> Dict[str, Any]:
        """Every key with its value as JSON has it."""
        return {name: value for section in SECTIONS for name, value in getattr(self, section).values().items()}

    def replace(self, **values: Any) -> "Config":
        """The same recipe with other values of some keys."""
        return Config(**{**self.values(), **values})


SECTIONS: Mapping[str, Type[Section]] = {f.name: f.type for f in dataclasses.fields(Config)}
KEYS: Mapping[str, str] = {f.name: section for section, kind in SECTIONS.items() for f in dataclasses.fields(kind)}


def definition_of(name: str) -> Any:
    """The dataclass field of a key."""
    return SECTIONS[KEYS[name]].__dataclass_fields__[name]


def keys_of(*sections: Type[Section], but: Sequence[str] = ()) -> Tuple[str, ...]:
    """The keys of some sections, without those of ``but``."""
    return tuple(f.name for section in sections for f in dataclasses.fields(section) if f.name not in but)


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """'; did you mean ...?' with the one of ``known`` that is near ``name``, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""


def load_yaml(path: str) -> Dict[str, Any]:
    """The keys of a recipe file, checked; UserError for a missing file, bad YAML, an unknown key or a bad value."""
    loaded = read_mapping(path, "config")
    for name in loaded:
        if name not in KEYS:
            raise UserError(f"{path}: unknown key {short(repr(name))}{nearest(str(name), KEYS)}")
    try:
        Config(**loaded)
    except UserError as error:
        fact = str(error).replace("`", "")  # in a recipe, keys stand without dashes
        raise UserError(f"{path}: {fact}") from error
    return loaded
