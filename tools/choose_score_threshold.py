"""Propose the attention score that keeps so many features a photo, and draw the histogram of a model's scores: see src/commands/choose_score_threshold.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("choose_score_threshold")
