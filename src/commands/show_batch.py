"""Draw the photos of one training or validation batch, as the network is fed them, with their labels."""

import argparse
from itertools import islice
from typing import Optional, Sequence

from ..errors import UserError
from .command_line import Command, refuse_options


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output_image", default="batch.png", metavar="FILE", help="PNG to write (default: batch.png)")
    parser.add_argument(
        "--step", type=int, default=0, metavar="N", help="which batch, counted from 0 (default: %(default)s)"
    )
    parser.add_argument("--validation", action="store_true", help="a batch of the validation set instead")


_OF_TRAINING = ("use_augmentation", "min_crop_area", "overfit_batches", "seed")
COMMAND = Command(
    __doc__, "--traindata_path=mindrecord/train.mindrecord000 --output_image=batch.png",
    keys=(
        "traindata_path", "batch_size", "image_size", "use_augmentation", "min_crop_area", "overfit_batches",
        "eval_photos", "seed", "num_workers",
    ),
    shown=("traindata_path", "output_image", "step", "validation", "batch_size", "image_size", "use_augmentation"),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Draw the batch."""
    config, arguments = COMMAND.parse(argv)
    without, unused = ("with", _OF_TRAINING) if arguments.validation else ("without", ("eval_photos",))
    refuse_options(argv, unused, f"has no effect {without} --validation: leave it out")
    from ..data.augmentation import draw_images
    from ..data.reader import TrainingStream, validation_numbers, whole_photos
    from ..data.summary import dataset_info
    from ..replaceable import require_picture_place

    if arguments.step < 0:
        raise UserError(f"--step is {arguments.step}; it must be 0 or above")
    require_picture_place(arguments.output_image)
    run, training = config.run, config.training
    info = dataset_info(training.traindata_path)
    if arguments.validation:
        numbers = validation_numbers(training, info)
        batches = whole_photos(training, info, info.validation_shards, numbers, run.num_workers)
        batches = islice(batches, arguments.step, None)
    else:
        stream = TrainingStream(training, info, run.seed, run.num_workers)
        batches = stream.batches(arguments.step + 1, arguments.step)
    batch = next(batches, None)
    if batch is None:
        raise UserError(f"{info.folder}: the validation set has no batch {arguments.step}")
    captions = [f"{label}: {file_id}" for label, file_id in zip(batch.labels, batch.file_ids)]
    draw_images(batch.images, captions, arguments.output_image)
    print(f"{arguments.output_image}: {len(captions)} photos of step {arguments.step}")
