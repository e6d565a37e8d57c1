"""The command calibrate_same_place: see src/commands/calibrate_same_place.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("calibrate_same_place")
