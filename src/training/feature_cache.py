"""Stage attn with ``cache_features``: the frozen backbone runs once over each photo, the steps learn from its maps."""

import logging
from typing import Iterator, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from tqdm import tqdm

from ..data.reader import Batch, TrainingStream, whole_photos
from ..errors import UserError
from ..model.networks import AttentionNet

logger = logging.getLogger(__name__)

_MOST_BYTES = 16 * 10**9  # of maps in memory


class OnMaps(nn.Cell):
    """The trained part of an ``AttentionNet``: block3 [B, C, h, w] -> (logits [B, classes],)."""

    HEADS = AttentionNet.HEADS

    def __init__(self, network: AttentionNet) -> None:
        super().__init__()
        self.attention = network.attention
        self.attention_head = network.attention_head

    def construct(self, block3: Tensor) -> Tuple[Tensor]:
        return (self.attention_head(block3, self.attention(block3)),)


class CachedStream(TrainingStream):
    """The batches of a ``TrainingStream`` of whole photos, with block3 maps [B, C, h, w] in place of images.

    The maps are kept in memory as float16: at 321 px 205 kB a photo.

    Args:
        stream: whose order, seed and ranks are kept.
        network: its backbone gives the maps, once.

    Raises:
        UserError: the maps of all photos would take more than 16 GB.
    """

    def __init__(self, stream: TrainingStream, network: AttentionNet) -> None:
        training, info = stream.training, stream.info
        super().__init__(training, info, stream.seed, stream.num_workers, stream.rank, stream.ranks)
        network.set_train(False)
        self._photos = _Photos(network, self, info.train_shards, np.arange(info.num_train))
        self._validation = _Photos(network, self, info.validation_shards, self.validation_numbers())

    def _batches(self, steps: int, start_step: int) -> Iterator[Batch]:
        for epoch, numbers in self.orders(steps, start_step):
            for rows in numbers:
                yield self._photos.batch(rows, epoch)

    def validation_batches(self) -> Iterator[Batch]:
        """As of the whole photos."""
        size, count = self.training.batch_size, len(self._validation.labels)
        return (self._validation.batch(np.arange(i, min(count, i + size)), 0) for i in range(0, count, size))


class _Photos:
    """Maps, labels and names of some photos of a split, in the order of ``numbers``."""

    def __init__(
        self, network: AttentionNet, stream: TrainingStream, shards: Sequence[str], numbers: np.ndarray
    ) -> None:
        training = stream.training
        self.maps = np.zeros((0,), np.float16)
        self.labels = np.zeros(len(numbers), np.int32)
        self.file_ids = [""] * len(numbers)
        batches = whole_photos(training, stream.info, shards, numbers, stream.num_workers)
        first = 0
        with tqdm(total=len(numbers), desc="maps", unit="photo", disable=None) as bar:
            for batch in batches:
                last = first + len(batch.labels)
                places = np.arange(training.batch_size) % len(batch.labels)  # one graph serves the last batch too
                maps = network.backbone(ms.Tensor(batch.images[places])).asnumpy()[: last - first]
                if not first:
                    self.maps = _room_for(len(numbers), maps.shape[1:])
                self.maps[first:last], self.labels[first:last] = maps, batch.labels
                self.file_ids[first:last] = batch.file_ids
                bar.update(last - first)
                first = last

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """The photos of these places."""
        names = [self.file_ids[row] for row in rows]
        return Batch(self.maps[rows].astype(np.float32), self.labels[rows], names, epoch)


def _room_for(count: int, shape: Tuple[int, ...]) -> np.ndarray:
    size = 2 * count * int(np.prod(shape))
    if size > _MOST_BYTES:
        raise UserError(
            f"the maps of {count} photos take {size / 1e9:.0f} GB of memory; give `cache_features` false, or a smaller "
            "`image_size`"
        )
    logger.info("computing the maps of %d photos once, %.2f GB of memory", count, size / 1e9)
    return np.empty((count, *shape), np.float16)
