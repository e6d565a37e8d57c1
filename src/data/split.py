"""Which photos train and which validate, label by label, as the reference TF DELF splits them."""

from typing import List, Sequence, Tuple

import numpy as np

from ..errors import UserError


def split_by_label(labels: Sequence[int], validation_size: float, seed: int) -> Tuple[np.ndarray, np.ndarray]:
    """Split photos into training and validation, label by label, as the reference TF DELF's dataset builder does.

    Our reading of it: labels are visited in the order of their first photo; the photos of one label, in the order of
    the list, are shuffled by ONE generator, ``RandomState(MT19937(SeedSequence(seed)))``, that all labels share; the
    first ``max(1, int(validation_size * n))`` go to validation, the rest to training. A label with a single photo
    hence has no training photo. The split is made over the listed photos, present or not, so that a photo never
    changes sides when more of the set is downloaded.

    Args:
        labels: class of each photo, in the order of the list.
        validation_size: share of validation, above 0 and below 1.
        seed: 0 or above.

    Returns:
        Positions of the training photos and of the validation photos, int64, each grouped by label.
    """
    if not 0 < validation_size < 1:
        raise UserError(f"`validation_split_size` is {validation_size}; it must be above 0 and below 1")
    if seed < 0:
        raise UserError(f"`seed` is {seed}; it must be 0 or above")
    grouped = np.argsort(labels, kind="stable")
    groups = np.split(grouped, np.cumsum(np.bincount(labels))[:-1])
    generator = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    train: List[np.ndarray] = []
    validation: List[np.ndarray] = []
    for members in sorted((group for group in groups if len(group)), key=lambda group: group[0]):
        order = np.arange(len(members))
        generator.shuffle(order)
        cut = max(1, int(validation_size * len(members)))
        validation.append(members[order[:cut]])
        train.append(members[order[cut:]])
    return np.concatenate(train), np.concatenate(validation)
