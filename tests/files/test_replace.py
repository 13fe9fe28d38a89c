"""Temporary folders, room on the disk, and exchanging folders."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from adaspring.files import replace

HOLD = """
import sys, tempfile
from adaspring.files.replace import TemporaryFolder
tempfile.tempdir = sys.argv[1]
folder = TemporaryFolder("test")
print(folder.name, flush=True)
sys.stdin.read()
"""


def hold(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another process, with a temporary folder."""
    command = [sys.executable, "-c", HOLD, str(parent)]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_folder_of_a_killed_run_is_swept_by_the_next_and_that_of_a_running_one_is_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, left = hold(tmp_path)
    running, held = hold(tmp_path)
    (left / "code.so").write_bytes(b"code")
    killed.kill()
    killed.communicate()
    users = tmp_path / "adaspring-build-abcdefgh"
    users.mkdir()
    with replace.TemporaryFolder("test") as name:
        assert not left.exists()
        assert held.is_dir()
        assert users.is_dir()
        assert Path(name).is_dir()
    running.communicate("")
    assert not held.exists()
    assert [path.name for path in tmp_path.iterdir()] == [users.name]


def test_two_folders_are_exchanged_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    replace.exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists()
    assert (tmp_path / "b" / "a").exists()


def test_an_exchange_with_nothing_is_the_systems_error_and_changes_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError):
        replace.exchange(tmp_path / "a", tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_where_a_folder_can_be_written_nothing_stays_of_the_trial(tmp_path):
    (tmp_path / "old").mkdir()
    for path in (tmp_path / "old", tmp_path / "new", tmp_path / "deep" / "er" / "new"):
        replace.check_can_replace(path)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("parent", ["/proc", "/sys/kernel"])
def test_where_it_cannot_be_written_the_trial_says_so(parent):
    if not os.path.isdir(parent):
        pytest.skip(f"no {parent} here")
    with pytest.raises(OSError, match=r"\[Errno"):
        replace.check_can_replace(Path(parent) / "x.lib")


def test_room_that_is_there_is_given_back(tmp_path):
    replace.reserve(tmp_path, 2**20)
    assert list(tmp_path.iterdir()) == []
    assert replace.free_bytes(tmp_path / "not" / "there") > 0


def test_room_that_is_not_there_is_the_systems_error(tmp_path):
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        replace.reserve(tmp_path, 2**60)
    assert caught.value.errno in replace.DISK_FULL
    assert list(tmp_path.iterdir()) == []
