"""The command train_matcher: see src/commands/mine_pairs.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("train_matcher")
