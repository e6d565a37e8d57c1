"""The command choose_score_threshold: see src/commands/choose_score_threshold.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("choose_score_threshold")
