"""Which photos to extract, and from them to a finished feature file: skip, resume, one worker or several, merge."""

import dataclasses
import logging
import os
import re
import unicodedata
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Callable, Dict, List, Optional, Sequence, Union

import numpy as np

from ..artifacts import PathLike, digest, require_file, require_folder
from ..config import ExtractionConfig, GlobalConfig, ModelConfig, RunConfig
from ..device import network_threads
from ..errors import UserError, reading
from ..images import list_images
from ..names import PHOTO_SUFFIXES
from ..records import Photo, Provenance
from ..stop_signals import StopSignals
from ..workers import Pool, Stage, WorkerDied
from . import feature_parts
from .encoder import Encoder, Extracted, LoadNetwork, Pipeline, make_encoder
from .extraction_log import Failures, SpeedLog, list_failures, tell_clipped
from .kinds import GLOBAL, LOCAL
from .photo_state import compare, digest_of_failed, still_there

logger = logging.getLogger(__name__)

Devices = Union[Sequence[int], Callable[..., None]]

_PHOTOS_AHEAD = 3  # that a worker has beyond those its readers are at


def extract_to_file(
    photos: Sequence[Photo],
    output: PathLike,
    run: RunConfig,
    model: ModelConfig,
    extraction: ExtractionConfig,
    protocol: str = "",
    devices: Devices = (0,),
    shard: str = "",
    load_network: Optional[LoadNetwork] = None,
    kind: str = LOCAL,
    descriptor: GlobalConfig = GlobalConfig(),  # noqa: B008
) -> None:
    """Extract ``photos`` into the feature file ``output``; a killed run goes on.

    A finished file of the same settings is brought up to date: photos that are as they were are kept, new and changed
    ones are extracted, those that could not be used are tried again when their files have changed, and those that are
    gone from the folder are dropped.

    Photos that cannot be used are left out: all are listed with their reasons in ``<output>.failed.txt``, the first
    ones in the log, and the run succeeds as long as one photo has features.

    Args:
        photos: what to extract.
        output: feature file.
        run, model, extraction: sections of the recipe.
        protocol: that chose the photos' boxes, '' = none; recorded.
        devices: device ids, one worker each; or a function in place of ``encode_on_devices``, which then has its own.
        shard: '2/8' = only the second of eight parts of ``photos``, '' = all; recorded.
        load_network: makes the network of a worker; None = that of the engines.
        kind: what to extract: "local", "global" or "both"; see ``make_encoder``.
        descriptor: section of the recipe, of global descriptors.

    Raises:
        UserError: unusable checkpoint, PCA or whitening, no usable photo; at ``output`` a file of other settings, of
            none of the photos, or of more photos than these that are still there.
        Interrupted: SIGINT or SIGTERM came; what was finished is kept.
    """
    output = Path(output)  # 'name/' is 'name'
    encoder = make_encoder(run, model, extraction, load_network, kind, descriptor)
    half = extraction.half and kind != GLOBAL  # of local features alone
    provenance = describe(encoder, photos, protocol, shard, half)
    own = photos_of_shard(photos, shard)
    if (kept := _kept_of_finished(output, provenance, own, run.overwrite)) is None:
        return
    parts = feature_parts.parts_folder(output)
    stop = StopSignals(f"stopped; finished photos are kept in {parts}, run the same command again to go on")
    with feature_parts.open_parts(output, provenance, run.overwrite) as folder, stop:
        where = {**dict.fromkeys(kept, Path(output)), **feature_parts.finished_photos(folder, own)}
        missing = [photo for photo in own if photo.name not in where]
        if len(kept) + len(missing) < len(own):
            logger.info("%d of %d photos were finished by an earlier run", len(own) - len(missing), len(own))
        failures = _extract_missing(missing, where, folder, encoder, run.num_workers, half, devices)
        list_failures(failures, output)
        if not where:
            raise UserError(f"none of the {len(own)} photos can be used; the first: {next(iter(failures.values()))}")
        provenance = _with_failed(provenance, [photo for photo in own if photo.name in failures])
        features = feature_parts.merge_parts(folder, [photo.name for photo in own], output, provenance, where)
    tell_clipped([photo.name for photo in own if photo.box is not None and photo.name in where], output)
    _tell_finished(output, kind, len(where), features)


def _with_failed(provenance: Provenance, failed: Sequence[Photo]) -> Provenance:
    notes = {**provenance.notes, "failed": digest_of_failed(failed)} if failed else provenance.notes
    return dataclasses.replace(provenance, notes=notes)


def _tell_finished(output: Path, kind: str, photos: int, features: int) -> None:
    holds = ["a global descriptor each"] if kind != LOCAL else []
    holds += [f"{features / photos:.1f} descriptors a photo"] if kind != GLOBAL else []
    logger.info("%s: %d photos, %s, %.1f MB", output, photos, ", ".join(holds), os.path.getsize(output) / 1e6)


def _kept_of_finished(
    output: PathLike, provenance: Provenance, photos: Sequence[Photo], overwrite: bool
) -> Optional[List[str]]:
    """Names of the photos whose features in a finished file hold; None when nothing is left to do."""
    made = feature_parts.made_alike(output, provenance, overwrite)
    if made is None:
        return []
    found = compare(output, made, photos)
    if not found.shared:
        fact = f"made of other photos, none of which is among these {len(photos)}"
        raise UserError(f"{output}: {fact}; give `overwrite`, or another `output`")
    if found.is_made and provenance.same_run(made):
        feature_parts.drop_parts(output)
        logger.info("%s: already made, features of %d of %d photos", output, len(found.kept), len(photos))
        return None
    left_out = still_there(found.gone, photos)
    if left_out:
        fact = f"holds {len(left_out)} photos that are still there and not wanted, {left_out[0]} first"
        raise UserError(f"{output}: {fact}; give another `output`, or `overwrite` to lose their features")
    counts = (found.new, found.changed, len(found.gone), len(found.kept))
    logger.info("%s: %d photos are new, %d changed, %d gone, %d kept", output, *counts)
    return found.kept


def describe(
    encoder: Encoder, photos: Sequence[Photo], protocol: str = "", shard: str = "", half: bool = False
) -> Provenance:
    """The provenance of the encoder's features of ``photos`` in a file."""
    sources = {"photos": photos_digest(photos), "protocol": protocol, "shard": shard}
    settings = {**encoder.provenance.settings, "half": half}
    return dataclasses.replace(encoder.provenance, settings=settings, sources=sources)


def _extract_missing(
    missing: Sequence[Photo],
    where: Dict[str, Path],
    folder: Path,
    encoder: Encoder,
    threads: int,
    half: bool,
    devices: Devices,
) -> Failures:
    """Extract photos into parts in ``folder``, and note in ``where`` the part that holds each."""
    failures: Failures = {}
    if not missing:
        return failures
    with SpeedLog(len(missing)) as log, feature_parts.PartWriter(folder, half) as writer:

        def receive(photo: Photo, result: Union[Extracted, str]) -> None:
            if isinstance(result, str):
                failures[photo.name] = result
            else:
                _write(writer, photo, result)
            log.advance()

        if callable(devices):
            devices(missing, encoder, threads, receive)
        else:
            encode_on_devices(missing, encoder, threads, devices[: len(missing)], receive)
    where.update(writer.finished)
    return failures


def encode_on_devices(
    photos: Sequence[Photo],
    encoder: Encoder,
    threads: int,
    devices: Sequence[int],
    receive: Callable[[Photo, Union[Extracted, str]], None],
) -> None:
    """Call ``receive`` with each photo's features, or the reason why it has none, as they are finished.

    Args:
        photos: to encode.
        encoder: not loaded yet.
        threads: that read photos, of each worker.
        devices: ids; a single one is used by this process, several by a worker process each.
        receive: called in this process.

    Raises:
        UserError: the network failed, ``receive`` did, or all workers died.
    """
    make = partial(_make_stage, encoder, threads, network_threads(encoder.engine, len(devices)))
    if len(devices) == 1:
        remaining = iter(photos)
        make(devices[0])(lambda _: next(remaining), receive)
        return
    with Pool(make, devices, threads + _PHOTOS_AHEAD, "extraction worker") as pool:
        for photo, result in pool.map(photos):
            if isinstance(result, WorkerDied):
                result = f"{photo.path}: two workers died over it (status {result.status})"
            receive(photo, result)


def _make_stage(encoder: Encoder, threads: int, network_threads: int, device_id: int) -> Stage:
    """What a worker does: load the network, and put photos through its pipeline."""
    return Pipeline(encoder.load(device_id, network_threads), threads).run


def _write(writer: feature_parts.PartWriter, photo: Photo, result: Extracted) -> None:
    encoded = result.encoded
    try:
        writer.add(photo.name, encoded.local, global_descriptor=encoded.global_descriptor, **result.told)
    except OSError as error:
        raise UserError(f"{photo.name}: cannot be written ({error}); make room on the disk and run again") from error


def photos_of_folder(images_path: PathLike, num_images: int = 0, seed: int = 0) -> List[Photo]:
    """Every photo of a folder by its relative path, or a random ``num_images`` of them; UserError if there is none."""
    names = list_images(require_folder(images_path, "images_path"))
    return [Photo(name, os.path.join(images_path, name)) for name in some_of(names, num_images, seed)]


def some_of(names: Sequence[str], count: int, seed: int) -> List[str]:
    """``count`` of the names drawn at random, in their order; all when there are no more, or ``count`` is 0."""
    if not 0 < count < len(names):
        return list(names)
    chosen = np.random.default_rng(seed).choice(len(names), count, replace=False)
    return [names[number] for number in sorted(chosen)]


def photos_of_list(images_path: PathLike, list_path: PathLike) -> List[Photo]:
    """The photos whose paths relative to ``images_path`` a text file lists, one a line, sorted; repeats count once.

    A line may also be 'path label', the other form of dirtorch's lists: the label is left out.

    A path that is not there as it is written is sought among the photos in Unicode's composed form (NFC), as file
    systems differ in it; the photo has the name of its file.

    Raises:
        UserError: the list cannot be read or is empty, or names a photo that is not in the folder.
    """
    root = require_folder(images_path, "images_path")
    listed = {str(PurePosixPath(_without_label(line, root))) for line in read_list(list_path)}
    if not listed:
        raise UserError(f"{list_path}: lists no photo; list one a line, relative to `images_path`")
    names, others = set(), {}
    for name in sorted(listed):
        if not name.isascii() and not (root / name).is_file():
            others = others or {unicodedata.normalize("NFC", other): other for other in list_images(root)}
            name = others.get(unicodedata.normalize("NFC", name), name)
        inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
        if not inside or not (root / name).is_file():
            raise UserError(f"{list_path}: {name} is not a photo in {images_path}; list paths relative to that folder")
        names.add(name)
    return [Photo(name, os.path.join(images_path, name)) for name in sorted(names)]


def _without_label(line: str, root: Path) -> str:
    """The path of a line 'path label', where the whole line is no photo's name; other lines as they are."""
    path = line.rsplit(None, 1)[0]
    labelled = path.lower().endswith(PHOTO_SUFFIXES) and not line.lower().endswith(PHOTO_SUFFIXES)
    return path if labelled and not (root / line).is_file() else line


def read_list(list_path: PathLike) -> List[str]:
    """The lines of a text file without spaces around them, empty ones left out; UserError when it cannot be read."""
    with reading(require_file(list_path, "list_images_path")):
        try:
            text = Path(list_path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            fix = "list one photo a line in UTF-8 (`list_images_path`)"
            raise UserError(f"{list_path}: not a text file; {fix}") from error
    return [line.strip() for line in text.split("\n") if line.strip()]


def with_prefix(photos: Sequence[Photo], prefix: str) -> List[Photo]:
    """The photos with ``prefix`` before their names, as distractors want that lie in a folder of their own.

    Raises:
        UserError: the prefix begins with '/', or holds an empty part, '.' or '..'.
    """
    if prefix and not {"", ".", ".."}.isdisjoint(prefix.rstrip("/").split("/")):
        raise UserError(f"`name_prefix` is {prefix!r}; give text such as distractors/")
    return [dataclasses.replace(photo, name=prefix + photo.name) for photo in photos]


def photos_of_shard(photos: Sequence[Photo], shard: str) -> List[Photo]:
    """The part of ``photos`` that ``shard`` names: '2/8' = the second of eight, '' = all.

    Raises:
        UserError: no such shard, or no photo in it.
    """
    if not shard:
        return list(photos)
    numbers = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", shard, re.ASCII)
    if numbers is None or int(numbers[1]) > int(numbers[2]):
        raise UserError(f"`shard` is {shard!r}; give one such as 2/8, the second of eight")
    first, count = int(numbers[1]), int(numbers[2])
    if first > len(photos):
        raise UserError(f"`shard` {shard}: there are only {len(photos)} photos; split them into fewer shards")
    return list(photos[first - 1 :: count])


def photos_digest(photos: Sequence[Photo]) -> str:
    """Changes with the names, boxes and file sizes of the photos; not with the folder they are in."""
    return digest({"photos": [(photo.name, photo.box, _file_size(photo.path)) for photo in photos]})


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # gone since it was listed: reading it will say so
        return -1
