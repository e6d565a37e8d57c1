"""One feature file from several: the shards of one extraction, or different folders extracted alike; a part of one."""

import dataclasses
import logging
import os
import re
from itertools import islice
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from tqdm import tqdm

from ..artifacts import PathLike, atomic_path, digest, is_made, sha256_of
from ..errors import UserError
from ..records import Provenance
from ..values import short
from .feature_file import FeatureFile, provenance_of, write_provenance
from .hdf5_output import Hdf5Output

logger = logging.getLogger(__name__)

_WHICH_PHOTOS = {"photos", "shard"}  # sources that may differ
_SHOWN_SHARDS = 8  # of those that are missing


def merge_features(features: Sequence[PathLike], output: PathLike, overwrite: bool = False) -> None:
    """Copy every photo of ``features`` into ``output``, which appears when it is whole.

    A run that was killed is started again. All shards (shard 1/n to n/n) give the file, dataset by dataset
    and attribute by attribute, that one machine would have made.

    Raises:
        UserError: other settings or the same photo in two files, or a file of other photos or settings at ``output``.
    """
    paths = [Path(path) for path in features]
    if os.path.realpath(output) in map(os.path.realpath, paths):
        raise UserError(f"{output}: is one of the files to merge; give another `output`")
    provenances, names = _read_heads(paths)
    merged = _merged_provenance(paths, provenances)
    if is_made(output, merged, provenance_of, overwrite):
        return
    with atomic_path(output) as temporary:
        _copy(paths, names, merged, temporary)
    logger.info("%s: %d photos of %d files", output, sum(map(len, names)), len(paths))


def select_features(features: PathLike, output: PathLike, names: Mapping[str, str]) -> Path:
    """Copy some photos of a feature file into another, which is made anew where anything has changed.

    Args:
        features: the file.
        output: the other one, of which nobody keeps anything by hand.
        names: in ``features``, by name in ``output``; what ``features`` lacks, as it could not be used, is left out.

    Returns:
        ``output``.

    Raises:
        UserError: ``features`` has none of them.
    """
    output = Path(output)
    with FeatureFile(features, "features") as source:
        there = {new: old for new, old in names.items() if old in source}
        if not there:
            raise UserError(f"{features}: has none of the {len(names)} photos that are wanted of it; extract them")
        sources = {"features": sha256_of(features), "photos": digest(dict(there))}
        provenance = dataclasses.replace(source.provenance, sources=sources)
        if _holds(output, provenance):
            return output
        with atomic_path(output) as temporary, Hdf5Output(temporary) as target:
            write_provenance(target.file, provenance)
            for new, old in tqdm(sorted(there.items()), desc="select", unit="photo", disable=None):
                source.copy(old, target.file, new)
                target.check()
    logger.info("%s: %d photos of %s", output, len(there), features)
    return output


def _holds(output: Path, provenance: Provenance) -> bool:
    try:
        return output.is_file() and provenance_of(output).same_run(provenance)
    except UserError:  # damaged, or no feature file
        return False


def _copy(paths: Sequence[Path], names: Sequence[Sequence[str]], provenance: Provenance, path: Path) -> None:
    bar = tqdm(total=sum(map(len, names)), desc="merge", unit="photo", disable=None)
    with bar, Hdf5Output(path) as output:
        write_provenance(output.file, provenance)
        for source_path, own in zip(paths, names):
            with FeatureFile(source_path, "features") as source:
                for name in own:
                    source.copy(name, output.file)
                    output.check()
                    bar.update()


def _read_heads(paths: Sequence[Path]) -> Tuple[List[Provenance], List[List[str]]]:
    """Provenance and photo names of each file; UserError when a photo is in two of them."""
    provenances, names = [], []
    owners: Dict[str, Path] = {}
    for path in paths:
        with FeatureFile(path, "features") as source:
            provenances.append(source.provenance)
            names.append(source.names)
        for name in names[-1]:
            if name in owners:
                raise UserError(f"{path}: holds {name}, as {owners[name]} does; merge files of different photos")
            owners[name] = path
    return provenances, names


def _merged_provenance(paths: Sequence[Path], provenances: Sequence[Provenance]) -> Provenance:
    """That of the merged file; UserError when the files were made under different settings."""
    first = provenances[0]
    for path, own in zip(paths, provenances):
        different = [name for name in own.differences(first) if name not in _WHICH_PHOTOS]
        if different:
            names = ", ".join(different)
            raise UserError(f"{path}: made under other settings than {paths[0]} ({names}); extract them alike")
    engines = sorted({str(own.notes["engine"]) for own in provenances if "engine" in own.notes})
    notes = {"engine": "+".join(engines)} if engines else {}
    sources = {**first.sources, **_merged_photos(paths, [own.sources for own in provenances])}
    return dataclasses.replace(first, sources=sources, notes=notes)


def _merged_photos(paths: Sequence[Path], sources: Sequence[Mapping[str, Any]]) -> Dict[str, str]:
    """Which photos the merged file holds; warns of shards that are missing. UserError for a shard that is none."""
    lists: Dict[str, List[str]] = {}
    for path, own in zip(paths, sources):
        shards = lists.setdefault(str(own.get("photos", "")), [])
        shards.append(_checked_shard(path, str(own.get("shard", ""))))
    whole = True
    for shards in lists.values():
        for count in sorted({int(shard.split("/")[1]) for shard in shards if shard}):
            num_missing = count - len({shard for shard in shards if shard.endswith(f"/{count}")})
            if num_missing:
                whole = False
                absent = (f"{i}/{count}" for i in range(1, count + 1) if f"{i}/{count}" not in shards)
                shown = ", ".join(islice(absent, _SHOWN_SHARDS)) + (", ..." if num_missing > _SHOWN_SHARDS else "")
                logger.warning("shards %s are missing: the photos in them are left out", shown)
    if len(lists) == 1 and whole:
        photos = next(iter(lists))
    else:
        photos = digest({"merged": sorted([photos, sorted(shards)] for photos, shards in lists.items())})
    return {"photos": photos, "shard": ""}


def _checked_shard(path: Path, shard: str) -> str:
    """``shard`` as a feature file gives it, if it is '' or such as 2/8."""
    numbers = re.fullmatch(r"([1-9][0-9]{0,17})/([1-9][0-9]{0,17})", shard, re.ASCII)
    if shard and (numbers is None or int(numbers[1]) > int(numbers[2])):
        raise UserError(f"{path}: damaged (it is shard {short(shard)}, not one such as 2/8); extract the photos again")
    return shard
