"""Plans the demo data set, photographs it in worker processes and writes both layouts."""

import json
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..artifacts import atomic_write_bytes, atomic_write_json, build_folder_for, is_made, restore_folder
from ..errors import UserError
from ..records import Provenance
from ..workers import ordered_map
from . import layouts
from .camera import build_levels, take_photo
from .plan import LandmarkPlan, PhotoRecord, plan_distractors, plan_evaluation, plan_training
from .scenes import draw_landmark
from .settings import DemoSettings

logger = logging.getLogger(__name__)

GENERATOR_VERSION = 3  # raise it whenever the same settings would give other pictures
MANIFEST = "manifest.json"


def photograph(root: Path, plan: LandmarkPlan) -> tuple[PhotoRecord, ...]:
    """Draw a landmark once, take all its photos and write them under ``root``."""
    levels = {light: build_levels(draw_landmark(plan.spec, light)) for light in plan.lights}
    records = []
    for shot in plan.shots:
        rng = np.random.default_rng(np.random.SeedSequence(shot.stream))
        photo = take_photo(levels, shot.difficulty, shot.long_side, rng)
        atomic_write_bytes(root / shot.path, photo.jpeg)
        records.append(PhotoRecord(shot.path, shot.difficulty, photo.box, round(photo.visible, 3), photo.mood))
    return tuple(records)


def _photograph_on_one_core(root: Path, plan: LandmarkPlan) -> tuple[PhotoRecord, ...]:
    """In one of several processes, which share the cores already."""
    cv2.setNumThreads(1)
    return photograph(root, plan)


def _photograph_all(root: Path, plans: list[LandmarkPlan], workers: int) -> list[tuple[PhotoRecord, ...]]:
    """The records of each plan, made with a progress bar."""
    function = partial(photograph if workers == 1 else _photograph_on_one_core, root)
    finished = []
    with tqdm(total=sum(len(plan.shots) for plan in plans), unit="photo", disable=None) as bar:
        with ordered_map(function, workers) as photograph_in_order:
            for records in photograph_in_order(plans):
                finished.append(records)
                bar.update(len(records))
    return finished


def _stored_provenance(output: Path) -> Provenance:
    """Settings of the demo data set at ``output``; UserError when it is none."""
    if not (output / MANIFEST).is_file():
        raise UserError(f"{output} exists and is no demo data set (no {MANIFEST}): choose another `output`")
    try:
        manifest = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
        return Provenance(settings={**manifest["settings"], "generator_version": manifest["generator_version"]})
    except (ValueError, KeyError, TypeError, RecursionError):  # damaged: no settings
        return Provenance()


def make_demo_dataset(output: Path, settings: DemoSettings, workers: int = 2, overwrite: bool = False) -> None:
    """Write the demo data set to the folder ``output``: ``gldv2/``, ``oxford/`` and ``manifest.json``.

    The files depend on ``settings`` alone, not on ``workers``. The folder appears when it is complete. One
    that already holds the same set is left alone; one with other settings raises a UserError unless
    ``overwrite``.
    """
    settings.check()
    if workers < 1:
        raise UserError(f"`workers` is {workers}: give 1 or more")
    output = restore_folder(output)
    if output.is_file():
        raise UserError(f"{output}: is a file; give `output` a folder")
    description = {"generator_version": GENERATOR_VERSION, "settings": asdict(settings)}
    wanted = Provenance(settings={**asdict(settings), "generator_version": GENERATOR_VERSION})
    if is_made(output, wanted, _stored_provenance, overwrite, folder=True):
        return
    training, evaluation, distractors = plan_training(settings), plan_evaluation(settings), plan_distractors(settings)
    plans = training + evaluation + distractors
    with build_folder_for(output) as root:
        finished = _photograph_all(root, plans, workers)
        records = [record for of_plan in finished for record in of_plan]
        counts = layouts.write_training_tables(root, training)
        evaluated = list(zip(evaluation, finished[len(training) :]))
        counts |= layouts.write_ground_truth(root, evaluated, distractors, settings.queries_per_landmark)
        files = {record.path: f"{record.difficulty} {record.mood} visible={record.visible:.3f}" for record in records}
        atomic_write_json(root / MANIFEST, {**description, "counts": counts, "files": dict(sorted(files.items()))})
    logger.info("%s: %d photos of %d landmarks", output, len(records), len(plans))
