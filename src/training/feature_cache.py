"""Stage attn with ``cache_features``: the frozen backbone runs once over each photo, the steps learn from its maps."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, Iterator, Mapping, Sequence, Tuple

import numpy as np
from mindspore import Tensor, nn
from tqdm import tqdm

from ..artifacts import PathLike, build_folder_for, digest, is_made, restore_folder, sha256_of
from ..config import ModelConfig, RunConfig
from ..data.reader import Batch, TrainingStream, validation_numbers, whole_photos
from ..device import Device
from ..engines import BatchedNetwork, load_batched_network, resolve_engine
from ..errors import UserError
from ..model.networks import AttentionNet
from ..model.weights import save_weights
from ..output_file import OutputFile
from ..records import Provenance
from ..sealed import read_sealed, write_sealed

logger = logging.getLogger(__name__)

_RECORD, _FORMAT_VERSION = "maps.json", 1
_SPLITS = ("train", "validation")
_FIX = "delete the folder, or give another `cache_path`"


class OnMaps(nn.Cell):
    """The trained part of an ``AttentionNet``: block3 [B, C, h, w] -> (logits [B, classes],)."""

    HEADS = AttentionNet.HEADS

    def __init__(self, network: AttentionNet) -> None:
        super().__init__()
        self.attention = network.attention
        self.attention_head = network.attention_head

    def construct(self, block3: Tensor) -> Tuple[Tensor]:
        return (self.attention_head(block3, self.attention(block3)),)


def provenance_of_maps(
    stream: TrainingStream, sources: Mapping[str, str], run: RunConfig, model: ModelConfig
) -> Provenance:
    """What the maps of a run depend on; ``sources`` are its data set and starting weights, the engine is resolved."""
    encoder = {name: getattr(model, name) for name in ("architecture", "weights_style", "load_stem", "engine")}
    settings = {name: getattr(stream.training, name) for name in ("image_size", "eval_photos")}
    if not model.load_stem:  # it is drawn then
        settings.update(seed=run.seed, kernel_init=model.kernel_init, kernel_init_gain=model.kernel_init_gain)
    return Provenance(encoder=encoder, settings=settings, sources=sources)


def cached_stream(
    stream: TrainingStream,
    network: AttentionNet,
    sources: Mapping[str, str],
    run: RunConfig,
    model: ModelConfig,
    device: Device,
) -> "CachedStream":
    """The stream of maps; the first rank makes them where ``cache_path`` has none of the same weights and photos.

    Args:
        stream: of whole photos.
        network: whose backbone, run by the fastest engine, gives the maps.
        sources: identities of the data set and of the starting weights.
        run, model: sections of the recipe.
        device: of this rank.

    Raises:
        UserError: maps that are damaged.
    """
    model = resolve_engine(run, model)
    wanted = provenance_of_maps(stream, sources, run, model)
    folder = Path(stream.training.cache_path) / digest(wanted.as_json())
    if device.is_first:
        restore_folder(folder)
        if not is_made(folder, wanted, _stored_provenance, False, "cache_path", True):
            with TemporaryDirectory() as place:  # engines read files, and one of stage tuning has no attention
                path = Path(place) / "network.ckpt"
                save_weights(network, path)
                _make_maps(folder, stream, load_batched_network(run, model.replace(checkpoint_path=str(path))), wanted)
    device.wait_for_ranks()
    return CachedStream(stream, folder)


def _make_maps(path: Path, stream: TrainingStream, network: BatchedNetwork, wanted: Provenance) -> None:
    """Write block3 of every whole photo as float16, 205 kB each at 321 px."""
    info = stream.info
    numbers = {"train": np.arange(info.num_train), "validation": validation_numbers(stream.training, info)}
    with build_folder_for(path) as folder:
        splits = {split: _write(folder / split, numbers[split], stream, network) for split in _SPLITS}
        write_sealed(folder / _RECORD, _FORMAT_VERSION, {"provenance": wanted.as_json(), "splits": splits})


def _write(path: Path, numbers: np.ndarray, stream: TrainingStream, network: BatchedNetwork) -> Dict[str, Any]:
    """Write the maps of the photos of a split, and return what reading them needs."""
    training, info, shape, labels, names = stream.training, stream.info, (0, 0, 0), [], []
    shards = info.train_shards if path.name == "train" else info.validation_shards
    batches = whole_photos(training, info, shards, numbers, stream.num_workers)
    with OutputFile(path) as file, tqdm(total=len(numbers), desc="maps", unit="photo", disable=None) as bar:
        for batch in batches:
            places = np.arange(training.batch_size) % len(batch.labels)  # one graph serves the last batch too
            maps = network(batch.images[places])[0][: len(batch.labels)]
            file.write(np.ascontiguousarray(maps, "<f2"))
            file.check()
            shape = maps.shape[1:]
            labels += batch.labels.tolist()
            names += batch.file_ids
            bar.update(len(batch.labels))
    return {"shape": [len(labels), *shape], "labels": labels, "file_ids": names, "sha256": sha256_of(path)}


def _read(folder: Path) -> Dict[str, Any]:
    if not (folder / _RECORD).exists():
        raise UserError(f"{folder}: no folder of maps (no {_RECORD}); {_FIX}")
    return read_sealed(folder / _RECORD, _FORMAT_VERSION, _FIX)


def _stored_provenance(folder: Path) -> Provenance:
    return Provenance.from_json(_read(folder)["provenance"])


class CachedStream(TrainingStream):
    """The batches of a ``TrainingStream`` of whole photos, with block3 maps [B, C, h, w] in place of images.

    Args:
        stream: whose order, seed and ranks are kept.
        folder: holds the maps of its photos.

    Raises:
        UserError: a damaged folder.
    """

    def __init__(self, stream: TrainingStream, folder: PathLike) -> None:
        training, info = stream.training, stream.info
        super().__init__(training, info, stream.seed, stream.num_workers, stream.rank, stream.ranks)
        record = _read(Path(folder))
        self._train, self._validation = (_Maps(Path(folder) / split, record["splits"][split]) for split in _SPLITS)

    def _batches(self, steps: int, start_step: int) -> Iterator[Batch]:
        for epoch, numbers in self.orders(steps, start_step):
            for rows in numbers:
                yield self._train.batch(rows, epoch)

    def validation_batches(self) -> Iterator[Batch]:
        """As of the whole photos."""
        size, numbers = self.training.batch_size, self.validation_numbers()
        return (self._validation.batch(numbers[i : i + size], 0) for i in range(0, len(numbers), size))


class _Maps:
    """Maps, labels and names of the photos of a split; the maps stay on the disk."""

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        shape = tuple(record["shape"])
        if not path.is_file() or sha256_of(path) != record["sha256"]:
            raise UserError(f"{path}: missing or damaged; {_FIX}")
        self._maps = np.memmap(path, "<f2", "r", shape=shape) if shape[0] else np.zeros(shape, np.float16)
        self._labels, self._file_ids = np.asarray(record["labels"], np.int32), record["file_ids"]

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        """The photos of these places."""
        names = [self._file_ids[row] for row in rows]
        return Batch(self._maps[rows].astype(np.float32), self._labels[rows], names, epoch)
