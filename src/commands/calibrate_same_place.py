"""Measure from how many inliers on two photos show the same place, and save it beside the checkpoint.

It takes a ranking of queries whose places are known, and all its pairs that were verified; junk and the queries' own
photos are left out. search_images and match_images then answer yes, perhaps or no. --evaluate measures the errors of a
calibration on another ranking.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Optional, Sequence

from ..config import Config
from ..errors import UserError
from .command_line import Command, refuse_options
from .judging import Judged, add_judging_arguments, judge

_NETWORK = (
    "checkpoint_path", "architecture", "weights_style", "load_stem", "kernel_init", "kernel_init_gain",
    "attention_init", "seed",
)  # fmt: skip


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise UserError(f"{text!r} is no number: give a share such as 0.01") from error
    if not 0 < number <= 0.5:
        raise UserError(f"{text} is no such share: give a number above 0 and at most 0.5, such as 0.01")
    return number


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_judging_arguments(parser)
    parser.add_argument(
        "--yes_errors", type=_share, default=0.01, help="share of the yes answers that may be wrong (default: 0.01)"
    )
    parser.add_argument(
        "--no_chance", type=_share, default=0.05, help="it is a no where the same place is rarer (default: 0.05)"
    )
    parser.add_argument(
        "--output",
        default="",
        help="calibration to write (default: same_place.json beside --checkpoint_path, same_place_exact.json for a "
        "ranking by --correspondences exact); with --evaluate, JSON of the errors (default: same_place_errors.json)",
    )
    parser.add_argument("--evaluate", default="", metavar="FILE", help="calibration whose errors are measured instead")
    parser.add_argument("--output_image", default="same_place.png", help="curve, '' = none (default: %(default)s)")


COMMAND = Command(
    __doc__, "--ranks ranks.npz --gt_path gt --protocol classic --checkpoint_path net.ckpt",
    keys=(*_NETWORK, "overwrite"),
    shown=(
        "ranks", "gt_path", "protocol", "checkpoint_path", "yes_errors", "no_chance", "output", "evaluate",
        "output_image", "overwrite",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse, judge, calibrate or measure, write, draw and print."""
    argv = list(sys.argv[1:] if argv is None else argv)
    config, arguments = COMMAND.parse(argv)
    if arguments.evaluate:
        names = ("yes_errors", "no_chance", *_NETWORK)
        refuse_options(argv, names, "has no effect together with --evaluate: leave it out")
    elif not (config.model.checkpoint_path or arguments.output):
        raise UserError("give --checkpoint_path to save the calibration beside it, or --output for another place")
    from ..evaluation.same_place import conditions_of_ranking, measure, require_pairs, verified_pairs
    from ..replaceable import require_picture_place

    if arguments.output_image:
        require_picture_place(arguments.output_image)
    judged = judge(arguments)
    wanted = conditions_of_ranking(judged.provenance, arguments.ranks)
    pairs = verified_pairs(judged.ground_truth, judged.ranking, judged.evaluation)
    require_pairs(pairs)
    calibration = (_evaluate if arguments.evaluate else _calibrate)(config, arguments, judged, wanted, pairs)
    print(measure(pairs, calibration).table(calibration))
    if arguments.output_image:
        from ..report.pictures import draw_calibration

        draw_calibration(calibration, pairs, arguments.output_image, judged.ground_truth.name)
        print(f"curve: {arguments.output_image}")


def _calibrate(config: Config, arguments: argparse.Namespace, judged: Judged, wanted: Any, pairs: Any) -> Any:
    from ..artifacts import sha256_of
    from ..engines import weights_identity
    from ..evaluation.same_place import calibrate
    from ..matching.same_place import FILES, save_calibration
    from ..records import Provenance

    checkpoint = config.model.checkpoint_path
    if checkpoint and weights_identity(config.run, config.model) != wanted.weights:
        raise UserError(f"{arguments.ranks}: made with another checkpoint than {checkpoint}")
    path = arguments.output or Path(checkpoint).parent / FILES[wanted.encoder["correspondences"]]
    rule = {name: getattr(arguments, name) for name in ("yes_errors", "no_chance")}
    sources = {"ranks": sha256_of(arguments.ranks), "pairs": pairs.identity, "protocol": judged.evaluation.protocol}
    calibration = calibrate(pairs, **rule, provenance=Provenance(wanted.weights, wanted.encoder, rule, sources))
    save_calibration(path, calibration, config.run.overwrite)
    print(f"calibration: {path}")
    return calibration


def _evaluate(config: Config, arguments: argparse.Namespace, judged: Judged, wanted: Any, pairs: Any) -> Any:
    from ..artifacts import sha256_of
    from ..evaluation.same_place import measure, save_errors
    from ..matching.same_place import differences, load_calibration
    from ..records import Provenance

    calibration = load_calibration(arguments.evaluate)
    other = differences(calibration.provenance, wanted)
    if other:
        raise UserError(f"{arguments.evaluate}: does not hold for {arguments.ranks} ({other}); calibrate for those")
    path, files = (
        arguments.output or "same_place_errors.json",
        {"ranks": arguments.ranks, "same_place": arguments.evaluate},
    )
    sources = {name: sha256_of(file) for name, file in files.items()}
    made = Provenance(wanted.weights, sources={**sources, "pairs": pairs.identity})
    save_errors(path, measure(pairs, calibration), made, config.run.overwrite)
    print(f"errors: {path}")
    return calibration
