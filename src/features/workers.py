"""Features of many photos, by one process or by one for each device."""

import multiprocessing
import queue
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
from tqdm import tqdm

from src.config import Config
from src.errors import UserError
from src.features.extractor import ExtractionSettings, Network, extract_region
from src.features.feature_parts import PartWriter
from src.features.pca import Pca
from src.features.photos import Photo
from src.images import clip_box, load_image

Failures = Dict[str, str]  # name of a photo that could not be read: why


@dataclass(frozen=True)
class Job:
    """What every worker needs; pickled to child processes, so ``load_network`` is a function of a module."""

    config: Config
    pca: Optional[Pca]
    folder: Path  # receives the parts
    load_network: Callable[[Config, int], Network]


def extract_photos(photos: Sequence[Photo], job: Job, devices: Sequence[int]) -> Failures:
    """Write the features of ``photos`` to parts in ``job.folder``, with one worker for each of ``devices``.

    Returns:
        The photos that could not be read.

    Raises:
        UserError: a worker failed; parts that were finished stay.
    """
    with tqdm(total=len(photos), desc="extract", unit="image") as bar:
        if len(devices) == 1:
            return _work(photos, job, devices[0], bar.update)
        return _work_in_children(photos, job, devices, bar)


def _work(photos: Sequence[Photo], job: Job, device_id: int, advance: Callable[[], Any]) -> Failures:
    failures: Failures = {}
    network = job.load_network(job.config, device_id)
    settings = ExtractionSettings.from_config(job.config)
    with PartWriter(job.folder) as writer:
        for photo, image in _read_ahead(photos, job.config.num_workers):
            if isinstance(image, UserError):
                failures[photo.name] = str(image)
            else:
                writer.add(photo.name, extract_region(image, photo.box, network, settings, job.pca))
            advance()
    return failures


def _read_ahead(photos: Sequence[Photo], threads: int) -> Iterator[Tuple[Photo, Union[np.ndarray, UserError]]]:
    """Photos in order with their pixels, or the reason why there are none; one photo a thread is kept waiting."""
    waiting: Deque[Tuple[Photo, Future]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for photo in photos:
            waiting.append((photo, pool.submit(_read, photo)))
            if len(waiting) > threads:
                photo, image = waiting.popleft()
                yield photo, image.result()
        for photo, image in waiting:
            yield photo, image.result()


def _read(photo: Photo) -> Union[np.ndarray, UserError]:
    try:
        image = load_image(photo.path)
        if photo.box is not None:
            clip_box(photo.box, image.shape[1], image.shape[0])
        return image
    except UserError as error:
        return error


def _work_in_children(photos: Sequence[Photo], job: Job, devices: Sequence[int], bar: tqdm) -> Failures:
    context = multiprocessing.get_context("spawn")  # MindSpore does not survive a fork
    messages = context.Queue()
    children = [
        context.Process(
            target=_child, args=(number, photos[number :: len(devices)], job, device, messages), daemon=True
        )
        for number, device in enumerate(devices)
    ]
    try:
        for child in children:
            child.start()
        return _collect(children, messages, bar)
    finally:
        for child in children:
            if child.is_alive():
                child.terminate()
            child.join()


def _child(number: int, photos: Sequence[Photo], job: Job, device_id: int, messages: Any) -> None:
    parent = multiprocessing.parent_process()

    def advance() -> None:
        if not parent.is_alive():
            raise SystemExit("the main process is gone")
        messages.put((number, "photo", None))

    try:
        messages.put((number, "done", _work(photos, job, device_id, advance)))
    except UserError as error:
        messages.put((number, "error", str(error)))


def _collect(children: List[Any], messages: Any, bar: tqdm) -> Failures:
    """Follow the children to their end; UserError as soon as one fails."""
    failures: Failures = {}
    working = set(range(len(children)))
    while working:
        dead = [number for number in working if not children[number].is_alive()]
        try:
            number, kind, value = messages.get(timeout=1)
        except queue.Empty:
            if dead:  # its last message would have come by now
                status = children[dead[0]].exitcode
                raise UserError(
                    f"extraction worker {dead[0]} ended with status {status} (-9: killed, mostly for lack of memory); "
                    "run again with fewer --devices, finished photos are kept"
                ) from None
            continue
        if kind == "error":
            raise UserError(value)
        if kind == "photo":
            bar.update()
        else:
            working.discard(number)
            failures.update(value)
    return failures
