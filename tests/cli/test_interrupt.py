"""Ctrl-C and a full disk: one line, nothing half-written, and the next run goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adaspring import interrupts
from adaspring.cli.shared import faults
from adaspring.errors import LibraryError, UsageError
from adaspring.library.writer import write_library

from ..support.cli import adaspring, answer, exported, measure_briefly, refused
from ..support.libraries import parts
from ..support.networks import Mlp

TRIALS = 24


def record_count(folder: Path) -> int:
    path = folder / "tuning_logs" / "host" / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def heeds_interrupts() -> None:
    """A shell that starts the tests in the background has its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_a_run_broken_off_while_tuning_is_continued_by_the_next(tmp_path, monkeypatch):
    path = exported(Mlp, ".pt2")
    arguments = ["compile", str(path), "--recipe", "dense", "--trials", str(TRIALS), "-o", "c.lib"]
    arguments += ["--logs", "tuning_logs"]
    # a group of its own, as a terminal's: Ctrl-C reaches the tuner's workers too
    child = subprocess.Popen(
        [sys.executable, "-m", "adaspring", *arguments],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=heeds_interrupts,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while record_count(tmp_path) < 2 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGINT)
        stdout, stderr = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130, stderr
    assert stdout == ""
    assert stderr.splitlines()[-1].startswith("interrupted; tuning_logs keeps every schedule")
    assert "Traceback" not in stderr
    kept = record_count(tmp_path)
    assert kept >= 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["tuning_logs"]

    monkeypatch.chdir(tmp_path)
    measure_briefly(monkeypatch)
    (board,) = answer(*arguments)["boards"]
    assert board["tuning"]["reused_count"] == kept
    assert record_count(tmp_path) == kept + board["tuning"]["measured_count"]


def test_an_interrupt_that_tvm_made_an_error_of_is_one_again():
    """As TVM's FFI does with one that is raised in a callback."""

    def schedule_that_does_not_fit():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError from None

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            interrupts.keep_interrupts(),
            interrupts.keep_interrupts(),
        ):
            schedule_that_does_not_fit()
        with (
            pytest.raises(KeyboardInterrupt),
            interrupts.keep_interrupts(),
            pytest.raises(RuntimeError),
        ):
            schedule_that_does_not_fit()
        with pytest.raises(KeyError), interrupts.keep_interrupts():
            {}["missing"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def tiny_disk(tmp_path):
    """A folder with 200 kB, where this user may mount one; else the largest file is limited."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)],
        capture_output=True, check=False,
    ).returncode == 0  # fmt: skip
    yield folder, mounted
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def limited(folder: Path, mounted: bool, *arguments: object) -> subprocess.CompletedProcess[str]:
    limit = "" if mounted else "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (50000, 50000)); "
    code = f"{limit}from adaspring.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_disk_that_is_full_leaves_no_outputs(tiny_disk, tmp_path):
    folder, mounted = tiny_disk
    write_library(tmp_path / "tiny.lib", parts())
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((20000, 48), dtype=np.float32)
    np.savez(tmp_path / "in.npz", image=samples, mask=samples)
    output = folder / "out.npz"
    arguments = ("run", "tiny.lib", "--input", "in.npz", "--output", output)
    done = limited(tmp_path, mounted, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "out.npz: the disk is full; free some space" in done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_disk_that_is_full_leaves_the_older_library(tmp_path, monkeypatch):
    from adaspring.library import writer

    monkeypatch.chdir(tmp_path)
    measure_briefly(monkeypatch, seconds=0.01)
    arguments = ("compile", exported(Mlp, ".pt2"), "--recipe", "dense", "--trials", 0)
    library = tmp_path / "c.lib"
    answer(*arguments, "-o", library)
    before = {p: p.read_bytes() for p in library.rglob("*") if p.is_file()}
    real = writer.shutil.copyfile

    def full(source, target):
        if Path(target).is_relative_to(tmp_path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return real(source, target)

    monkeypatch.setattr(writer.shutil, "copyfile", full)
    refused(adaspring(*arguments, "-o", library), "the disk is full", "free some space")
    assert {p: p.read_bytes() for p in library.rglob("*") if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.lib"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "memory ran out"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied"),
        (LibraryError("two\n  lines"), "two lines"),
        (ModuleNotFoundError(name="sklearn.datasets"), "adaspring[demo]"),
        (ModuleNotFoundError(name="tvm"), "adaspring[compiler]"),
        (ZeroDivisionError("division by zero"), "unexpected ZeroDivisionError: division by zero"),
    ],
)
def test_every_exception_becomes_one_line(error, words):
    line = faults.explain(error)
    assert words in line
    assert "\n" not in line


def test_wrong_use_has_a_status_of_its_own():
    assert faults.exit_status(UsageError("x")) == 2
    assert faults.exit_status(LibraryError("x")) == 1
    assert faults.exit_status(ValueError("x")) == 1
