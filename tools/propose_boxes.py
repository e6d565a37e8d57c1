"""The command propose_boxes: see src/commands/propose_boxes.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("propose_boxes")
