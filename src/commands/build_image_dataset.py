"""Google Landmarks v2, or one's own labelled photos -> MindRecord shards of a training and a validation set."""

import argparse
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

from ..config import Config
from ..errors import UserError
from .command_line import Command

_INPUTS = ("train_clean_csv_path", "train_directory", "train_csv_path", "image_folder", "csv")
_BUILDING = {"num_shards": 128, "validation_split_size": 0.2, "min_photo_size": 10, "on_error": "skip"}


def _arguments(parser: argparse.ArgumentParser) -> None:
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
    _add_building(parser.add_argument_group("the data set"))


def _add_building(group: Any) -> None:
    group.add_argument(
        "--output_directory", required=True, metavar="FOLDER", help="data set folder to make; photos are never changed"
    )
    group.add_argument("--num_shards", type=int, metavar="N", help="files of each split (default: %(default)s)")
    group.add_argument(
        "--validation_split_size",
        type=float,
        metavar="SHARE",
        help="share of each class's photos, at least one, kept for validation (default: %(default)s)",
    )
    group.add_argument(
        "--min_photo_size",
        type=int,
        metavar="PIXELS",
        help="photos with a shorter side are left out (default: %(default)s)",
    )
    group.add_argument(
        "--on_error",
        choices=("skip", "stop"),
        help="a photo that cannot be used is listed in skipped.csv, or stops the build (default: %(default)s)",
    )
    group.add_argument(
        "--verify", action="store_true", help="read a finished --output_directory back and check it, no more"
    )
    group.set_defaults(**_BUILDING)


COMMAND = Command(
    __doc__,
    "--train_clean_csv_path=train_clean.csv --train_directory=train --output_directory=mindrecord",
    keys=("seed", "num_workers", "overwrite"),
    shown=(*_INPUTS, "num_shards", "validation_split_size", "verify", "num_workers", "overwrite"),
    add_arguments=_arguments,
)


def _check_combination(arguments: argparse.Namespace, overwrite: bool) -> None:
    """UserError unless the inputs are one of the three kinds, or none for ``--verify``."""
    given = [name for name in _INPUTS if getattr(arguments, name)]
    if arguments.verify:
        given += [name for name, default in _BUILDING.items() if getattr(arguments, name) != default]
        given += ["overwrite"] if overwrite else []
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
    from ..data import lists

    if arguments.image_folder:
        return lists.read_image_folder(arguments.image_folder), Path(arguments.image_folder)
    if arguments.csv:
        return lists.read_labelled_csv(arguments.csv), Path(arguments.csv).parent
    root = lists.image_root(arguments.train_directory)
    catalogue = lists.read_clean_csv(arguments.train_clean_csv_path)
    if arguments.train_csv_path:
        known = lists.count_known(arguments.train_csv_path, catalogue)
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


def _build(config: Config, arguments: argparse.Namespace) -> None:
    from ..data.shards import DatasetSettings, build_dataset

    sizes = arguments.num_shards, arguments.validation_split_size
    settings = DatasetSettings(*sizes, config.run.seed, arguments.min_photo_size)
    catalogue, root = _read_inputs(arguments)
    output, run = arguments.output_directory, config.run
    summary = build_dataset(catalogue, root, output, settings, run.num_workers, run.overwrite, arguments.on_error)
    _report(output, summary)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Build a data set, or verify one."""
    config, arguments = COMMAND.parse(argv)
    _check_combination(arguments, config.run.overwrite)
    if not arguments.verify:
        _build(config, arguments)
        return
    from ..data.verify import verify_dataset

    info = verify_dataset(arguments.output_directory, config.run.num_workers)
    print(f"{info.folder}: whole; {info.num_train} + {info.num_validation} photos of {info.num_classes} classes")
