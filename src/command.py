"""What every command line shares: logging, one-sentence errors, exit status."""

import logging
import sys
from typing import Callable, NoReturn

from src.device import prepare_process
from src.errors import UserError


def run_command(main: Callable[[], None]) -> NoReturn:
    """Run ``main`` as a process: log to stderr, UserError as one sentence, exit 0, 2 (bad input) or 130 (Ctrl-C)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    prepare_process()
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: run the same command again", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
