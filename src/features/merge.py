"""One feature file from several: the shards of one extraction, or different folders extracted alike."""

import dataclasses
import logging
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from tqdm import tqdm

from ..artifacts import PathLike, atomic_path, digest, is_made
from ..errors import UserError
from ..records import Provenance
from .feature_file import FeatureFile, provenance_of, write_provenance
from .hdf5_output import Hdf5Output

logger = logging.getLogger(__name__)

_WHICH_PHOTOS = {"photos", "shard"}  # sources that may differ


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
    provenances, names = _read_heads(paths)
    merged = _merged_provenance(paths, provenances)
    if is_made(output, merged, provenance_of, overwrite):
        return
    with atomic_path(output) as temporary:
        _copy(paths, names, merged, temporary)
    logger.info("%s: %d photos of %d files", output, sum(map(len, names)), len(paths))


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
    engines = sorted({own.notes["engine"] for own in provenances if "engine" in own.notes})
    notes = {"engine": "+".join(engines)} if engines else {}
    sources = {**first.sources, **_merged_photos([own.sources for own in provenances])}
    return dataclasses.replace(first, sources=sources, notes=notes)


def _merged_photos(sources: Sequence[Any]) -> Dict[str, str]:
    """Which photos the merged file holds; warns of shards that are missing."""
    lists: Dict[Any, List[str]] = {}
    for own in sources:
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
    return {"photos": photos, "shard": ""}
