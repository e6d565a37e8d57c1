"""A feature file whose descriptors are codes of bits: about a kilobyte a photo instead of ten and more."""

import dataclasses
import logging
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, atomic_path, digest, is_made, sha256_of
from ..errors import UserError
from ..records import LocalFeatures, Provenance
from .binary_codes import PACKED, Rotation, learn_rotation, pack
from .feature_file import FeatureFile, provenance_of, write_group, write_provenance
from .feature_set import FeatureSet
from .hdf5_output import Hdf5Output
from .kinds import LOCAL, part_of

MOST_BITS = 1024
_SAMPLE_PER_NUMBER, _MOST_SAMPLE = 400, 100_000  # descriptors that a rotation is learnt from

logger = logging.getLogger(__name__)


def binarize_features(
    features: PathLike,
    output: PathLike,
    bits: int = 128,
    max_feature_num: int = 50,
    like: PathLike = "",
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write the photos of a feature file with codes in place of descriptors; see ``binary_codes``.

    A file of the same features and settings is kept. Global descriptors stay as they are.

    Args:
        features: feature file with local features.
        output: feature file to write; it carries the rotation of its codes.
        bits: of a code.
        max_feature_num: strongest features of a photo that are kept; 0 = all.
        like: a file of this function whose rotation is taken, so that codes of both can be compared; '' = a rotation is
            learnt from ``features``.
        seed: of a rotation that is learnt.
        overwrite: another file at ``output`` may be replaced.

    Raises:
        UserError: no local features, codes already, ``like`` is of other features, or another file stands at
            ``output``.
    """
    if bits % 8 or not 8 <= bits <= MOST_BITS:
        raise UserError(f"`bits` is {bits}; give a multiple of 8 up to {MOST_BITS}")
    with FeatureFile(features, "features") as source:
        if source.rotation is not None:
            raise UserError(f"{features}: its descriptors are codes already; give the file they were made from")
        rotation = _rotation_of(like, source) if str(like) else None
        wanted = _describe(source, max_feature_num, rotation, {"bits": bits, "seed": seed})
        if is_made(output, wanted, lambda path: _as_wanted(provenance_of(path), rotation), overwrite):
            return Path(output)
        rotation = rotation or _learn(features, bits, seed)
        binary = {"bits": rotation.bits, "rotation": rotation.identity}
        made = dataclasses.replace(wanted, encoder={**wanted.encoder, "binary": binary})
        with atomic_path(output) as temporary, Hdf5Output(temporary, compact=True) as target:
            write_provenance(target.file, made)
            rotation.write(target.file)
            for name in tqdm(source.names, desc="binarize", unit="photo", disable=None):
                _copy(source, name, target, rotation, max_feature_num)
                target.check()
    logger.info("%s: %d photos, codes of %d bits", output, len(source), rotation.bits)
    return Path(output)


def _copy(source: FeatureFile, name: str, target: Hdf5Output, rotation: Rotation, max_feature_num: int) -> None:
    """One photo: packed features, with width and height of the photo beside them, and its global descriptor."""
    vector = source.read_global(name) if source.has_global(name) else None
    if vector is not None:
        write_group(target.file, name, None, global_descriptor=vector)
    local, group = _strongest(source.read(name), max_feature_num), target.file.require_group(name)
    group[PACKED] = pack(local, rotation)
    width, height = local.image_size
    group.attrs.update(width=np.uint32(width), height=np.uint32(height), resize_factor=local.resize_factor)


def _strongest(features: LocalFeatures, count: int) -> LocalFeatures:
    """The first ``count`` features, as they stand best first; all of them for 0."""
    rows = slice(count or None)
    parts = {name: getattr(features, name)[rows] for name in ("keypoints", "scales", "scores", "descriptors")}
    return dataclasses.replace(features, **parts)


def _rotation_of(like: PathLike, source: FeatureFile) -> Rotation:
    """The rotation of a file of codes; UserError when it is none, or of other features than those of ``source``."""
    with FeatureFile(like, "like") as codes:
        if codes.rotation is None:
            raise UserError(f"{like}: its descriptors are no codes; give a file of the command binarize_features")
        ours, theirs = (part_of(each.provenance, LOCAL) for each in (source, codes))
        encoder = {key: value for key, value in theirs.encoder.items() if key != "binary"}
        different = ours.differences(dataclasses.replace(theirs, encoder=encoder), ("weights", "encoder"))
        if different:
            fact = f"its codes are of other features than those of {source.path} ({', '.join(different)})"
            raise UserError(f"{like}: {fact}; extract both alike")
        return codes.rotation


def _learn(features: PathLike, bits: int, seed: int) -> Rotation:
    with FeatureSet([features]) as photos:
        rows = min(_SAMPLE_PER_NUMBER * max(bits, photos.dimension), _MOST_SAMPLE)
        sample = photos.sample(rows, seed)
    logger.info("learning codes of %d bits from %d descriptors of %d numbers", bits, *sample.shape)
    return learn_rotation(sample, bits, seed)


def _describe(
    source: FeatureFile, max_feature_num: int, rotation: Optional[Rotation], learnt: Dict[str, Any]
) -> Provenance:
    """How the file is made, but for a rotation that is not learnt yet.

    What does not change the meaning of a descriptor goes to the sources: files of one rotation may stand side by side,
    also that which it was learnt from.
    """
    made, settings = source.provenance, dict(source.provenance.settings)
    if max_feature_num:
        settings["max_feature_num"] = max_feature_num
    binary = {"bits": rotation.bits, "rotation": rotation.identity} if rotation else {"bits": learnt["bits"]}
    how = {"features": sha256_of(source.path), "codes": "given" if rotation else learnt}
    encoder, sources = {**made.encoder, "binary": binary}, {"photos": digest(how), "shard": ""}
    return Provenance(made.weights, encoder, settings, sources, made.notes)


def _as_wanted(made: Provenance, rotation: Optional[Rotation]) -> Provenance:
    """The provenance of a file that stands there, without the rotation where one is to be learnt."""
    binary = made.encoder.get("binary")
    if rotation is not None or not binary:
        return made
    return dataclasses.replace(made, encoder={**made.encoder, "binary": {"bits": binary["bits"]}})
