"""The data set folder and its ``dataset.json``: what belongs in it, whether it is whole, what a reader needs of it."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Tuple

from ..artifacts import PathLike, digest, require_file
from ..errors import UserError, reading
from ..records import Provenance
from .shard_check import require_shard

SUMMARY_FILE = "dataset.json"
RELABELING_FILE = "relabeling.csv"
SKIPPED_FILE = "skipped.csv"
SPLITS = ("train", "validation")
MAKE_IT = "make the data set with the command build_image_dataset"
MAKE_AGAIN = f"{MAKE_IT} and `overwrite`"
AGAIN = f"copy the whole folder again, or {MAKE_AGAIN}"
LARGEST_SUMMARY = 1 << 22  # bytes; that of twice 1000 shards has 200,000
LARGEST_COUNT = 2**31 - 1  # of photos: their positions are int32
OWN_FILE = re.compile(r"(train|validation)\.mindrecord\d{3,}(\.db)?|dataset\.json|relabeling\.csv|skipped\.csv")


def shard_name(split: str, number: int) -> str:
    """``train.mindrecord000``; MindSpore keeps an index beside it, ``train.mindrecord000.db``."""
    return f"{split}.mindrecord{number:03d}"


def require_mindrecord_name(folder: PathLike, name: str) -> None:
    """UserError for a folder, given by ``name``, whose path MindSpore's library of MindRecord cannot take."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        fix = f"rename it, or give `{name}` another"
        raise UserError(f"{folder}: its name is not UTF-8, which shards need; {fix}") from error


def read_summary(folder: Path, fix: str = AGAIN) -> Dict[str, Any]:
    """What ``dataset.json`` holds: a count of classes, and for each split counts that agree with its shards.

    Raises:
        UserError: it is missing, no regular file, or damaged; ``fix`` says what to do then.
    """
    path = folder / SUMMARY_FILE
    if not path.exists():
        raise UserError(f"{folder}: has no {SUMMARY_FILE}; {MAKE_IT}")
    require_file(path, "the counts of the data set")
    with reading(path, fix):
        if path.stat().st_size > LARGEST_SUMMARY:
            raise ValueError(f"{path.stat().st_size} bytes long")
        summary = json.loads(path.read_text(encoding="utf-8"))
        _require_sound(summary, folder)
    return summary


def _require_sound(summary: Dict[str, Any], folder: Path) -> None:
    """ValueError, or whatever a wrong structure causes, unless the counts are counts and add up."""
    counts = [summary["num_classes"], summary["listed"]]
    photos = skipped = 0
    for split in SPLITS:
        entry = summary[split]
        for name, shard in entry["shards"].items():
            if not OWN_FILE.fullmatch(name) or not name.startswith(f"{split}.") or name.endswith(".db"):
                raise ValueError(f"{name} is no name of a shard")
            counts += [shard["photos"], shard["crc32"] >> 1]
        in_shards = sum(shard["photos"] for shard in entry["shards"].values())
        if entry["images"] != in_shards:
            raise ValueError(f"its counts do not add up: {split} has {entry['images']} photos, its shards {in_shards}")
        counts += [entry["images"], entry["classes"], *entry["skipped"].values()]
        photos, skipped = photos + in_shards, skipped + sum(entry["skipped"].values())
    wrong = [count for count in counts if type(count) is not int or not 0 <= count <= LARGEST_COUNT]
    if wrong:
        raise ValueError(f"{wrong[0]} is no count")
    if summary["listed"] != photos + skipped or not 1 <= summary["num_classes"] <= summary["listed"]:
        raise ValueError("its counts do not add up")
    listing = folder / SKIPPED_FILE
    if skipped and (not listing.is_file() or listing.stat().st_size < skipped):
        raise ValueError(f"its counts do not add up: {skipped} photos were skipped, and {SKIPPED_FILE} lists fewer")
    digest(summary["made_with"])


@dataclass(frozen=True)
class DatasetInfo:
    """What ``dataset.json`` says: classes, photos and shard paths of each split.

    ``fingerprint`` changes when the photos, their labels, the split or the order in the shards do.
    """

    folder: Path
    num_classes: int
    num_train: int
    num_validation: int
    train_shards: Tuple[str, ...]
    validation_shards: Tuple[str, ...]
    fingerprint: str


def dataset_info(traindata_path: PathLike) -> DatasetInfo:
    """Read the summary of a data set, given its folder or its first shard; its shards must be as it says.

    Raises:
        UserError: nothing there, no data set of ours, a damaged summary, or a shard that ``require_shard`` refuses.
    """
    path = Path(traindata_path)
    if not str(traindata_path):
        raise UserError(f"`traindata_path` is not set: give the path of train.mindrecord000, or {MAKE_IT}")
    if not path.exists():
        raise UserError(f"{path}: no such data set (`traindata_path`); {MAKE_IT}")
    folder = path if path.is_dir() else require_file(path, "traindata_path").parent
    require_mindrecord_name(folder, "traindata_path")
    summary = read_summary(folder)
    for split in SPLITS:
        for name, entry in summary[split]["shards"].items():
            require_shard(folder / name, entry["photos"], AGAIN)
    shards = {split: tuple(str(folder / name) for name in summary[split]["shards"]) for split in SPLITS}
    return DatasetInfo(
        folder=folder,
        num_classes=summary["num_classes"],
        num_train=summary["train"]["images"],
        num_validation=summary["validation"]["images"],
        train_shards=shards["train"],
        validation_shards=shards["validation"],
        fingerprint=digest(summary["made_with"]),
    )


def stored_provenance(folder: Path, replaced: bool = False) -> Provenance:
    """What the data set in ``folder`` was made from, for ``artifacts.is_made``.

    Args:
        folder: not empty.
        replaced: the data set is about to be replaced, so that it need not be whole.

    Raises:
        UserError: the folder holds something that is no part of a data set, or the data set is not whole.
    """
    names = sorted(os.listdir(folder))
    foreign = [name for name in names if not OWN_FILE.fullmatch(name)]
    if foreign or SUMMARY_FILE not in names:
        odd = (foreign or names)[0]
        raise UserError(f"{folder}: holds {odd}, which is no part of a data set; give `output_directory` a new folder")
    if replaced:
        return Provenance()
    fix = "give `overwrite` to make the data set again"
    summary = read_summary(folder, fix)
    with reading(folder / SUMMARY_FILE, fix):
        made_with = summary["made_with"]
        provenance = Provenance(settings=made_with["settings"], sources={"photos": made_with["photos"]})
    shards = [name for split in SPLITS for name in summary[split]["shards"]]
    missing = [name for shard in shards for name in (shard, f"{shard}.db") if name not in names]
    if missing:
        fact = f"{folder}: lacks {missing[0]}"
        raise UserError(f"{fact}; give `overwrite` to make it again, or another `output_directory`")
    return provenance
