"""The command visualize_features: see src/commands/visualize_features.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("visualize_features")
