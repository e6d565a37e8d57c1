"""The parts of stage how: HOW's network, its whitening, and the steps of mined tuples."""

import logging
from typing import Iterator

import numpy as np
from tqdm import tqdm

from ..config import GlobalConfig, MetricConfig, ModelConfig, RunConfig, TrainingConfig
from ..data.reader import whole_photos
from ..data.split_labels import read_split_labels
from ..data.summary import DatasetInfo
from ..data.training_pairs import training_pairs
from ..device import Device
from ..errors import UserError
from ..features.how_encoder import strongest_cells
from ..model.weights import load_pretrained
from .how_network import REDUCED_CHANNELS, HowNet, fit_reduction
from .networks import AsTrained
from .parts import Parts, large_steps, retrieval_validation
from .streams import TupleSampler
from .validation import describe_padded

logger = logging.getLogger(__name__)


def how_parts(
    run: RunConfig,
    model: ModelConfig,
    training: TrainingConfig,
    metric: MetricConfig,
    descriptor: GlobalConfig,
    info: DatasetInfo,
    device: Device,
) -> Parts:
    """Those of stage how; ``descriptor`` has no key for it."""
    split = read_split_labels(info.train_shards, info)
    network = build_how_network(model, training, metric)
    learner = AsTrained(network)
    source = training_pairs(metric.pairs_path, split)
    sampler = WhitenedSampler(source, training, metric, info, run.seed, run.num_workers, learner)
    stream, step_cell = large_steps(run, training, metric, split, info, learner, sampler)
    return Parts(network, step_cell, stream, retrieval_validation(learner, None, stream, device))


def build_how_network(model: ModelConfig, training: TrainingConfig, metric: MetricConfig) -> HowNet:
    """The network with its starting weights, and with its whitening where these are HOW's.

    Raises:
        UserError: a file that does not fit, or nothing that would learn.
    """
    network, path = HowNet(model, metric.head_dim or REDUCED_CHANNELS), model.checkpoint_path
    if path or model.imagenet_checkpoint:
        load_pretrained(network, path or model.imagenet_checkpoint, model.load_stem)
    network.freeze_stages(training.frozen_stages)
    network.freeze_statistics([network.backbone])
    if not network.trainable_params():
        raise UserError("nothing is left to learn: lower `frozen_stages`")
    return network


class WhitenedSampler(TupleSampler):
    """As ``TupleSampler``; before the first negatives are mined the network's whitening is fitted.

    It is part of the network, and so of the state of a run that goes on.
    """

    def _mine(self, epoch: int) -> np.ndarray:
        if not self._describe.network.is_whitened:
            self._whiten()
        return super()._mine(epoch)

    def _whiten(self) -> None:
        """Fit it on cells of training photos drawn at random.

        Raises:
            UserError: too few cells, or cells that vary in too few directions.
        """
        network, count = self._describe.network, self._metric.whitening_photos or self._info.num_train
        numbers = np.sort(np.random.default_rng(self._seed).permutation(self._info.num_train)[:count])
        try:
            network.set_reduction(fit_reduction(self._cells(numbers), network.dimension))
        except UserError as error:
            fix = "raise `whitening_photos` or `whitening_cells`, or give a smaller `head_dim`"
            raise UserError(f"the whitening of {len(numbers)} photos: {str(error).split(':')[0]}; {fix}") from error
        logger.info("whitening to %d numbers, of cells of %d photos", network.dimension, len(numbers))

    def _cells(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """The strongest cells of the photos, smoothed, [N, C] of each."""
        learner, training = self._describe, self._chunked
        learner.set_train(False)
        factor, shift = learner.factor.asnumpy(), learner.shift.asnumpy()
        batches = whole_photos(training, self._info, self._info.train_shards, numbers, self._num_workers)
        with tqdm(total=len(numbers), desc="whitening", unit="photo", disable=None, leave=False) as bar:
            for batch in batches:
                images = batch.images * factor + shift
                maps = describe_padded(learner.network.backbone, images, training.batch_size)
                for each in maps.transpose(0, 2, 3, 1):
                    yield strongest_cells(each, self._metric.whitening_cells)
                bar.update(len(batch.labels))
