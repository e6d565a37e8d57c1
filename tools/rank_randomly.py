"""The command rank_randomly: see src/commands/rank_randomly.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("rank_randomly")
