"""resnet18 with one unit a stage and 8 to 64 channels, for tests of what does not depend on a network's size."""

from src.model import architectures


def shrink() -> None:
    """Make every resnet18 of this process the small one."""
    architectures._UNITS["resnet18"] = ("basic", (1, 1, 1, 1))
    architectures.STEM_CHANNELS = 8
    architectures._architecture.cache_clear()
