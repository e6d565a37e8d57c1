"""Features and index of a folder of one's own photos in one command; run again, it adds the photos that are new: see src/commands/build_photo_index.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("build_photo_index")
