"""Rank the photos of an index at random for every query: the baseline that any retrieval must beat: see src/commands/rank_randomly.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("rank_randomly")
