"""The commit and versions that results carry."""

import subprocess

import numpy as np

from src import artifacts


def test_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "_REPOSITORY", tmp_path)
    assert artifacts.git_commit() is None
    (tmp_path / "file").write_text("1")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y"]
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "x"]):
        subprocess.run(git + command, check=True)
    commit = artifacts.git_commit()
    assert len(commit) == 40 and int(commit, 16)
    (tmp_path / "file").write_text("2")
    assert artifacts.git_commit() == commit + "-dirty"


def test_versions():
    found = artifacts.versions()
    assert found["numpy"] == np.__version__ and found["python"].count(".") == 2
