"""The command rotate_photos: see src/commands/rotate_photos.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("rotate_photos")
