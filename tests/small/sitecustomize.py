"""Python imports this at its start where this folder is on PYTHONPATH: the real programs with the small resnet18."""

from small_resnet import shrink

shrink()
