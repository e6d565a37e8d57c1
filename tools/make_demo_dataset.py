"""Write a drawn demo data set in the GLDv2 and Oxford layouts: the whole road without a download."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.commands.command_line import run_command  # noqa: E402
from src.demo.dataset import make_demo_dataset  # noqa: E402
from src.demo.plan import DemoSettings  # noqa: E402


def main(argv: Optional[List[str]] = None) -> None:
    """Parse the command line and make the data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    for field in fields(DemoSettings):
        parser.add_argument(f"--{field.name}", type=int, default=field.default, help=field.name.replace("_", " "))
    parser.add_argument("--workers", type=int, default=2, help="processes; the files do not depend on it")
    parser.add_argument("--overwrite", action="store_true", help="rebuild a data set made with other settings")
    options = parser.parse_args(argv)
    settings = DemoSettings(**{field.name: getattr(options, field.name) for field in fields(DemoSettings)})
    make_demo_dataset(options.output, settings, options.workers, options.overwrite)


if __name__ == "__main__":
    run_command(main)
