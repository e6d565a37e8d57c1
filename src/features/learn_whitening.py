"""Fit a whitening on the global descriptors of a feature file, and the pairs that it may be learned from."""

import dataclasses
import logging
from itertools import groupby
from typing import Any, Dict, Optional, Sequence

import numpy as np

from ..artifacts import PathLike, digest, is_made
from ..data.pairs_file import named_pairs
from ..errors import UserError
from ..names import NameTable
from .feature_file import FeatureFile
from .kinds import GLOBAL, part_of
from .whitening import load_whitening, save_whitening
from .whitening_fit import fit_learned, fit_pca, power_of

logger = logging.getLogger(__name__)

_PARTNERS = 20  # photos of its folder that a photo is paired with, at most


def pairs_of_folders(names: Sequence[str]) -> np.ndarray:
    """Pairs of photos of one folder, the first part of their names: [M, 2] int64, numbers of sorted ``names``.

    Each photo is the query of as many pairs as any other of its folder: with each of the next 20 in order of the names,
    after the last comes the first. Photos in no folder are in no pair.
    """
    pairs = [np.zeros((0, 2), np.int64)]
    for folder, group in groupby(range(len(names)), key=lambda number: names[number].rpartition("/")[0].split("/")[0]):
        numbers = np.array(list(group))
        if folder:
            steps = range(1, min(len(numbers) - 1, _PARTNERS) + 1)
            pairs += [np.stack([numbers, np.roll(numbers, -step)], axis=1) for step in steps]
    return np.concatenate(pairs)


def read_pairs(path: PathLike, names: Sequence[str]) -> np.ndarray:
    """Pairs of a file, as of ``data.pairs_file.named_pairs``: [M, 2] int64, numbers of ``names``.

    Raises:
        UserError: no such file, a name that is no photo's or several photos', or a photo paired with itself.
    """
    table, pairs = NameTable(names), []
    for origin, *photos in named_pairs(path):
        pair = [table.find(name) for name in photos]
        if None in pair:
            name = photos[pair.index(None)]
            raise UserError(f"{origin}: no photo {name!r} among those of the features; leave it out")
        if pair[0] == pair[1]:
            raise UserError(f"{origin}: {photos[0]!r} is paired with itself; leave it out")
        pairs.append(pair)
    return np.array(pairs, np.int64).reshape(-1, 2)


def learn_whitening(
    features: PathLike,
    output: PathLike,
    method: str = "pca",
    dim: int = 0,
    power: Optional[float] = None,
    shrinkage: Optional[float] = None,
    pairs_path: PathLike = "",
    ridge: float = 0.0,
    overwrite: bool = False,
) -> None:
    """Fit a whitening on every global descriptor of ``features`` and write it to ``output`` (.npz).

    A whitening of the same features and settings is kept.

    Args:
        features: feature file with global descriptors that went through no whitening.
        output: file to write.
        method: "pca", see ``fit_pca``, or "learned", see ``fit_learned``.
        dim: dimensions kept; 0 = as many as the method can give.
        power, shrinkage: for "pca".
        pairs_path: for "learned": a file of pairs, see ``read_pairs``; '' = photos of the same folder.
        ridge: for "learned".
        overwrite: another whitening at ``output`` may be replaced.

    Raises:
        UserError: no such features, whitened already, too few photos or pairs, bad settings, or another whitening
            stands at ``output``.
    """
    with FeatureFile(features, "features") as source:
        made = part_of(source.provenance, GLOBAL)
        if made.encoder.get("whitening"):
            raise UserError(f"{features}: its descriptors are whitened already; extract with `whitening_path` ''")
        settings: Dict[str, Any] = {"method": method, "dim": dim}
        if method == "pca":
            settings["whiten_power"] = power_of(power, shrinkage)
            pairs = np.zeros((0, 2), np.int64)
        else:
            pairs = read_pairs(pairs_path, source.names) if pairs_path else pairs_of_folders(source.names)
            settings.update(ridge=ridge, pairs=digest({"pairs": pairs.tolist()}))
        wanted = dataclasses.replace(made, settings={**made.settings, **settings}, notes={})
        if is_made(output, wanted, lambda path: load_whitening(path, "output").provenance, overwrite):
            return
        if method == "learned" and not len(pairs):
            fix = "put the photos of each place into a folder of its own, or give `pairs`"
            raise UserError(f"{features}: no two photos lie in one folder; {fix}")
        vectors = source.global_descriptors(source.names)
    provenance = dataclasses.replace(wanted, notes={"num_photos": len(vectors), "num_pairs": len(pairs)})
    if method == "pca":
        whitening = fit_pca(vectors, dim, settings["whiten_power"], provenance=provenance)
    else:
        whitening = fit_learned(vectors, pairs, dim, ridge, provenance)
    save_whitening(output, whitening)
    kept, photos = len(whitening.components), len(vectors)
    logger.info("%s: %d of %d dimensions from %d photos", output, kept, vectors.shape[1], photos)
