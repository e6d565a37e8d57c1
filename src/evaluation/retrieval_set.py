"""An evaluation set out of labelled photos: whole classes are held out, their photos are queries and index."""

import logging
import os
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, Mapping, Sequence

import numpy as np

from ..artifacts import (
    PathLike,
    atomic_write_text,
    build_folder_for,
    digest,
    is_made,
    restore_folder,
)
from ..data.lists import read_image_folder
from ..errors import UserError
from ..names import bare_name
from ..own_files import refuse_strangers
from ..records import Provenance
from ..sealed import read_sealed, write_sealed

logger = logging.getLogger(__name__)

SUMMARY = "retrieval_set.json"
_FORMAT_VERSION = 1


def make_retrieval_set(
    image_folder: PathLike, output: PathLike, every: int, queries: int, seed: int, overwrite: bool = False
) -> None:
    """Hold out every ``every``-th class of a labelled folder and write what evaluating on it needs.

    ``output`` holds ``jpg/``, links to the folders of the classes held out; ``train/``, links to those of the others;
    ``gt/``, a ground truth of text files for the protocol classic. The positives of a query are the other photos of
    its class, and the query itself is junk. A class of one photo only distracts.

    Args:
        image_folder: one sub-folder for each class; photos anywhere below it.
        output: folder to make.
        every: 1 holds out all classes; the first class, in the order of their names, is always held out.
        queries: of each class at most, drawn at random.
        seed: of drawing.
        overwrite: replace a set of other settings.

    Raises:
        UserError: no photo in a sub-folder, no class of two photos, something else at ``output``.
    """
    root, output = Path(image_folder).resolve(), restore_folder(output)
    photos: Dict[str, List[str]] = defaultdict(list)
    for name in read_image_folder(image_folder).file_ids:
        photos[name.partition("/")[0]].append(name)
    held_out = sorted(photos)[::every]
    chosen = {name: photos[name] for name in held_out}
    if all(len(names) < 2 for names in chosen.values()):
        raise UserError(f"{image_folder}: no class held out has two photos, so no query would have a positive")
    settings = {"every": every, "queries": queries, "seed": seed}
    wanted = Provenance(settings=settings, sources={"photos": digest(dict(photos))})
    if is_made(output, wanted, _stored_provenance, overwrite, folder=True):
        return
    refuse_strangers(output, lambda name: name == SUMMARY or name.startswith(f"gt{os.sep}"), "a retrieval set")
    with build_folder_for(output) as folder:
        for name in sorted(photos):
            link = folder / ("jpg" if name in chosen else "train") / name
            link.parent.mkdir(exist_ok=True)
            os.symlink(root / name, link, target_is_directory=True)
        count = _write_ground_truth(folder / "gt", chosen, queries, np.random.default_rng(seed))
        numbers = {"classes": len(chosen), "photos": sum(map(len, chosen.values())), "queries": count}
        write_sealed(folder / SUMMARY, _FORMAT_VERSION, {"provenance": wanted.as_json(), **numbers})
    logger.info("%s: %d queries, %d photos of %d classes; %d classes left to train on", output, count,
                numbers["photos"], len(chosen), len(photos) - len(chosen))  # fmt: skip


def _write_ground_truth(
    folder: Path, photos: Mapping[str, Sequence[str]], queries: int, generator: np.random.Generator
) -> int:
    """Write the four files of each query; returns the number of queries."""
    folder.mkdir()
    count = 0
    for name, files in photos.items():
        if len(files) < 2:
            continue
        drawn = sorted(generator.permutation(len(files))[:queries])
        for number in drawn:
            query, others = bare_name(files[number]), [bare_name(other) for other in files if other != files[number]]
            count += 1
            lists = {"query": [query], "good": others, "ok": [], "junk": [query]}
            for part, names in lists.items():
                atomic_write_text(folder / f"{name}_{number + 1}_{part}.txt", "".join(f"{each}\n" for each in names))
    return count


def _stored_provenance(folder: Path) -> Provenance:
    if not (folder / SUMMARY).exists():
        raise UserError(f"{folder}: no retrieval set (no {SUMMARY}); give another `output`")
    return Provenance.from_json(read_sealed(folder / SUMMARY, _FORMAT_VERSION, "give another `output`")["provenance"])
