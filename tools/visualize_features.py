"""Draw the keypoints and the attention of photos, one PNG each: see src/commands/visualize_features.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("visualize_features")
