"""For all tests: exported networks are cached in a folder of this run, not in the user's; one small data set.

Under pytest-xdist every process has such a folder and such a data set of its own.
"""

import os
import tempfile

import pytest

_CACHE = pytest.StashKey[tempfile.TemporaryDirectory]()


def pytest_configure(config):
    config.stash[_CACHE] = tempfile.TemporaryDirectory()
    os.environ["XDG_CACHE_HOME"] = config.stash[_CACHE].name
    if "PYTEST_XDIST_WORKER" in os.environ:  # tests share the cores: threads of one would only be in another's way
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")


def pytest_unconfigure(config):
    config.stash[_CACHE].cleanup()


def pytest_collection_modifyitems(config, items):
    """Under pytest-xdist, whose processes take file after file, those with long tests come first."""
    if hasattr(config, "workerinput"):
        long = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """Names that are no Unicode, in what a test printed, would end a process of pytest-xdist."""
    report = (yield).get_result()
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """The folder of a data set of 32 drawn photos."""
    from runs import make_shards

    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def small_resnet(monkeypatch):
    """resnet18 is the small one in this process."""
    from small.small_resnet import shrink

    from src.model import architectures

    with monkeypatch.context() as patch:
        patch.setattr(architectures, "_UNITS", dict(architectures._UNITS))
        patch.setattr(architectures, "STEM_CHANNELS", None)
        shrink()
        yield
    architectures._architecture.cache_clear()


@pytest.fixture
def photo_folder(tmp_path):
    """A folder of files called as photos are."""
    root = tmp_path / "photos"
    for name in ("jpg/all_souls_000013.jpg", "jpg/radcliffe_1.JPG", "b.png", "a.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root
