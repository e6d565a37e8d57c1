"""Convert a feature file to the TensorFlow reference's .delf files, or a folder of those to a feature file: see src/commands/convert_features.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("convert_features")
