"""Atomic writes: the old file or the new one, never a part."""

import pytest

from src.artifacts import atomic_path, atomic_write_text, require_file, require_folder, sha256_of
from src.errors import UserError


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    atomic_write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_sha256_and_required_paths(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(UserError, match="--ranks"):
        require_file(tmp_path / "none", "--ranks")
    with pytest.raises(UserError, match="--images_path is not set"):
        require_folder("", "--images_path")
