"""The data set folder and its ``dataset.json``: what belongs in it, whether it is whole, what a reader needs of it."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Tuple

from ..artifacts import PathLike, digest
from ..errors import UserError
from ..records import Provenance

SUMMARY_FILE = "dataset.json"
RELABELING_FILE = "relabeling.csv"
SKIPPED_FILE = "skipped.csv"
SPLITS = ("train", "validation")
MAKE_IT = "make the data set with the command build_image_dataset"
MAKE_AGAIN = f"{MAKE_IT} and `overwrite`"
OWN_FILE = re.compile(r"(train|validation)\.mindrecord\d{3,}(\.db)?|dataset\.json|relabeling\.csv|skipped\.csv")


def shard_name(split: str, number: int) -> str:
    """``train.mindrecord000``; MindSpore keeps an index beside it, ``train.mindrecord000.db``."""
    return f"{split}.mindrecord{number:03d}"


def read_summary(folder: Path) -> Dict[str, Any]:
    """What ``dataset.json`` holds; OSError or ValueError when it is missing or damaged."""
    return json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))


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
    """Read the summary of a data set, given its folder or its first shard; every shard it names must be there.

    Raises:
        UserError: nothing there, no data set of ours, a damaged summary, or a missing shard.
    """
    path = Path(traindata_path)
    if not str(traindata_path):
        raise UserError(f"`traindata_path` is not set: give the path of train.mindrecord000, or {MAKE_IT}")
    if not path.exists():
        raise UserError(f"{path}: no such data set (`traindata_path`); {MAKE_IT}")
    folder = path if path.is_dir() else path.parent
    try:
        summary = read_summary(folder)
        shards = {split: tuple(str(folder / name) for name in summary[split]["shards"]) for split in SPLITS}
        info = DatasetInfo(
            folder=folder,
            num_classes=int(summary["num_classes"]),
            num_train=int(summary["train"]["images"]),
            num_validation=int(summary["validation"]["images"]),
            train_shards=shards["train"],
            validation_shards=shards["validation"],
            fingerprint=digest(summary["made_with"]),
        )
    except FileNotFoundError as error:
        raise UserError(f"{folder}: has no {SUMMARY_FILE}; {MAKE_IT}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / SUMMARY_FILE}: damaged; {MAKE_AGAIN}") from error
    for shard in info.train_shards + info.validation_shards:
        for name in (shard, f"{shard}.db"):
            if not os.path.isfile(name):
                raise UserError(f"{name}: missing; copy the whole folder, or {MAKE_AGAIN}")
    return info


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
    try:
        summary = read_summary(folder)
        made_with = summary["made_with"]
        provenance = Provenance(settings=made_with["settings"], sources={"photos": made_with["photos"]})
        shards = [name for split in SPLITS for name in summary[split]["shards"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / SUMMARY_FILE}: damaged; give `overwrite` to make the data set again") from error
    missing = [name for shard in shards for name in (shard, f"{shard}.db") if name not in names]
    if missing:
        fact = f"{folder}: lacks {missing[0]}"
        raise UserError(f"{fact}; give `overwrite` to make it again, or another `output_directory`")
    return provenance
