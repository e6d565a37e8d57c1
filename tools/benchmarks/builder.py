"""Times the data set builder against a plain loop that re-encodes every photo, on drawn JPEGs in a temporary folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import argparse
import io
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Union

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from src.commands.command_line import Command, run_command

PHOTO_HEIGHT, PHOTO_WIDTH, QUALITY = 384, 512, 88  # about 30 kB a photo
PHOTOS_PER_LANDMARK = 20


def _scene(seed: int) -> np.ndarray:
    """A large picture with detail at every scale, as photos have; crops of it are the photos."""
    generator = np.random.default_rng(seed)
    picture = np.full((2 * PHOTO_HEIGHT, 2 * PHOTO_WIDTH, 3), 128, np.float32)
    for cells in (4, 8, 16, 32, 64, 128, 256):
        noise = generator.standard_normal((cells, cells, 3)).astype(np.float32)
        picture += 40 * (4 / cells) ** 0.6 * cv2.resize(noise, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_photos(folder: Path, count: int) -> int:
    """Write ``count`` JPEGs as Google Landmarks v2 lays them out; returns their mean size in bytes."""
    scenes = [_scene(seed) for seed in range(32)]

    def draw(number: int) -> int:
        generator = np.random.default_rng((1, number))
        top, left = generator.integers(0, PHOTO_HEIGHT), generator.integers(0, PHOTO_WIDTH)
        crop = scenes[number % len(scenes)][top : top + PHOTO_HEIGHT, left : left + PHOTO_WIDTH]
        data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        path = photo_path(folder, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return len(data)

    with ThreadPoolExecutor(2) as pool:
        sizes = list(tqdm(pool.map(draw, range(count)), total=count, desc="drawing", unit="photo", disable=None))
    return sum(sizes) // count


def photo_path(folder: Path, number: int) -> Path:
    name = f"{number * 2654435761 % 2**32:08x}{number:08x}"
    return folder.joinpath("train", *name[:3], f"{name}.jpg")


def write_list(folder: Path, count: int) -> None:
    rows = ["landmark_id,images"]
    for first in range(0, count, PHOTOS_PER_LANDMARK):
        members = range(first, min(count, first + PHOTOS_PER_LANDMARK))
        rows.append(f"{first},{' '.join(photo_path(folder, number).stem for number in members)}")
    (folder / f"clean_{count}.csv").write_text("\n".join(rows) + "\n")


def builder_road(folder: Path, count: int, shards: int, workers: int) -> None:
    """What the command build_image_dataset does."""
    from src.data.lists import read_clean_csv
    from src.data.shards import DatasetSettings, build_dataset

    catalogue = read_clean_csv(folder / f"clean_{count}.csv")
    build_dataset(catalogue, folder / "train", folder / f"built_{count}", DatasetSettings(shards), workers)


def plain_road(folder: Path, count: int, shards: int, workers: int) -> None:
    """Decode, re-encode, write, one photo after the other: the same writer, as many shards; needs no ``workers``."""
    from src.data.shard_writer import write_shard

    def records(numbers: np.ndarray) -> Iterator[Dict[str, Any]]:
        for number in numbers:
            path = photo_path(folder, int(number))
            buffer = io.BytesIO()
            with Image.open(path) as image:
                image.convert("RGB").save(buffer, "JPEG")
            progress.update()
            yield {"file_id": path.stem, "label": int(number) // PHOTOS_PER_LANDMARK, "data": buffer.getvalue()}

    (folder / "plain").mkdir()
    with tqdm(total=count, desc="plain loop", unit="photo", disable=None) as progress:
        for shard, numbers in enumerate(np.array_split(np.arange(count), 2 * shards)):
            write_shard(folder / "plain" / f"plain.mindrecord{shard:03d}", records(numbers))


ROADS = {"builder": builder_road, "plain loop": plain_road}


class Measured(NamedTuple):
    """Seconds of a road, and the peak memory (MB) of its process and its workers together."""

    seconds: float
    memory: float


def _time_road(road: str, results: Any, *arguments: Any) -> None:
    import mindspore.mindrecord  # noqa: F401  its import is no part of either road

    start = time.perf_counter()
    ROADS[road](*arguments)
    results.put(time.perf_counter() - start)


def _memory(process: Union[int, str]) -> float:
    """Resident megabytes of a process and all below it; what they share counts for each."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it has just ended
        return 0.0
    return pages * resource.getpagesize() / 2**20 + sum(map(_memory, children))


def measure(road: str, *arguments: Any) -> Measured:
    """Run a road in a process of its own."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=_time_road, args=(road, results, *arguments))
    process.start()
    peak = 0.0
    while process.is_alive():
        peak = max(peak, _memory(process.pid))
        process.join(0.05)
    if process.exitcode:
        raise RuntimeError(f"the {road} ended with status {process.exitcode}")
    return Measured(results.get(), peak)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num_images", type=int, default=20000, help="photos to draw (default: %(default)s)")
    parser.add_argument("--num_shards", type=int, default=8, help="files of each split (default: %(default)s)")


COMMAND = Command(
    summary=__doc__,
    example="--num_images=2000",
    keys=("num_workers",),
    shown=("num_images", "num_shards", "num_workers"),
    add_arguments=_add_arguments,
)


def main(argv: Optional[List[str]] = None) -> None:
    config, arguments = COMMAND.parse(argv)
    count, few, workers = arguments.num_images, arguments.num_images // 4, config.run.num_workers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{count} photos of {draw_photos(folder, count) / 1000:.1f} kB, {workers} workers", flush=True)
        results = {}
        for road, photos in (("builder", few), ("plain loop", count), ("builder", count)):
            write_list(folder, photos)
            result = results[road, photos] = measure(road, folder, photos, arguments.num_shards, workers)
            print(
                f"{road:10} {photos:6} photos: {result.seconds:6.2f} s, {photos / result.seconds:5.0f} photos/s, "
                f"peak memory {result.memory:.0f} MB",
                flush=True,
            )
    ratio = results["plain loop", count].seconds / results["builder", count].seconds
    growth = results["builder", count].memory / results["builder", few].memory - 1
    print(f"builder {ratio:.1f} times as fast; its memory grows by {growth:.1%} from {few} to {count} photos")


if __name__ == "__main__":
    run_command(main)
