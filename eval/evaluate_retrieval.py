"""From photos and their ground truth to mAP.txt: see src/commands/evaluate_retrieval.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("evaluate_retrieval")
