"""The command make_retrieval_set: see src/commands/make_retrieval_set.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("make_retrieval_set")
