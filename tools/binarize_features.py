"""The command binarize_features: see src/commands/binarize_features.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("binarize_features")
