"""Replacing a library: in one step, under a kill, and beside others that open it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import adaspring
from adaspring.errors import LibraryError
from adaspring.files import replace as replacing
from adaspring.library import reader, writer

from ..support.libraries import doubled, expected, parts, weights

ONES = np.ones((2, 48), np.float32)
OPENINGS, KILLS = 40, 12


def answers() -> dict[str, np.ndarray]:
    """What each of the two gives for ones, in float64."""
    twice = {name: 2 * value for name, value in weights(None).items()}
    return {
        "tiny": expected(weights(None), ONES, ONES)[0],
        "doubled": expected(twice, ONES, ONES)[0],
    }


def assert_one_of_two(library: adaspring.Library) -> None:
    """What it computes is what its manifest's name promises."""
    got = library.open(preload=False)(ONES, ONES)[0]
    np.testing.assert_allclose(got, answers()[library.manifest.name], rtol=1e-3)


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "a" / "tiny.lib"
    writer.write_library(path, parts())
    return path


WRITER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(adaspring.__file__).parent)!r})
from tests.support.libraries import doubled, parts
from adaspring.library.writer import (write_library)
both = [parts(), doubled()]
print("ready", flush=True)
for turn in range(1, 100_000):
    write_library(Path(sys.argv[1]), both[turn % 2])
"""


def start_writer(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_whoever_opens_a_library_that_is_being_replaced_gets_the_one_or_the_other(folder):
    process = start_writer(folder)
    try:
        for _ in range(OPENINGS):
            with adaspring.load(folder) as library:
                assert_one_of_two(library)
    finally:
        end(process)


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_library_and_the_next_run_sweeps(folder):
    for turn in range(KILLS):
        process = start_writer(folder)
        time.sleep(0.003 * turn)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        reader.verify_files(folder, reader.read_manifest(folder))
    writer.write_library(folder, doubled())
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert_one_of_two(adaspring.load(folder))


def test_a_library_that_is_replaced_between_its_manifest_and_its_files_is_opened_anew(
    folder, monkeypatch
):
    """The old folder's files are gone when they are asked for."""
    read = reader.LibraryFolder.read_manifest
    replaced = []

    def read_then_replace(opened):
        manifest = read(opened)
        if not replaced:
            replaced.append(True)
            writer.write_library(folder, doubled())
        return manifest

    monkeypatch.setattr(reader.LibraryFolder, "read_manifest", read_then_replace)
    library = adaspring.load(folder)
    assert library.manifest.name == "doubled"
    assert_one_of_two(library)


def test_a_file_that_is_replaced_between_its_check_and_its_loading_is_not_run(folder, monkeypatch):
    code = reader.LibraryFolder.read

    def read_then_replace(opened, record):
        data = code(opened, record)
        shutil.copyfile(folder / "code" / "rank4.so", folder / "code" / "new.so")
        os.replace(folder / "code" / "new.so", folder / record.path)
        return data

    monkeypatch.setattr(reader.LibraryFolder, "read", read_then_replace)
    assert_one_of_two(adaspring.load(folder))


def test_a_folder_of_a_running_writer_is_not_swept(tmp_path):
    path = tmp_path / "x.lib"
    with replacing.folder_beside(path) as mine:
        with replacing.folder_beside(path) as other:
            assert mine.exists()
            assert other != mine
        assert mine.exists()
        assert not other.exists()
    assert not any(tmp_path.iterdir())


def test_what_a_killed_run_left_is_swept_and_what_is_the_users_stays(tmp_path):
    left = tmp_path / ".x.lib.adaspring.abcdefgh"
    (left / "code").mkdir(parents=True)
    users = tmp_path / ".x.lib.backup"
    users.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".x.lib.adaspring.link").symlink_to(elsewhere)
    with replacing.folder_beside(tmp_path / "x.lib"):
        assert not left.exists()
        assert users.exists()
        assert elsewhere.exists()


def test_where_the_file_system_cannot_exchange_the_library_stays_and_the_error_says_so(
    folder, monkeypatch
):
    def cannot(*_):
        raise replacing.CannotExchange(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(replacing, "exchange", cannot)
    with pytest.raises(LibraryError, match=r"cannot replace .*in one step; .*another path"):
        writer.write_library(folder, doubled())
    assert_one_of_two(adaspring.load(folder))
    assert adaspring.load(folder).manifest.name == "tiny"


def test_no_writable_folder_is_needed_to_open_a_library(folder):
    program = f"""
import tempfile
def none(*_, **__):
    raise FileNotFoundError("no usable temporary directory")
tempfile.mkdtemp = tempfile.mkstemp = tempfile.gettempdir = none
import numpy as np, adaspring
print(adaspring.load({str(folder)!r}).open()(*[np.ones((2, 48), np.float32)] * 2)[0].shape)
"""
    environment = {**os.environ, "TMPDIR": "/proc"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout == "(2, 10)\n", done.stderr
