"""Match two photos: print the counts and draw the inliers.

The photos are two paths, or two names in --images_path: --image_a and --image_b, or the lines of --list_images_path.
Their features are extracted with --checkpoint_path, or read from --features. The PCA is --pca_path, else the one that
an export carries, else pca.npz beside the checkpoint if it was fitted on it, else none.
"""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

from ..artifacts import require_folder
from ..config import Config, ExtractionConfig, MatchingConfig, keys_of
from ..device import parse_devices
from ..errors import UserError
from ..replaceable import require_picture_place
from .command_line import NETWORK_KEYS, Command, refuse_options

logger = logging.getLogger(__name__)

_LIST = "list_images.txt"
# with --features no network is run; the seed is RANSAC's too
_OF_VERIFICATION = (*keys_of(MatchingConfig), "show_outliers", "same_place")
_EXTRACTION_KEYS = (*(name for name in NETWORK_KEYS if name != "seed"), *keys_of(ExtractionConfig, but=("half",)))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="*", metavar="PHOTO", help="the two photos")
    parser.add_argument("--images_path", default="", help="instead: folder of the photos")
    parser.add_argument(
        "--list_images_path",
        default="",
        help=f"text file: the two photos, a line each (default: {_LIST} here or in images_path, else the first two "
        "photos of images_path)",
    )
    parser.add_argument("--image_a", default="", help="first photo, instead of the list; relative to images_path")
    parser.add_argument("--image_b", default="", help="second photo")
    parser.add_argument("--features", default="", help="feature file that holds both photos (.h5), by their names")
    parser.add_argument("--output_image", default="eval_match.png", help="picture to write (default: %(default)s)")
    parser.add_argument("--show_outliers", action="store_true", help="draw the rejected correspondences too, in grey")
    parser.add_argument(
        "--same_place",
        default="",
        help="calibration made by calibrate_same_place from a ranking by --correspondences exact, for the answer yes, "
        "perhaps or no (default: same_place_exact.json beside the checkpoint)",
    )
    parser.add_argument(
        "--matcher_path", default="", help="matcher (.npz) of train_matcher: its soft votes instead of verified matches"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--devices", default="0", help="device ids, of which the first is used (default: %(default)s)")


COMMAND = Command(
    __doc__, "a.jpg b.jpg --checkpoint_path net.ckpt",
    keys=(*_EXTRACTION_KEYS, *keys_of(MatchingConfig), "seed"),
    shown=(
        "images_path", "list_images_path", "features", "checkpoint_path", "pca_path", "match_distance", "mutual_check",
        "ransac_residual", "output_image", "show_outliers", "json", "same_place",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def _choose_photos(arguments: argparse.Namespace) -> List[Path]:
    """The two photos' paths, relative to --images_path where that is given."""
    if arguments.photos:
        if arguments.features:
            fact = "--features holds photos by their names in a folder"
            raise UserError(f"{fact}: give --images_path, --image_a and --image_b instead of paths")
        for name in ("images_path", "list_images_path", "image_a", "image_b"):
            if getattr(arguments, name):
                raise UserError(f"--{name} has no effect on photos given as paths: leave it out")
        if len(arguments.photos) != 2:
            raise UserError(f"the number of photos given as paths is {len(arguments.photos)}: give two")
        return [Path(path) for path in arguments.photos]
    if not arguments.images_path:
        raise UserError("give two photos as paths, or --images_path")
    if arguments.list_images_path and (arguments.image_a or arguments.image_b):
        raise UserError("--list_images_path and --image_a both choose the photos: give one of them")
    if arguments.image_a and arguments.image_b:
        return [Path(arguments.image_a), Path(arguments.image_b)]
    if arguments.image_a or arguments.image_b:
        raise UserError("--image_a and --image_b go together")
    return [Path(name) for name in _listed(arguments.images_path, arguments.list_images_path)]


def _listed(images_path: str, list_path: str) -> List[str]:
    found = [path for path in (Path(_LIST), Path(images_path) / _LIST) if path.is_file()]
    if not list_path and not found:
        from ..images import list_images

        names = list_images(images_path)[:2]
        if len(names) < 2:
            raise UserError(f"{images_path}: holds a single photo; two are matched")
        logger.info("no %s: matching the first two photos of %s, %s and %s", _LIST, images_path, *names)
        return names
    from ..features.extraction import read_list

    path = list_path or found[0]
    names = read_list(path)
    if len(names) != 2:
        raise UserError(f"{path}: {len(names)} lines; it must name two photos, one a line")
    return names


def _read_features(path: str, names: Sequence[Path]) -> Tuple[Tuple[Any, Any], Any]:
    """The features of both photos, and how they were made."""
    from ..features.feature_file import FeatureFile

    with FeatureFile(path, "features") as source:
        return tuple(source.read(name.as_posix()) for name in names), source.provenance


def _extract_features(config: Config, paths: Sequence[Path], device_id: int) -> Tuple[Tuple[Any, Any], Any]:
    """The features of both photos, and how they were made."""
    from ..engines import weights_identity
    from ..features.encoder import load_encoder
    from ..features.pca import pca_for

    found = pca_for(config.extraction, config.model.checkpoint_path, weights_identity(config.run, config.model))
    encoder = load_encoder(config.run, config.model, config.extraction.replace(pca_path=found), device_id)
    return tuple(encoder.encode(path).local for path in paths), encoder.provenance


def _find_calibration(config: Config, arguments: argparse.Namespace, made: Any) -> Any:
    """The calibration for features that were ``made`` so; None, and a log line that says why, where there is none."""
    from ..matching.same_place import conditions, find_calibration

    search = {"correspondences": "exact", "search_distance": config.matching.match_distance}
    wanted = conditions(made, {**config.matching.values(), **search})
    checkpoint = config.model.checkpoint_path
    calibration, why = find_calibration(wanted, [Path(checkpoint).parent] if checkpoint else [], arguments.same_place)
    if why:
        logger.info("%s", why)
    return calibration


def _match_learned(
    arguments: argparse.Namespace, names: Sequence[Path], images: Any, features: Any, made: Any, title: str
) -> None:
    """Compare by --matcher_path, and print."""
    from ..matching.match import match_photos_learned
    from ..matching.matcher_file import fitting_matcher

    matcher = fitting_matcher(arguments.matcher_path, made)
    votes, matches = match_photos_learned(images, features, matcher, arguments.output_image, title)
    if not arguments.json:
        print(f"{votes:.1f} soft votes, {len(matches)} pairs")
        return
    result = {"image_a": str(names[0]), "image_b": str(names[1]), "soft_votes": round(votes, 4), "pairs": len(matches)}
    print(json.dumps({**result, "output_image": arguments.output_image}))


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, take features, match and print."""
    argv = list(sys.argv[1:] if argv is None else argv)
    config, arguments = COMMAND.parse(argv)
    names = _choose_photos(arguments)
    if arguments.matcher_path:
        refuse_options(argv, _OF_VERIFICATION, "has no effect together with --matcher_path: leave it out")
    if arguments.features:
        refuse_options(argv, (*_EXTRACTION_KEYS, "devices"), "has no effect together with --features: leave it out")
    elif not config.model.checkpoint_path:
        raise UserError("give --checkpoint_path to extract the features, or --features that holds them")
    device_id = parse_devices(arguments.devices)[0]
    folder = require_folder(arguments.images_path, "images_path") if arguments.images_path else Path()
    from ..images import load_image
    from ..matching.match import match_photos

    paths = [folder / name for name in names]
    require_picture_place(arguments.output_image, photos=paths)
    images = tuple(load_image(path) for path in paths)
    features, made = (
        _read_features(arguments.features, names) if arguments.features else _extract_features(config, paths, device_id)
    )
    title = " - ".join(name.name for name in names)
    if arguments.matcher_path:
        _match_learned(arguments, names, images, features, made, title)
        return
    calibration = _find_calibration(config, arguments, made)
    how = {**config.matching.values(), "seed": config.run.seed}
    matches = match_photos(images, features, arguments.output_image, title, arguments.show_outliers, **how)
    verdict = calibration and calibration.judge(matches.num_inliers)
    if not arguments.json:
        print(f"{len(matches)} correspondences, {matches.num_inliers} inliers")
        if verdict:
            print(f"the same place: {verdict}")
        return
    result = {
        "image_a": str(names[0]),
        "image_b": str(names[1]),
        "correspondences": len(matches),
        "inliers": matches.num_inliers,
        "affine": None if matches.affine is None else matches.affine.tolist(),
        "same_place": verdict and verdict.answer,
        "probability": verdict and round(verdict.probability, 4),
        "output_image": arguments.output_image,
    }
    print(json.dumps(result))
