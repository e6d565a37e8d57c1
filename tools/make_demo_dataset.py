"""The command make_demo_dataset: see src/commands/make_demo_dataset.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("make_demo_dataset")
