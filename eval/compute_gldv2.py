"""The command compute_gldv2: see src/commands/compute_gldv2.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("compute_gldv2")
