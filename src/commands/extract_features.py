"""Extract features of photos, or of a ground truth's queries, into a file.

Run the same command again after a kill: it goes on. After photos have changed it extracts those that are new or have
changed, keeps the others, and drops those no longer asked for. Photos that cannot be used are left out with a warning,
which does not change the exit status; OUTPUT.failed.txt lists them with the reasons. --features global gives one vector
a photo, --features both that and DELF's local features in one pass of the network.
"""

import argparse
from functools import partial
from typing import Any, List, Optional, Sequence, Tuple

from ..config import ExtractionConfig, GlobalConfig, RetrievalConfig, keys_of
from ..device import parse_devices
from ..errors import UserError
from ..evaluation.ground_truth import BY_NAMES
from ..evaluation.protocols import PROTOCOLS
from ..features.kinds import KINDS, LOCAL
from .command_line import NETWORK_KEYS, Command, refuse_options
from .global_options import refuse_idle_options


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images_path", required=True, help="folder of photos")
    parser.add_argument(
        "--features", default=LOCAL, choices=KINDS, help="what to extract, both in one pass (default: %(default)s)"
    )
    parser.add_argument(
        "--output",
        default="features.h5",
        help="feature file to write; a name in .npy: global descriptors as one array, NAME.names.txt and the feature "
        "file NAME.h5 beside it (default: %(default)s)",
    )
    parser.add_argument(
        "--list_images_path", default="", help="text file: only these photos, a relative path, or 'path label', a line"
    )
    parser.add_argument("--num_images", type=int, default=0, help="only so many photos, drawn at random (default: all)")
    parser.add_argument("--gt_path", default="", help="ground truth: only its queries, cropped as the protocol says")
    parser.add_argument(
        "--protocol",
        default="",
        choices=PROTOCOLS,
        help="how queries are chosen and cropped (default: modelzoo for a text folder, for a file the one it belongs "
        "to); holidays, ukbench and labelled, a folder for each class, need no --gt_path",
    )
    parser.add_argument("--name_prefix", default="", help="put before the photos' names, such as distractors/")
    parser.add_argument(
        "--shard", default="", help="only a part of the photos, 2/8 = the second of eight, for several machines"
    )
    parser.add_argument(
        "--devices", default="0", help="device ids such as 0, 01 or 03, one worker each (default: %(default)s)"
    )


_RAY_KEYS = ("executor", "ray_address", "ray_actors")

COMMAND = Command(
    __doc__, "--images_path photos --checkpoint_path net.ckpt --pca_path pca.npz --output features.h5",
    keys=(*NETWORK_KEYS, *keys_of(ExtractionConfig, GlobalConfig), "num_workers", "overwrite", *_RAY_KEYS),
    shown=(
        "images_path", "features", "output", "list_images_path", "gt_path", "protocol", "checkpoint_path",
        "image_scales", "max_image_size", "max_feature_num", "pooling", "overwrite",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def _choose_photos(arguments: argparse.Namespace, seed: int) -> Tuple[List, str]:
    """The photos asked for and the protocol that cropped them, '' for none."""
    from ..evaluation.evaluate import photos_of_queries
    from ..features.extraction import photos_of_folder, photos_of_list, with_prefix

    by_truth = bool(arguments.gt_path) or arguments.protocol in BY_NAMES
    if arguments.protocol and not by_truth:
        raise UserError("--protocol says how queries are cropped; give it together with --gt_path")
    ways = ["gt_path" if arguments.gt_path else "protocol"] if by_truth else []
    ways += [name for name in ("list_images_path", "num_images") if getattr(arguments, name)]
    if len(ways) > 1:
        raise UserError(f"--{ways[0]} and --{ways[1]} both choose the photos; give one of them")
    if arguments.name_prefix and by_truth:
        raise UserError("--name_prefix goes with no ground truth: queries keep the names that they have there")
    if by_truth:
        return photos_of_queries(arguments.images_path, arguments.gt_path, arguments.protocol)
    if arguments.list_images_path:
        photos = photos_of_list(arguments.images_path, arguments.list_images_path)
    else:
        photos = photos_of_folder(arguments.images_path, arguments.num_images, seed)
    return with_prefix(photos, arguments.name_prefix), ""


def _devices(argv: Optional[Sequence[str]], retrieval: RetrievalConfig, devices: str) -> Any:
    """Device ids of this machine, or the devices of a cluster."""
    if retrieval.executor != "ray":
        refuse_options(argv, _RAY_KEYS[1:], f"has no effect with --executor {retrieval.executor}")
        return parse_devices(devices)
    refuse_options(argv, ("devices",), "has no effect with --executor ray, which finds them: leave it out")
    from ..features.ray_extraction import encode_on_cluster

    return partial(encode_on_cluster, retrieval.ray_address, retrieval.ray_actors)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse and extract."""
    config, arguments = COMMAND.parse(argv)
    devices = _devices(argv, config.retrieval, arguments.devices)
    if arguments.num_images < 0:
        raise UserError(f"--num_images is {arguments.num_images}; give a number above 0, or 0 for all")
    refuse_idle_options(argv, arguments.features, config.descriptor)
    from ..features.descriptor_array import array_files, write_array
    from ..features.extraction import extract_to_file

    output = arguments.output
    files = array_files(output, arguments.features) if output.lower().endswith(".npy") else None
    photos, protocol = _choose_photos(arguments, config.run.seed)
    extract_to_file(
        photos, files.features if files else output, config.run, config.model, config.extraction, protocol, devices,
        arguments.shard, kind=arguments.features, descriptor=config.descriptor,
    )  # fmt: skip
    if files:
        write_array(files)
