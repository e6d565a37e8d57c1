"""Labels of photos that are known by name: from their folders, a table, a folder of photos, or a data set."""

import logging
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

from ..artifacts import PathLike
from ..errors import UserError
from ..names import NameTable, is_distractor
from .lists import read_image_folder, read_labelled_csv
from .summary import SUMMARY_FILE

logger = logging.getLogger(__name__)

_TABLES = (".csv", ".tsv")


def label_photos(names: Sequence[str], path: PathLike = "", name: str = "labels") -> Dict[str, List[str]]:
    """The photos of each label, in the order of ``names``; those without a label are left out and counted in the log.

    Args:
        names: of the photos, such as those of a feature file.
        path: '' = a photo's label is its first folder; a table (.csv, .tsv) of path and label; a folder with a
            sub-folder for each label; or a data set (its folder or first shard), whose training photos have labels.
            Its names fit those of ``names`` with or without folder and extension.
        name: of the argument that gave ``path``, for messages.

    Raises:
        UserError: nothing usable there, two of ``names`` fit one of its names, or no photo has a label.
    """
    labels: Dict[str, str] = {}
    if str(path):
        table = NameTable(names)
        for photo, label in _listed(Path(path), name):
            number = table.find(photo)
            if number is not None:
                labels[names[number]] = label
    else:
        labels = {each: each.split("/")[0] for each in names if "/" in each and not is_distractor(each)}
    if not labels:
        where = f"{path} labels none" if str(path) else f"none lies in a folder; give `{name}`, a table of path,label"
        raise UserError(f"of {len(names)} photos such as {names[0] if names else 'none'}, {where}")
    if len(labels) < len(names):
        logger.info("%d of %d photos have no label and are left out", len(names) - len(labels), len(names))
    classes: Dict[str, List[str]] = {}
    for each in names:
        if each in labels:
            classes.setdefault(labels[each], []).append(each)
    return classes


def _listed(path: Path, name: str) -> Iterator[Tuple[str, str]]:
    """(photo, label) of each photo that ``path`` labels."""
    if path.suffix.lower() in _TABLES or (path.is_dir() and not (path / SUMMARY_FILE).exists()):
        listed = read_image_folder(path) if path.is_dir() else read_labelled_csv(path)
        texts = [str(each) for each in listed.class_names]
        yield from ((photo, texts[label]) for photo, label in zip(listed.file_ids, listed.labels.tolist()))
        return
    from .split_labels import read_split_labels  # MindSpore's reader
    from .summary import dataset_info

    if not path.exists():
        raise UserError(f"{path}: no such table, folder or data set (`{name}`)")
    info = dataset_info(path)
    photos = read_split_labels(info.train_shards, info)
    yield from zip(photos.file_ids, map(str, photos.labels.tolist()))
