"""Search one's own photos: a table or JSON of the best ones for each query photo, and a page with the matches drawn: see src/commands/search_images.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("search_images")
