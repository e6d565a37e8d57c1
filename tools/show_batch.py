"""Draw the photos of one training or validation batch, as the network is fed them, with their labels."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import argparse
from itertools import islice
from typing import List, Optional

import numpy as np

from src.artifacts import atomic_path
from src.commands.command_line import parse_command_line, run_command
from src.errors import UserError


def draw_batch(images: np.ndarray, captions: List[str], path: str) -> None:
    """Write images [B, 3, S, S] in (RGB - 128) / 128 as a PNG grid, a caption over each."""
    from matplotlib.figure import Figure

    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2 * columns, 2.3 * rows), layout="constrained")
    for cell, axes in enumerate(np.atleast_1d(figure.subplots(rows, columns)).ravel()):
        axes.axis("off")
        if cell < len(images):
            axes.imshow(np.clip(images[cell].transpose(1, 2, 0) * 128 + 128, 0, 255).astype(np.uint8))
            axes.set_title(captions[cell], fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output_image", default="batch.png", metavar="FILE", help="PNG to write (default: batch.png)")
    parser.add_argument(
        "--step", type=int, default=0, metavar="N", help="which batch, counted from 0 (default: %(default)s)"
    )
    parser.add_argument("--validation", action="store_true", help="a batch of the validation set instead")


def main(argv: Optional[List[str]] = None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "training"), _add_arguments, argv)
    from src.data.reader import TrainingStream, dataset_info, validation_batches

    if arguments.step < 0:
        raise UserError(f"--step is {arguments.step}; it must be 0 or above")
    info = dataset_info(config.traindata_path)
    if arguments.validation:
        batches = islice(validation_batches(config, info), arguments.step, None)
    else:
        batches = TrainingStream(config, info).batches(arguments.step + 1, arguments.step)
    batch = next(batches, None)
    if batch is None:
        raise UserError(f"{info.folder}: the validation set has no batch {arguments.step}")
    captions = [f"{label}: {file_id}" for label, file_id in zip(batch.labels, batch.file_ids)]
    draw_batch(batch.images, captions, arguments.output_image)
    print(f"{arguments.output_image}: {len(captions)} photos of step {arguments.step}")


if __name__ == "__main__":
    run_command(main)
