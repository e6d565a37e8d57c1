"""Between a feature file and a folder of the reference's `.delf` files."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Dict, List, Optional

from tqdm import tqdm

from ..artifacts import (
    PathLike,
    atomic_path,
    atomic_write_json,
    build_folder_for,
    digest,
    is_made,
    require_folder,
    sha256_of,
)
from ..errors import UserError, reading
from ..images import list_images, upright_size
from ..names import NameTable, bare_name, require_inside
from ..own_files import refuse_strangers
from ..records import LocalFeatures, Provenance
from .delf_format import SUFFIX, features_as_delf, read_delf
from .feature_file import FeatureFile, is_off_unit, provenance_of, write_group, write_provenance
from .hdf5_output import Hdf5Output

logger = logging.getLogger(__name__)

PROVENANCE_FILE = "provenance.json"


def features_to_delf(features: PathLike, folder: PathLike, overwrite: bool = False) -> None:
    """Write each photo of a feature file as ``<name without the photo's extension>.delf``, as the reference names them.

    The folder appears whole or not at all; ``provenance.json`` in it says what the features were made with.

    Raises:
        UserError: two photos differ by extension only, or something else stands at ``folder``.
    """
    folder = Path(folder)
    with FeatureFile(features, "features") as source:
        provenance = dataclasses.replace(source.provenance, sources={"features": sha256_of(features)})
        if is_made(folder, provenance, provenance_of_folder, overwrite, folder=True):
            return
        targets: Dict[str, str] = {}
        for name in source.names:
            other = targets.setdefault(bare_name(name), name)
            if other != name:
                raise UserError(f"{features}: {other} and {name} would get one {SUFFIX} file; rename one photo")
        folders = {parent.as_posix() for target in targets for parent in Path(target).parents}
        clash = next((target for target in targets if f"{target}{SUFFIX}" in folders), None)
        if clash is not None:
            fact = f"{targets[clash]} would get the file {clash}{SUFFIX}, which is a folder of other photos"
            raise UserError(f"{features}: {fact}; rename one of the two")
        refuse_strangers(folder, lambda name: name == PROVENANCE_FILE or name.endswith(SUFFIX), f"the {SUFFIX} files")
        with build_folder_for(folder) as building:
            for target, name in tqdm(targets.items(), desc="convert", unit="photo", disable=None):
                path = building / f"{target}{SUFFIX}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(features_as_delf(source.read(name)))
            atomic_write_json(building / PROVENANCE_FILE, provenance.as_json())
    logger.info("%s: %d %s files", folder, len(targets), SUFFIX)


def delf_to_features(
    folder: PathLike,
    output: PathLike,
    images_path: PathLike,
    checkpoint_sha256: Optional[str] = None,
    overwrite: bool = False,
) -> None:
    """Gather a folder of `.delf` files into a feature file.

    Args:
        folder: holds them, in folders or not.
        output: feature file.
        images_path: the photos, upright as this project reads them: `.delf` files do not hold their sizes.
        checkpoint_sha256: identity of the network that made the features, hex; None = what ``features_to_delf`` left
            in the folder, '' where it left nothing. Index and queries can be searched when theirs are equal.
        overwrite: replace a feature file made of others.

    Raises:
        UserError: no `.delf` file, one that is damaged or has no photo, descriptors of several dimensions.
    """
    files = sorted(require_folder(folder, "delf_path").rglob(f"*{SUFFIX}"))
    if not files:
        raise UserError(f"{folder}: no {SUFFIX} file in this folder")
    if not str(images_path):
        raise UserError(f"{SUFFIX} files do not hold the sizes of the photos: give the photos' folder as `images_path`")
    photos = _photos_of(files, Path(folder), images_path)
    provenance = _provenance_of_files(files, Path(folder), checkpoint_sha256)
    if is_made(output, provenance, provenance_of, overwrite):
        return
    dimension, off_unit = None, 0
    with atomic_path(output) as temporary, Hdf5Output(temporary) as target:
        write_provenance(target.file, provenance)
        for path, name in zip(tqdm(files, desc="convert", unit="photo", disable=None), photos):
            features = read_delf(path, upright_size(Path(images_path) / name))
            dimension = _same_dimension(features, dimension, path)
            off_unit += is_off_unit(features)
            write_group(target.file, name, features)
            target.check()
    if off_unit:
        logger.warning("%d files hold descriptors whose norm is not 1; match_distance expects that", off_unit)
    logger.info("%s: %d photos", output, len(files))


def provenance_of_folder(folder: Path) -> Provenance:
    """What the files in a folder of ``features_to_delf`` were made with; UserError for another folder."""
    path = folder / PROVENANCE_FILE
    if not path.is_file():
        raise UserError(f"{folder}: stands there and was not made by this command; give another `output`")
    with reading(path, "give another `output`, or make that folder again"):
        return Provenance.from_json(json.loads(path.read_text(encoding="utf-8")))


def _provenance_of_files(files: List[Path], folder: Path, checkpoint_sha256: Optional[str]) -> Provenance:
    """That of the gathered feature file; its photos are told by the names and sizes of the files."""
    sizes = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]
    if checkpoint_sha256 is None and (folder / PROVENANCE_FILE).exists():
        origin = provenance_of_folder(folder)
    else:
        origin = Provenance(checkpoint_sha256 or "", settings={"format": SUFFIX})
    return dataclasses.replace(origin, sources={"photos": digest({"files": sizes})})


def _photos_of(files: List[Path], folder: Path, images_path: PathLike) -> List[str]:
    """The photo of each file, relative to ``images_path``."""
    names = list_images(require_folder(images_path, "images_path"))
    table = NameTable(names)
    owners: Dict[int, Path] = {}
    for path in files:
        wanted = path.relative_to(folder).with_suffix("").as_posix()
        number = table.find(wanted)
        if number is None:
            raise UserError(f"{images_path}: no photo {wanted} in it, whose size {path} needs")
        try:
            require_inside(names[number], images_path).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{path}: its name is not UTF-8, which it must be; rename it and the photo") from error
        if owners.setdefault(number, path) != path:
            raise UserError(f"{path}: belongs to {names[number]}, as {owners[number]} does; remove one of them")
    return [names[number] for number in owners]


def _same_dimension(features: LocalFeatures, dimension: Optional[int], path: Path) -> Optional[int]:
    if not len(features):
        return dimension
    found = features.descriptors.shape[1]
    if dimension not in (None, found):
        raise UserError(f"{path}: descriptors of {found} numbers, those before have {dimension}; convert them apart")
    return found
