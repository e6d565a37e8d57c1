"""Atomic writes: the old file or the new one, never a part."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src import artifacts
from src.artifacts import (
    atomic_path,
    atomic_write_text,
    is_made,
    require_file,
    require_folder,
    require_place,
    restore_folder,
    sha256_of,
)
from src.errors import UserError
from src.records import Provenance

ROOT = Path(__file__).resolve().parents[1]


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


def temporary_of(process):
    """A file that ``atomic_path`` left in this folder for a.txt when ``process`` was killed in it."""
    folder = Path.cwd() / f"work{process}"
    folder.mkdir()
    with atomic_path(folder / "a.txt") as temporary:
        name = temporary.name.replace(str(os.getpid()), str(process))
        assert name != temporary.name
    (folder / name).write_text("half")
    artifacts._drop_leftovers.cache_clear()  # as in a new process
    return folder, name


def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_writes_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as living:
        try:
            for process, kept in ((living.pid, True), (4194304, False)):  # above the largest id of Linux
                folder, name = temporary_of(process)
                others = [".a.tmp.txt", f".b.{process}.tmp.txt", name.replace("-", "-1")]  # nobody's, another machine's
                for other in others:
                    (folder / other).write_text("mine")
                atomic_write_text(folder / "b.txt", "new")
                assert sorted(os.listdir(folder)) == sorted([*others, "a.txt", "b.txt", *([name] if kept else [])])
        finally:
            living.kill()


def test_a_writers_own_temporary_file_goes_with_a_failed_write(tmp_path):
    with pytest.raises(OSError, match="No space.*'.*/a.ckpt'"), atomic_path(tmp_path / "a.ckpt") as temporary:
        temporary.with_suffix(".tmp").write_text("MindSpore's")
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask(tmp_path, umask, mode):
    old = os.umask(umask)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("x")
            temporary.chmod(0o400)  # as MindSpore leaves checkpoints
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_places_where_nothing_can_be_made_are_found_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    require_place(tmp_path / "new/folder/a.txt")
    require_place("a.txt")
    with pytest.raises(UserError, match="file/a.txt: cannot be made in .*file: no folder; give another `output`"):
        require_place(tmp_path / "file/a.txt")
    with pytest.raises(OSError, match="File name too long"):
        require_place(tmp_path / ("a" * 300))
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(UserError, match="is a pipe or a device"):
            is_made(path, Provenance(), lambda _: Provenance(), True)
        with pytest.raises(UserError, match="is a pipe or a device"), atomic_path(path):
            pass
        with pytest.raises(UserError, match="is a pipe or a device; give a file that can be read twice"):
            require_file(path, "ranks")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(UserError, match="no right to write there, or a read-only disk; give another `report`"):
        is_made(tmp_path / "a", Provenance(), lambda _: Provenance(), False, "report")


KILLED = """
import sys
from src.artifacts import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("new")
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_killed_ten_times_while_writing(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    for _ in range(10):
        arguments = [sys.executable, "-c", KILLED, str(target)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT}
        with subprocess.Popen(arguments, **pipes) as process:
            assert process.stdout.readline() == b"begun\n"
            assert len(list(tmp_path.iterdir())) == 2  # what the one before left is gone
            process.kill()
        assert target.read_text() == "old"
    with subprocess.Popen(arguments, **pipes) as process:
        process.communicate()
    assert list(tmp_path.iterdir()) == [target] and target.read_text() == "new"
