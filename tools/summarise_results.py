"""The command summarise_results: see src/commands/summarise_results.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("summarise_results")
