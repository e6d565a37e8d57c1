"""Google Landmarks v2, or one's own labelled photos -> MindRecord shards of a training and a validation set."""

import argparse
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from src.commands.command_line import parse_command_line, run_command
from src.errors import UserError

INPUTS = ("train_clean_csv_path", "train_directory", "train_csv_path", "image_folder", "csv")


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    landmarks = parser.add_argument_group("photos of Google Landmarks v2")
    landmarks.add_argument("--train_clean_csv_path", metavar="FILE", help="photos of each landmark: landmark_id,images")
    landmarks.add_argument(
        "--train_csv_path", metavar="FILE", help="train.csv; read only to tell how many listed photos it knows"
    )
    landmarks.add_argument(
        "--train_directory",
        nargs="+",
        metavar="FOLDER",
        help="folder of the photos, a/b/c/<id>.jpg below it; its glob FOLDER/*/*/*/ means the same",
    )
    own = parser.add_argument_group("or photos of one's own, one of")
    own.add_argument("--image_folder", metavar="FOLDER", help="one sub-folder for each class, photos anywhere below it")
    own.add_argument("--csv", metavar="FILE", help="table with the header path,label; paths from the table's folder on")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    _add_inputs(parser)
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
        help="share of each class's photos, at least one, kept for validation (default: %(default)s)",
    )
    parser.add_argument(
        "--min_photo_size",
        type=int,
        default=10,
        metavar="PIXELS",
        help="photos with a shorter side are left out (default: %(default)s)",
    )
    parser.add_argument(
        "--on_error",
        choices=("skip", "stop"),
        default="skip",
        help="a photo that cannot be used is listed in skipped.csv, or stops the build (default: %(default)s)",
    )
    parser.add_argument(
        "--verify", action="store_true", help="read a finished --output_directory back and check it, no more"
    )


def _check_combination(arguments: argparse.Namespace) -> None:
    """UserError unless the inputs are one of the three kinds, or none for ``--verify``."""
    given = [name for name in INPUTS if getattr(arguments, name)]
    if arguments.verify:
        if given:
            raise UserError(f"--verify reads a finished data set and takes no --{given[0]}; build first, then verify")
        return
    own = [name for name in ("image_folder", "csv") if name in given]
    if own and len(given) > 1:
        other = next(name for name in given if name != own[0])
        raise UserError(f"--{own[0]} and --{other} do not go together; give one kind of input")
    if not own and not {"train_clean_csv_path", "train_directory"} <= set(given):
        raise UserError("give --train_clean_csv_path with --train_directory, or --image_folder, or --csv")


def _read_inputs(arguments: argparse.Namespace) -> Tuple[Any, Path]:
    """The catalogue and the folder its photos lie below."""
    from src.data import gldv2, own_photos

    if arguments.image_folder:
        return own_photos.read_image_folder(arguments.image_folder), Path(arguments.image_folder)
    if arguments.csv:
        return own_photos.read_labelled_csv(arguments.csv), Path(arguments.csv).parent
    root = gldv2.image_root(arguments.train_directory)
    catalogue = gldv2.read_clean_csv(arguments.train_clean_csv_path)
    if arguments.train_csv_path:
        known = gldv2.count_known(arguments.train_csv_path, catalogue)
        print(f"{arguments.train_csv_path} knows {known} of the {len(catalogue.file_ids)} listed photos")
    return catalogue, root


def _tally(counts: Dict[str, int]) -> str:
    """``3 (2 missing, 1 truncated)``."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{sum(counts.values())} ({kinds})" if counts else "0"


def _report(output: str, summary: Dict[str, Any]) -> None:
    for split in ("train", "validation"):
        counts = summary[split]
        print(
            f"{split}: {counts['images']} photos of {counts['classes']} classes in {len(counts['shards'])} shards, "
            f"converted {_tally(counts['converted'])}, skipped {_tally(counts['skipped'])}"
        )
    print(f"{output}: {summary['num_classes']} classes; skipped photos are in skipped.csv")


def main(argv: Optional[List[str]] = None) -> None:
    config, arguments = parse_command_line(__doc__, ("run",), _add_arguments, argv)
    if config.min_image_size > 0:  # a key of the extraction, which a person may well take for the builder's
        raise UserError("--min_image_size is not for the data set builder: give --min_photo_size")
    _check_combination(arguments)
    if arguments.verify:
        from src.data.verify import verify_dataset

        info = verify_dataset(arguments.output_directory, config.num_workers)
        print(f"{info.folder}: whole; {info.num_train} + {info.num_validation} photos of {info.num_classes} classes")
        return
    from src.data.shards import build_dataset

    catalogue, root = _read_inputs(arguments)
    summary = build_dataset(
        catalogue,
        root,
        arguments.output_directory,
        arguments.num_shards,
        arguments.validation_split_size,
        config.seed,
        config.num_workers,
        config.overwrite,
        arguments.min_photo_size,
        arguments.on_error,
    )
    _report(arguments.output_directory, summary)


if __name__ == "__main__":
    run_command(main)
