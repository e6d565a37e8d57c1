"""From where tuples take their pairs: the labels of a data set, a file of pairs, or a pickle of retrieval-SfM."""

import logging
from typing import List, Tuple

import numpy as np

from ..artifacts import PathLike
from ..errors import UserError
from ..names import NameTable
from .pairs_file import NamedPair, is_pickle, named_pairs
from .sfm_pickle import read_sfm_pickle
from .split_labels import SplitLabels
from .tuples import PairSource

logger = logging.getLogger(__name__)


def training_pairs(path: PathLike, photos: SplitLabels, name: str = "pairs_path") -> PairSource:
    """The pairs and clusters of the training photos.

    Pairs that name another photo than these, such as one of the validation split, are left out and counted in the log.

    Args:
        path: '' = any two photos of a label; a table of ``named_pairs``, each pair in both directions, whose photos
            have one label; or a pickle (.pkl) of retrieval-SfM, with its own pairs and clusters.
        photos: of the training split. The file names them by these names, with or without folder and extension.
        name: of the argument that gave ``path``, for messages.

    Raises:
        UserError: a file that cannot be used, no pair of two training photos, or a pair of different labels.
    """
    if not str(path):
        return PairSource(photos.labels)
    table = NameTable(photos.file_ids)
    return _of_sfm(path, table, len(photos.labels), name) if is_pickle(path) else _of_table(path, table, photos, name)


def _of_table(path: PathLike, table: NameTable, photos: SplitLabels, name: str) -> PairSource:
    pairs: List[Tuple[int, int]] = []
    left_out: List[NamedPair] = []
    for pair in named_pairs(path, name):
        a, b = table.find(pair.photo_a), table.find(pair.photo_b)
        if a is None or b is None:
            left_out.append(pair)
            continue
        if a == b:
            raise UserError(f"{pair.origin}: {pair.photo_a} and {pair.photo_b} are one photo; leave it out")
        if photos.labels[a] != photos.labels[b]:
            fact = f"{pair.photo_a} and {pair.photo_b} have different labels in the data set"
            raise UserError(f"{pair.origin}: {fact}; leave it out, or label them alike")
        pairs += [(a, b), (b, a)]
    _tell_left_out(path, len(pairs) // 2, left_out)
    return PairSource(photos.labels, np.unique(np.array(pairs, np.int64), axis=0))


def _of_sfm(path: PathLike, table: NameTable, num_photos: int, name: str) -> PairSource:
    found = read_sfm_pickle(path, name)
    if found.clusters is None:
        fix = "it serves to learn a whitening; to train, give retrieval-SfM-120k.pkl"
        raise UserError(f"{path}: has no cluster of its photos, by which negatives are told; {fix}")
    numbers = np.array([-1 if number is None else number for number in map(table.find, found.cids)], np.int64)
    clusters = np.full(num_photos, -1, np.int64)
    clusters[numbers[numbers >= 0]] = found.clusters[numbers >= 0]
    there = (numbers[found.pairs] >= 0).all(axis=1)
    left_out = [NamedPair(str(path), *(found.cids[photo] for photo in pair)) for pair in found.pairs[~there][:1]]
    _tell_left_out(path, int(there.sum()), left_out * int((~there).sum()))
    return PairSource(clusters, numbers[found.pairs[there]])


def _tell_left_out(path: PathLike, used: int, left_out: List[NamedPair]) -> None:
    """Log how many pairs are left out, or a UserError when none is used."""
    example = f", such as {left_out[0].photo_a} and {left_out[0].photo_b}" if left_out else ""
    if not used:
        fact = f"{path}: none of its {len(left_out)} pairs is of two training photos{example}"
        raise UserError(f"{fact}; name photos as the data set does")
    if left_out:
        logger.info("%s: %d pairs, %d more not of two training photos%s", path, used, len(left_out), example)
