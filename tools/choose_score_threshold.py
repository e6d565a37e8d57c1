"""Draw the histogram of a model's attention scores and propose the threshold that keeps so many features a photo."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.errors import UserError


def _arguments(parser) -> None:
    parser.add_argument(
        "--features", default="", help="feature file made with --score_threshold 0 and a large --max_feature_num"
    )
    parser.add_argument("--images_path", default="", help="instead: folder of photos; needs --checkpoint_path")
    parser.add_argument("--num_images", type=int, default=200, help="photos drawn at random (default: 200; 0 = all)")
    parser.add_argument("--features_per_photo", type=float, default=300, help="features to keep (default: 300)")
    parser.add_argument("--output_image", default="score_threshold.png", help="histogram (default: %(default)s)")
    parser.add_argument(
        "--save", action="store_true", help="save the threshold beside --checkpoint_path, where extraction finds it"
    )


def _sample(config, arguments):
    from src.features import score_sample
    from src.features.photos import photos_of_folder

    if arguments.features:
        return score_sample.scores_of_file(
            arguments.features, config.max_feature_num, arguments.num_images, config.seed
        )
    return score_sample.scores_of_photos(
        photos_of_folder(arguments.images_path, arguments.num_images, config.seed), config
    )


def _save(config, arguments, sample, threshold: float) -> Path:
    from src.engines.identity import weights_sha256
    from src.features.score_threshold import save_threshold

    if weights_sha256(config.checkpoint_path) != sample.checkpoint_sha256:
        raise UserError(f"{arguments.features}: made with another checkpoint than {config.checkpoint_path}")
    record = {
        "checkpoint_sha256": sample.checkpoint_sha256,
        "score_threshold": threshold,
        "features_per_photo": arguments.features_per_photo,
        "num_photos": len(sample.scores),
    }
    return save_threshold(config.checkpoint_path, record, config.overwrite)


def main(argv=None) -> None:
    config, arguments = parse_command_line(__doc__, ("run", "model", "extraction"), _arguments, argv)
    if bool(arguments.features) == bool(arguments.images_path):
        raise UserError("give one of --features, a feature file, and --images_path, a folder of photos")
    if arguments.num_images < 0 or not 0 < arguments.features_per_photo <= config.max_feature_num:
        raise UserError("--num_images is 0 or more, --features_per_photo above 0 and at most --max_feature_num")
    if arguments.save and not config.checkpoint_path:
        raise UserError("--save needs the checkpoint that the threshold is for: give --checkpoint_path")
    from src.features.score_drawing import draw_scores

    sample = _sample(config, arguments)
    threshold = sample.threshold_for(arguments.features_per_photo)
    draw_scores(sample, threshold, arguments.output_image)
    print(f"{'threshold':>12}  {'features a photo':>16}  {'photos without':>14}")
    for row, features, without in sample.table(threshold):
        print(f"{row:12.6g}  {features:16.1f}  {without:14.1%}{'   <- proposed' if row == threshold else ''}")
    if threshold == 0:
        print(f"every score is kept: the photos have no {arguments.features_per_photo:g} features on average")
    print(f"histogram: {arguments.output_image}")
    if arguments.save:
        print(f"saved: {_save(config, arguments, sample, threshold)}")


if __name__ == "__main__":
    run_command(main)
