"""Rank the photos of an index for every query: descriptor votes, then geometric verification: see src/commands/perform_retrieval.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("perform_retrieval")
