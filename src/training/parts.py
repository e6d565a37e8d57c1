"""What ``Trainer`` needs of a stage: its network, the cell that makes its steps, its photos, and its validation."""

from typing import Mapping, NamedTuple, Optional, Tuple

import numpy as np
from mindspore import nn

from ..config import GlobalConfig, MetricConfig, ModelConfig, RunConfig, TrainingConfig
from ..data.reader import TrainingStream
from ..data.split_labels import SplitLabels, read_split_labels
from ..data.summary import DatasetInfo
from ..data.training_pairs import training_pairs
from ..device import Device
from ..metric_config import CLASS_LOSSES, TUPLE_LOSSES
from .class_losses import ClassLosses, DelgLosses
from .feature_cache import OnMaps, cached_stream
from .multi_stage import MultiStageStep
from .networks import AsTrained, Describing, build_global_network, build_network, build_region_network
from .optimizers import metric_groups
from .schedule import metric_schedule
from .step import Losses, TrainStep
from .streams import BalancedStream, ClassSampler, LargeStream, Sampler, TupleSampler
from .validation import Measures, RetrievalValidation, Validation
from .vector_losses import make_vector_loss


class Parts(NamedTuple):
    """See ``Trainer``, whose arguments they are."""

    network: nn.Cell
    step_cell: nn.Cell
    stream: TrainingStream
    validation: Optional[Measures]


def delf_parts(
    run: RunConfig,
    model: ModelConfig,
    training: TrainingConfig,
    sources: Mapping[str, str],
    info: DatasetInfo,
    device: Device,
) -> Parts:
    """Those of the stages tuning, attn and joint."""
    stream = TrainingStream(training, info, run.seed, run.num_workers, device.rank, device.ranks)
    learner = network = build_network(model, training, info.num_classes)
    if training.cache_features:
        learner, stream = OnMaps(network), cached_stream(stream, network, sources, run, model, device)
    step_cell = TrainStep(learner, training, device.ranks)
    validates = training.eval_photos and info.num_validation
    validation = Validation(Losses(learner, training), stream, device) if validates else None
    return Parts(network, step_cell, stream, validation)


def global_parts(
    run: RunConfig,
    model: ModelConfig,
    training: TrainingConfig,
    metric: MetricConfig,
    descriptor: GlobalConfig,
    info: DatasetInfo,
    device: Device,
) -> Parts:
    """Those of stage global."""
    split = read_split_labels(info.train_shards, info)
    network = build_global_network(model, training, metric, descriptor)
    learner = AsTrained(network)
    if metric.loss in CLASS_LOSSES:
        stream = _class_stream(run, training, metric, split, info, device)
        losses = ClassLosses(learner, network.dimension, info.num_classes, metric)
        schedule = metric_schedule(training, metric, stream.steps_per_epoch)
        step_cell = TrainStep(learner, training, device.ranks, losses, schedule, metric_groups(losses, metric))
    else:
        losses = None
        if metric.loss in TUPLE_LOSSES:
            source = training_pairs(metric.pairs_path, split)
            sampler = TupleSampler(source, training, metric, info, run.seed, run.num_workers, learner)
        else:
            photos = metric.photos_a_class if metric.loss == "ap" else 2
            sampler = ClassSampler(split.labels, training.batch_size, photos, run.seed)
        stream, step_cell = large_steps(run, training, metric, split, info, learner, sampler)
    describe = Describing(learner) if metric.loss == "n_pair" else learner
    return Parts(network, step_cell, stream, retrieval_validation(describe, losses, stream, device))


def large_steps(
    run: RunConfig,
    training: TrainingConfig,
    metric: MetricConfig,
    split: SplitLabels,
    info: DatasetInfo,
    learner: nn.Cell,
    sampler: Sampler,
) -> Tuple[LargeStream, MultiStageStep]:
    """Stream and step of a loss over many photos; tuples that ``sampler`` mines are kept with the state."""
    stream = LargeStream(training, info, run.seed, run.num_workers, metric.chunk_size, split, sampler)
    schedule = metric_schedule(training, metric, stream.steps_per_epoch)
    loss, groups, kept = make_vector_loss(metric), metric_groups(learner, metric), getattr(sampler, "kept", None)
    return stream, MultiStageStep(learner, training, loss, metric.chunk_size, schedule, groups, kept)


def delg_parts(
    run: RunConfig,
    model: ModelConfig,
    training: TrainingConfig,
    metric: MetricConfig,
    descriptor: GlobalConfig,
    info: DatasetInfo,
    device: Device,
) -> Parts:
    """Those of the stages delg and regional_attention."""
    split = read_split_labels(info.train_shards, info)
    if training.train_state == "delg":
        network = build_global_network(model, training, metric, descriptor, info.num_classes)
        learner = AsTrained(network)
        losses = DelgLosses(learner, training, metric)
    else:
        network = build_region_network(model, training, descriptor, info.num_classes)
        learner = AsTrained(network)
        losses = Losses(learner, training)
    stream = _class_stream(run, training, metric, split, info, device)
    schedule = metric_schedule(training, metric, stream.steps_per_epoch)
    step_cell = TrainStep(learner, training, device.ranks, losses, schedule, metric_groups(losses, metric))
    return Parts(network, step_cell, stream, retrieval_validation(Describing(learner), losses, stream, device))


def _class_stream(
    run: RunConfig,
    training: TrainingConfig,
    metric: MetricConfig,
    split: SplitLabels,
    info: DatasetInfo,
    device: Device,
) -> TrainingStream:
    arguments = training, info, run.seed, run.num_workers, device.rank, device.ranks
    if metric.class_balance is None:
        return TrainingStream(*arguments)
    return BalancedStream(metric, split.labels, *arguments)


def retrieval_validation(
    network: nn.Cell, losses: Optional[nn.Cell], stream: TrainingStream, device: Device
) -> Optional[RetrievalValidation]:
    """Validation by the descriptors of ``network``; None where none is wanted, or no class has two of the photos."""
    info = stream.info
    if not stream.training.eval_photos or not info.num_validation:
        return None
    labels = read_split_labels(info.validation_shards, info).labels[stream.all_validation_numbers()]
    if np.unique(labels, return_counts=True)[1].max() < 2:
        return None
    further = None if losses is None else Validation(losses, stream, device)
    return RetrievalValidation(network, stream, device, further)
