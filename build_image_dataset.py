"""Google Landmarks v2 (or photos listed like it) -> MindRecord shards of a training and a validation set."""

import argparse
from typing import List, Optional

from src.command import run_command
from src.config import parse_command_line
from src.data.gldv2 import count_known, image_root, read_clean_csv


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--train_clean_csv_path", required=True, metavar="FILE", help="photos of each landmark: landmark_id,images"
    )
    parser.add_argument(
        "--train_csv_path", metavar="FILE", help="train.csv; read only to tell how many listed photos it knows"
    )
    parser.add_argument(
        "--train_directory",
        required=True,
        nargs="+",
        metavar="FOLDER",
        help="folder of the photos, a/b/c/<id>.jpg below it; its glob FOLDER/*/*/*/ means the same",
    )
    parser.add_argument(
        "--output_directory", required=True, metavar="FOLDER", help="data set folder to make; photos are never changed"
    )
    parser.add_argument(
        "--num_shards", type=int, default=128, metavar="N", help="files of each split (default: %(default)s)"
    )
    parser.add_argument(
        "--validation_split_size",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of each landmark's photos, at least one, kept for validation (default: %(default)s)",
    )


def main(argv: Optional[List[str]] = None) -> None:
    config, arguments = parse_command_line(__doc__, ("run",), _add_arguments, argv)
    from src.data.shards import build_dataset

    catalogue = read_clean_csv(arguments.train_clean_csv_path)
    listed = len(catalogue.file_ids)
    root = image_root(arguments.train_directory)
    if arguments.train_csv_path:
        known = count_known(arguments.train_csv_path, catalogue)
        print(f"{arguments.train_csv_path} knows {known} of the {listed} listed photos")
    summary = build_dataset(
        catalogue,
        root,
        arguments.output_directory,
        arguments.num_shards,
        arguments.validation_split_size,
        config.seed,
        config.num_workers,
        config.overwrite,
    )
    for split in ("train", "validation"):
        counts = summary[split]
        print(
            f"{split}: {counts['images']} photos of {counts['classes']} landmarks in {len(counts['shards'])} shards, "
            f"{counts['converted']} converted, {counts['skipped']} skipped"
        )
    print(f"{arguments.output_directory}: {summary['num_classes']} classes; skipped photos are in skipped.csv")


if __name__ == "__main__":
    run_command(main)
