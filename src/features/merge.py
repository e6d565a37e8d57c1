"""One feature file from several: the shards of one extraction, or different folders extracted alike."""

import logging
import os
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import h5py
from tqdm import tqdm

from ..artifacts import PathLike, digest
from ..errors import UserError
from .feature_file import FORMAT_VERSION, FeatureFile, write_attributes
from .feature_parts import different_settings, is_made

logger = logging.getLogger(__name__)

Attributes = Dict[str, Any]


def merge_features(features: Sequence[PathLike], output: PathLike, overwrite: bool = False) -> None:
    """Copy every photo of ``features`` into ``output``, which appears when it is whole.

    A run that was killed is started again. All shards (shard 1/n to n/n) give the file, dataset by dataset
    and attribute by attribute, that one machine would have made.

    Raises:
        UserError: other settings or the same photo in two files, or a file of other photos or settings at ``output``.
    """
    paths = [Path(path) for path in features]
    if Path(output).resolve() in [path.resolve() for path in paths]:
        raise UserError(f"{output}: is one of the files to merge; give another `output`")
    attributes, names = _read_heads(paths)
    merged = _merged_attributes(paths, attributes)
    if is_made(output, merged, overwrite):
        logger.info("%s: already made", output)
        return
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(f"{output}.merging")  # one name, so that the next run overwrites what a kill left
    try:
        _copy(paths, names, merged, unfinished)
        os.replace(unfinished, output)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    logger.info("%s: %d photos of %d files", output, sum(map(len, names)), len(paths))


def _copy(paths: Sequence[Path], names: Sequence[Sequence[str]], attributes: Attributes, unfinished: Path) -> None:
    bar = tqdm(total=sum(map(len, names)), desc="merge", unit="photo", disable=None)
    with bar, h5py.File(unfinished, "w") as target:
        write_attributes(target, {**attributes, "format_version": FORMAT_VERSION})
        for path, own in zip(paths, names):
            with h5py.File(path, "r") as source:
                for name in own:
                    source.copy(name, target, name)  # whole groups: their attributes come along
                    bar.update()
    with open(unfinished, "rb") as written:
        os.fsync(written.fileno())  # else a power cut could leave the new name with no content


def _read_heads(paths: Sequence[Path]) -> Tuple[List[Attributes], List[List[str]]]:
    """Attributes and photo names of each file; UserError when a photo is in two of them."""
    attributes, names = [], []
    owners: Dict[str, Path] = {}
    for path in paths:
        with FeatureFile(path, "features") as source:
            attributes.append({name: value for name, value in source.attributes.items() if name != "format_version"})
            names.append(source.names)
        for name in names[-1]:
            if name in owners:
                raise UserError(f"{path}: holds {name}, as {owners[name]} does; merge files of different photos")
            owners[name] = path
    return attributes, names


def _merged_attributes(paths: Sequence[Path], attributes: Sequence[Attributes]) -> Attributes:
    """Attributes of the merged file; UserError when the files were made under different settings."""
    first = attributes[0]
    for path, own in zip(paths, attributes):
        different = {*different_settings(own, first), *different_settings(first, own)} - {"photos", "shard"}
        if different:
            names = ", ".join(sorted(different - {"config_hash"}) or different)
            raise UserError(f"{path}: made under other settings than {paths[0]} ({names}); extract them alike")
    engines = {own["engine"] for own in attributes if "engine" in own}
    engine = {"engine": "+".join(sorted(engines))} if engines else {}
    return {**first, **engine, **_merged_photos(attributes)}


def _merged_photos(attributes: Sequence[Attributes]) -> Attributes:
    """Which photos the merged file holds; warns of shards that are missing."""
    lists: Dict[Any, List[str]] = {}
    for own in attributes:
        lists.setdefault(own.get("photos"), []).append(own.get("shard", ""))
    whole = True
    for shards in lists.values():
        counts = {shard.rsplit("/", 1)[-1] for shard in shards}
        for count in counts - {""}:
            missing = [f"{i}/{count}" for i in range(1, int(count) + 1) if f"{i}/{count}" not in shards]
            if missing:
                whole = False
                logger.warning("shards %s are missing: the photos in them are left out", ", ".join(missing))
    if len(lists) == 1 and whole:
        photos = next(iter(lists))
    else:
        photos = digest({"merged": sorted([str(photos), sorted(shards)] for photos, shards in lists.items())})
    return {"photos": photos, **({"shard": ""} if any("shard" in own for own in attributes) else {})}
