"""Plans the demo data set, photographs it in worker processes and writes both layouts."""

import json
import logging
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Iterator

import cv2
import numpy as np
from tqdm import tqdm

from ..artifacts import atomic_write_bytes, atomic_write_json, build_folder_for
from ..errors import UserError
from . import layouts
from .camera import build_levels, take_photo
from .plan import (
    DemoSettings,
    Job,
    PhotoRecord,
    plan_distractors,
    plan_evaluation,
    plan_training,
)
from .scenes import draw_landmark

GENERATOR_VERSION = 3  # raise it whenever the same settings would give other pictures
MANIFEST = "manifest.json"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Finished:
    """What one job made."""

    job: Job
    records: tuple[PhotoRecord, ...]


def render_job(root: Path, job: Job) -> tuple[PhotoRecord, ...]:
    """Draw a job's landmark once, take all its photos and write them under ``root``."""
    levels = {light: build_levels(draw_landmark(job.spec, light)) for light in job.lights}
    records = []
    for shot in job.shots:
        rng = np.random.default_rng(np.random.SeedSequence(shot.stream))
        photo = take_photo(levels, shot.difficulty, shot.long_side, rng)
        atomic_write_bytes(root / shot.path, photo.jpeg)
        records.append(PhotoRecord(shot.path, shot.difficulty, photo.box, round(photo.visible, 3), photo.mood))
    return tuple(records)


def _one_thread() -> None:
    """Worker set-up: the processes share the cores already."""
    cv2.setNumThreads(1)


def _run_jobs(root: Path, jobs: list[Job], workers: int) -> Iterator[tuple[int, tuple[PhotoRecord, ...]]]:
    """Yield (index of the job, its records) as jobs finish; one worker means this process."""
    if workers == 1:
        for index, job in enumerate(jobs):
            yield index, render_job(root, job)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        try:
            futures = {pool.submit(render_job, root, job): index for index, job in enumerate(jobs)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _photograph(root: Path, jobs: list[Job], workers: int) -> list[_Finished]:
    """Run all jobs with a progress bar; the result is in the order of ``jobs``."""
    done: dict[int, tuple[PhotoRecord, ...]] = {}
    with tqdm(total=sum(len(job.shots) for job in jobs), unit="photo", disable=None) as bar:
        for index, records in _run_jobs(root, jobs, workers):
            done[index] = records
            bar.update(len(records))
    return [_Finished(job, done[index]) for index, job in enumerate(jobs)]


def _already_made(output: Path, description: dict[str, object], overwrite: bool) -> bool:
    """Whether ``output`` holds this very data set; raises a UserError where it holds something else."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    if not (output / MANIFEST).is_file():
        raise UserError(f"{output} exists and is no demo data set (no {MANIFEST}): choose another `output`")
    if overwrite:
        return False
    try:
        manifest = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
    except ValueError:
        manifest = {}
    if {key: manifest.get(key) for key in description} != description:
        raise UserError(f"{output} holds a demo data set made with other settings: add `overwrite` to rebuild it")
    return True


def make_demo_dataset(output: Path, settings: DemoSettings, workers: int = 2, overwrite: bool = False) -> None:
    """Write the demo data set to the folder ``output``: ``gldv2/``, ``oxford/`` and ``manifest.json``.

    The files depend on ``settings`` alone, not on ``workers``. The folder appears when it is complete. One
    that already holds the same set is left alone; one with other settings raises a UserError unless
    ``overwrite``.
    """
    settings.check()
    if workers < 1:
        raise UserError(f"`workers` is {workers}: give 1 or more")
    description = {"generator_version": GENERATOR_VERSION, "settings": asdict(settings)}
    if _already_made(output, description, overwrite):
        _LOG.info("%s: already made", output)
        return
    training, evaluation, distractors = (
        plan_training(settings),
        plan_evaluation(settings),
        plan_distractors(settings),
    )
    jobs = training + evaluation + distractors
    with build_folder_for(output) as root:
        finished = _photograph(root, jobs, workers)
        records = [record for item in finished for record in item.records]
        counts = layouts.write_training_tables(root, training)
        evaluated = [(item.job, item.records) for item in finished[len(training) : len(training) + len(evaluation)]]
        counts |= layouts.write_ground_truth(root, evaluated, distractors, settings.queries_per_landmark)
        files = {record.path: f"{record.difficulty} {record.mood} visible={record.visible:.3f}" for record in records}
        atomic_write_json(root / MANIFEST, {**description, "counts": counts, "files": dict(sorted(files.items()))})
    _LOG.info("%s: %d photos of %d landmarks", output, len(records), len(jobs))
