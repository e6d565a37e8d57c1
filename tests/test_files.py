"""Atomic writes: the old file or the new one, never a part."""

import pytest

from src.artifacts import (
    atomic_path,
    atomic_write_text,
    is_made,
    require_file,
    require_folder,
    restore_folder,
    sha256_of,
)
from src.errors import UserError
from src.records import Provenance


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
    with pytest.raises(UserError, match="no such file .`ranks`"):
        require_file(tmp_path / "none", "ranks")
    with pytest.raises(UserError, match="`images_path` is not set"):
        require_folder("", "images_path")


def test_what_stands_already_is_kept_refused_or_replaced(tmp_path):
    target, wanted = tmp_path / "a.npz", Provenance(settings={"dim": 40})
    stands = []

    def read(path):
        assert path == target
        if stands[-1] is None:
            raise UserError("something else")
        return stands[-1]

    assert not is_made(target, wanted, read, False)
    target.write_text("x")
    stands.append(wanted)
    assert is_made(target, wanted, read, False) and not is_made(target, wanted, read, True)
    stands.append(Provenance(settings={"dim": 64}))
    with pytest.raises(UserError, match="a.npz: made under other settings .dim.; give `overwrite`, or another `ranks`"):
        is_made(target, wanted, read, False, "ranks")
    stands.append(None)
    with pytest.raises(UserError, match="something else"):
        is_made(target, wanted, read, False)
    assert not is_made(target, wanted, read, True)  # a damaged file may be replaced, a folder of something else not
    with pytest.raises(UserError, match="a.npz: is a file; give `output` the name of a folder"):
        is_made(target, wanted, read, True, folder=True)
    target.unlink()
    target.mkdir()
    assert not is_made(target, wanted, read, False, folder=True)
    with pytest.raises(UserError, match="a.npz: is a folder; give `output` the name of a file"):
        is_made(target, wanted, read, True)
    with pytest.raises(UserError, match="a.npz: is a folder"), atomic_path(target):
        pass
    with pytest.raises(UserError, match="a.npz: is no file .`ranks`"):
        require_file(target, "ranks")
    (target / "photo.jpg").write_text("x")
    with pytest.raises(UserError, match="something else"):
        is_made(target, wanted, read, True, folder=True)


def test_a_folder_moved_aside_by_a_killed_run_is_brought_back(tmp_path):
    (tmp_path / ".index.old").mkdir()
    assert restore_folder(tmp_path / "index").is_dir() and not (tmp_path / ".index.old").exists()
    assert restore_folder(tmp_path / "none") == tmp_path / "none" and not (tmp_path / "none").exists()
