"""Write the network as initialised, before any training: the baseline that a trained one has to beat."""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import parse_command_line, run_command
from src.config import Config

logger = logging.getLogger(__name__)


def make_untrained_checkpoint(config: Config, output: Path) -> Path:
    """Write backbone and attention with the recipe's initial values and seed; an existing file is kept."""
    if output.exists() and not config.overwrite:
        logger.info("%s: already made", output)
        return output
    from src.device import set_up_device

    set_up_device(config.device_target, config.seed)
    from src.model.checkpoint import save_weights
    from src.model.delf import DelfNet

    save_weights(DelfNet(config), output)
    logger.info("wrote %s", output)
    return output


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", required=True, type=Path, help="checkpoint to write (.ckpt)")


def main() -> None:
    """Parse the command line and write the checkpoint."""
    config, arguments = parse_command_line(__doc__, ["run", "model"], _add_arguments)
    make_untrained_checkpoint(config, arguments.output)


if __name__ == "__main__":
    run_command(main)
