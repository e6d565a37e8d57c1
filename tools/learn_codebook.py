"""The command learn_codebook: see src/commands/learn_codebook.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("learn_codebook")
