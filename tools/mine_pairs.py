"""The command mine_pairs: see src/commands/mine_pairs.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("mine_pairs")
