"""Unpack the archives of a download, for the download scripts: see src/data/unpack.py.

Runs with Python 3.9 or newer and nothing installed.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType, ModuleType
from typing import Optional

# The package without what its __init__ imports: PyYAML and NumPy may not be installed yet.
sys.modules["src"] = ModuleType("src")
sys.modules["src"].__path__ = [str(Path(__file__).resolve().parents[1] / "src")]

from src.data.unpack import LAYOUTS, DamagedArchive, unpack  # noqa: E402
from src.errors import UserError  # noqa: E402


def main() -> None:
    """Exit status 2 and one sentence for whatever stands in the way, 128 + signal when it is stopped."""
    parser = argparse.ArgumentParser(description="Unpack the archives of a download.")
    parser.add_argument("layout", choices=sorted(LAYOUTS), help="what the archives are to hold")
    parser.add_argument("folder", help="where their files go")
    parser.add_argument("archives", nargs="+", help="tar files, plain or compressed by gzip")
    parser.add_argument("--left_out", action="append", default=[], metavar="NAME", help="leave out files of this name")
    parser.add_argument("--delete_damaged", action="store_true", help="delete an archive that is damaged")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        print("unpacking", *map(os.path.basename, arguments.archives), flush=True)
        files = unpack(arguments.archives, arguments.folder, LAYOUTS[arguments.layout], arguments.left_out)
        print(f"{arguments.folder}: {files} files", flush=True)
    except DamagedArchive as error:
        if arguments.delete_damaged:
            error.archive.unlink()
            sys.exit(_fail(f"{error} and has been deleted: run the same command again"))
        sys.exit(_fail(f"{error}: delete it and run the same command again"))
    except UserError as error:
        sys.exit(_fail(str(error)))
    except OSError as error:
        sys.exit(_fail(f"{error.filename2 or error.filename or arguments.folder}: {error.strerror or error}"))


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _stop(number: int, _frame: Optional[FrameType]) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
