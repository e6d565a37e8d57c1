"""For all tests: exported networks are cached in a folder of this run, not in the user's; one small data set."""

import os
import tempfile

import pytest

_CACHE = pytest.StashKey[tempfile.TemporaryDirectory]()


def pytest_configure(config):
    config.stash[_CACHE] = tempfile.TemporaryDirectory()
    os.environ["XDG_CACHE_HOME"] = config.stash[_CACHE].name


def pytest_unconfigure(config):
    config.stash[_CACHE].cleanup()


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """The folder of a data set of 32 drawn photos."""
    from runs import make_shards

    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def photo_folder(tmp_path):
    """A folder of files called as photos are."""
    root = tmp_path / "photos"
    for name in ("jpg/all_souls_000013.jpg", "jpg/radcliffe_1.JPG", "b.png", "a.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root
