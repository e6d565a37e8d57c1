"""What every command line shares: logging, one-sentence errors, exit status."""

import logging
import os
import sys
from typing import Callable, NoReturn

from ..device import prepare_process
from ..errors import Interrupted, UserError


def run_command(main: Callable[[], None]) -> NoReturn:
    """Run ``main`` as a process: log to stderr, UserError as one sentence, exit 0, 2 (bad input) or 128 + signal."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    prepare_process()
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own flush at exit
        sys.exit(141)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (error.name or "src").split(".")[0] == "src":
            raise
        print(f"error: {error.name} is not installed: run 'pip install -r requirements.txt'", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.status)
    except KeyboardInterrupt:
        print("interrupted: run the same command again", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
