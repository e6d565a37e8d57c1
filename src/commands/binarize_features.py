"""Pack local features: codes of bits in place of descriptors, and the strongest of each photo; a kilobyte a photo.

The codes are learnt from the features (ITQ), and the file carries what they were made with: --like FILE gives queries,
or further photos, the same codes. Every command reads it; codes of another rotation are never compared with these.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from .command_line import Command, refuse_options


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", required=True, help="feature file with local features (.h5)")
    parser.add_argument("--output", required=True, help="feature file to write (.h5)")
    parser.add_argument(
        "--like", default="", help="file of this command whose codes are used; '' = codes are learnt from --features"
    )
    parser.add_argument("--bits", type=int, default=128, help="bits of a code (default: %(default)s)")
    parser.add_argument(
        "--max_feature_num",
        type=int,
        default=50,
        help="strongest features of a photo that are kept, 0 = all (default: %(default)s)",
    )


COMMAND = Command(
    __doc__,
    "--features photos.h5 --output photos_bits.h5",
    keys=("seed", "overwrite"),
    shown=("features", "output", "like", "bits", "max_feature_num", "seed", "overwrite"),
    add_arguments=_arguments,
)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Pack, and print what a photo takes."""
    config, arguments = COMMAND.parse(argv)
    if arguments.like:
        refuse_options(argv, ("bits", "seed"), "has no effect with --like, whose codes are used: leave it out")
    from ..features.binarize import binarize_features
    from ..features.feature_file import FeatureFile

    run, how = config.run, (arguments.bits, arguments.max_feature_num, arguments.like)
    binarize_features(arguments.features, arguments.output, *how, run.seed, run.overwrite)
    with FeatureFile(arguments.output) as made:
        size = Path(arguments.output).stat().st_size / max(1, len(made)) / 1000
        print(f"{arguments.output}: {len(made)} photos, codes of {made.rotation.bits} bits, {size:.1f} kB a photo")
