"""The command worst_queries: see src/commands/worst_queries.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("worst_queries")
