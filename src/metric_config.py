"""The keys of the stages that learn global descriptors: their loss, which photos make a step, and their rates."""

from dataclasses import dataclass
from typing import Optional

from .section import Section, key

TUPLE_LOSSES = ("contrastive", "triplet", "triplet_margin", "triplet_log_exp")
CLASS_LOSSES = ("arcface", "softmax")
METRIC_STAGES = ("global", "delg", "regional_attention", "how")  # that learn global descriptors
BATCH_LOSSES = ("ap", "n_pair")  # of several photos of each class of a batch
LOSSES = (*CLASS_LOSSES, *TUPLE_LOSSES, *BATCH_LOSSES)
# Keys of GlobalConfig that a network for training follows from
DESCRIPTOR_KEYS = ("pooling", "gem_p", "rmac_levels", "descriptor_layer", "head")
_HOW_KEYS = ("whitening_photos", "whitening_cells")
# What stages that learn descriptors have no use for, beside what their loss has none for
UNUSED_BY_STAGES = {
    "global": ("attention_loss_weight", *_HOW_KEYS),
    "delg": ("loss", *_HOW_KEYS),
    "regional_attention": (
        "attention_loss_weight", "loss", "margin", "logit_scale", "class_balance", "balance_size", "gem_power",
        "power_rate", "backbone_rate", "head_dim", "learn_statistics", "pooling", "gem_p", "descriptor_layer", "head",
        *_HOW_KEYS,
    ),
    "how": ("attention_loss_weight", "loss", "gem_power", "power_rate", *DESCRIPTOR_KEYS),
}  # fmt: skip
# Keys of MetricConfig that not every loss of stage global has a use for, with the losses that have one
KEYS_OF_LOSSES = {
    "margin": ("arcface", "contrastive", "triplet", "triplet_margin"),
    "logit_scale": CLASS_LOSSES,
    "chunk_size": (*TUPLE_LOSSES, *BATCH_LOSSES),
    "photos_a_class": ("ap",),
    "class_balance": CLASS_LOSSES,
    "balance_size": CLASS_LOSSES,
    "ap_bins": ("ap",),
    "ap_form": ("ap",),
    "ap_by_distance": ("ap",),
    "num_queries": TUPLE_LOSSES,
    "pool_size": TUPLE_LOSSES,
    "num_negatives": TUPLE_LOSSES,
    "pairs_path": TUPLE_LOSSES,
    "learn_statistics": CLASS_LOSSES,
}


@dataclass(frozen=True)
class MetricConfig(Section):
    """How global descriptors are learnt."""

    loss: str = key("arcface", "stage global: loss of the descriptors", choices=LOSSES)
    margin: Optional[float] = key(
        None,
        "its margin; none = 0.1 of arcface (radians), 0.7 of contrastive, 0.1 of triplet, 1 of triplet_margin",
        least=0,
        most=3,
    )
    logit_scale: float = key(45.25, "losses arcface, softmax: length of the descriptor in the logits", above=0)
    chunk_size: int = key(16, "losses over large batches: photos that pass the network at once", above=0)
    photos_a_class: int = key(4, "loss ap: photos of a class in a step", least=2)
    class_balance: Optional[float] = key(
        None, "classes of an epoch: 0 = as they are, 1 = of equal size; none = every photo once", least=0, most=1
    )
    balance_size: float = key(
        1.0,
        "what equal classes are as large as: 0 = the smallest, 1 = the median, 2 = the largest class",
        least=0,
        most=2,
    )
    ap_bins: int = key(20, "loss ap: bins of the scores from -1 to 1", least=2, most=100)
    ap_form: str = key(
        "ap",
        "loss ap: a bin is one rank, or the order inside it is averaged over",
        choices=("ap", "simplified", "full"),
    )
    ap_by_distance: bool = key(False, "loss ap: scores are 1 minus the distance, not cosines")
    num_queries: int = key(2000, "losses of tuples: pairs of query and positive drawn for an epoch; 0 = all", least=0)
    pool_size: int = key(
        20000, "losses of tuples: photos among which the hardest negatives are looked for; 0 = all", least=0
    )
    num_negatives: int = key(5, "losses of tuples: negatives of each pair, of as many classes", above=0, most=1000)
    pairs_path: str = key("", "losses of tuples: file of pairs that the command mine_pairs wrote; '' = same label")
    gem_power: str = key(
        "learned", "power of GeM: learned, fixed, or learned for each channel", choices=("learned", "fixed", "channel")
    )
    power_rate: float = key(10.0, "factor of the learning rate for the power of GeM", above=0)
    backbone_rate: float = key(1.0, "factor of the learning rate for the backbone", above=0)
    head_dim: int = key(
        0, "numbers of the descriptor after `head`; 0 = as many as channels, of stage how 128", least=0, most=65536
    )
    weight_decay: float = key(0.0, "added to the gradient per weight; not of biases, BatchNorm, GeM's power", least=0)
    schedule: str = key(
        "linear", "the rate falls to 0 at the last step, by `rate_decay` each epoch, or never",
        choices=("linear", "exponential", "constant"),
    )  # fmt: skip
    rate_decay: float = key(0.99, "schedule exponential: factor of the rate after each epoch", above=0, most=1)
    warmup_steps: int = key(0, "first steps in which the rate grows to its full size", least=0)
    learn_statistics: bool = key(False, "BatchNorm learns its statistics from the batches; by default they are frozen")
    whitening_photos: int = key(5000, "stage how: photos that its whitening is fitted on; 0 = all", least=0)
    whitening_cells: int = key(1000, "stage how: cells of each of them, the strongest ones", above=0)


def of_stage(stage: str, metric: MetricConfig) -> MetricConfig:
    """The section as a stage takes it: how learns by the contrastive loss, whatever the default is."""
    return metric.replace(loss="contrastive") if stage == "how" else metric
