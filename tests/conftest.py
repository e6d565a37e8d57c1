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
