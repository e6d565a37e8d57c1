"""What tests of losses and networks share."""

import mindspore as ms
import pytest

from src.device import set_up_device


@pytest.fixture(scope="module")
def pynative():
    """Operations run one by one: no graph is compiled, unless a test asks for one."""
    set_up_device("CPU", 0)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)
