"""The command make_untrained_checkpoint: see src/commands/make_untrained_checkpoint.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("make_untrained_checkpoint")
