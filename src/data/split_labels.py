"""Names and labels of all photos of a split, without the photos."""

from typing import List, NamedTuple, Sequence

import numpy as np
from tqdm import tqdm

from ..errors import UserError
from .reader import told_of
from .summary import MAKE_AGAIN, DatasetInfo

_ROWS = 1024  # read at once


class SplitLabels(NamedTuple):
    """Of each photo of a split, by its number: ``file_ids`` [N] names, ``labels`` [N] int64."""

    file_ids: List[str]
    labels: np.ndarray


def read_split_labels(shards: Sequence[str], info: DatasetInfo) -> SplitLabels:
    """Read them; a million photos take about two minutes.

    Args:
        shards: ``train_shards`` or ``validation_shards`` of ``info``.
        info: of the data set.

    Raises:
        UserError: a damaged shard, or a label outside the data set's classes.
    """
    import mindspore.dataset as ds

    file_ids: List[str] = []
    labels = [np.zeros(0, np.int64)]
    if shards:
        with told_of(shards), tqdm(desc="labels", unit="photo", disable=None, leave=False) as bar:
            rows = ds.MindDataset(
                list(shards), columns_list=["file_id", "label"], shuffle=False, num_parallel_workers=1
            )
            for batch in rows.batch(_ROWS).create_dict_iterator(num_epochs=1, output_numpy=True):
                file_ids.extend(batch["file_id"].tolist())
                labels.append(batch["label"].reshape(-1).astype(np.int64))
                bar.update(len(labels[-1]))
    split = SplitLabels(file_ids, np.concatenate(labels))
    wrong = np.flatnonzero((split.labels < 0) | (split.labels >= info.num_classes))
    if len(wrong):
        photo, label = file_ids[wrong[0]], split.labels[wrong[0]]
        fact = f"photo {photo} has label {label}, outside 0 to {info.num_classes - 1}"
        raise UserError(f"{info.folder}: {fact}; {MAKE_AGAIN}")
    return split
