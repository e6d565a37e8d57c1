"""Export the network of a checkpoint to ONNX or MindIR: see src/commands/export_model.py."""

import sys

if __name__ == "__main__":
    sys.path[0] += "/.."  # the repository, so that no installation is needed
    from src.commands import run

    run("export_model")
