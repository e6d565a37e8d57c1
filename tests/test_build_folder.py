"""The folder a data set is built in: whole or absent, one maker at a time, nothing left of a killed one."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.artifacts import build_folder_for, restore_folder
from src.errors import UserError

HOLD = """
import sys, time
sys.path.insert(0, {root!r})
from src.artifacts import build_folder_for
with build_folder_for({target!r}) as folder:
    (folder / "half").write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def hold(target):
    """A process that is making ``target`` and has written half of it."""
    code = HOLD.format(root=str(Path(__file__).resolve().parents[1]), target=str(target))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_it_appears_whole_replaces_and_goes_when_the_work_fails(tmp_path):
    target = tmp_path / "deep" / "set"
    with pytest.raises(RuntimeError), build_folder_for(target) as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert names(target.parent) == []
    for text in ("one", "two"):
        with build_folder_for(target) as folder:
            assert names(folder) == []
            (folder / text).write_text(text)
    assert names(target.parent) == ["set"] and names(target) == ["two"]


def test_a_killed_maker_is_cleaned_up_and_a_running_one_is_left_alone(tmp_path):
    target = tmp_path / "set"
    process = hold(target)
    with pytest.raises(UserError, match="another process is making it"), build_folder_for(target):
        pass
    assert names(tmp_path) == [".set.tmp"] and names(tmp_path / ".set.tmp") == ["half"]
    with build_folder_for(tmp_path / "other"):
        pass
    assert process.poll() is None and names(tmp_path / ".set.tmp") == ["half"]
    process.kill()
    process.wait()
    (tmp_path / ".set.old").mkdir()  # as of one killed while it replaced an older set
    with build_folder_for(target) as folder:
        assert names(folder) == []
        (folder / "whole").write_text("whole")
    assert names(tmp_path) == ["other", "set"] and names(target) == ["whole"]


def test_leftovers_of_a_finished_folder_go_and_those_of_a_running_maker_stay(tmp_path):
    target = tmp_path / "set"
    target.mkdir()
    (tmp_path / ".set.old").mkdir()  # of one killed after its last rename
    process = hold(target)
    (tmp_path / ".set.old").mkdir()
    restore_folder(target)
    assert names(tmp_path) == [".set.old", ".set.tmp", "set"] and names(tmp_path / ".set.tmp") == ["half"]
    process.kill()
    process.wait()
    restore_folder(target)
    assert names(tmp_path) == ["set"]
