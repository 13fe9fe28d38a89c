"""A disk that is full, or a path that cannot be written, is said as such, before the long work."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import adaspring as package
from adaspring.files import replace
from adaspring.library import writer

from ..support import hostile
from ..support.cli import adaspring, exported, refused
from ..support.networks import Mlp

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compile_in_a_small_space(folder: Path, most_bytes: int, code: str) -> str:
    """Run `code` where no file may grow beyond a limit, which stands in for a full disk."""
    program = f"""
import resource, signal, sys
from pathlib import Path
import tvm
from adaspring import targets
from adaspring.backends.build import build, compile_library, prepare
from adaspring.backends.codegen.link import linker
from adaspring.errors import AdaspringError
from adaspring.cli.shared.faults import explain
from adaspring.frontend import load_model
model = load_model(Path({str(exported(Mlp, ".onnx"))!r}))
prepared = prepare(model, targets.null())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({most_bytes}, {most_bytes}))
try:
    {code}
except AdaspringError as error:
    print(explain(error))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_code_that_llvm_cannot_write_is_one_line_and_does_not_end_the_process(folder):
    said = compile_in_a_small_space(folder, 4000, "build(prepared, None, Path('c.so'))")
    assert "the disk is full; free some space" in said
    assert said.count("\n") == 1
    assert not Path("c.so").exists()


@pytest.mark.slow
def test_code_that_the_linker_cannot_write_is_the_same(folder):
    """The linker is another process, and has the limit of this one."""
    build = "build(prepared, None, Path('c.so').absolute())"
    build = f"import adaspring.backends.build as b; b.reserve = lambda *_: None; {build}"
    stand_in = folder / "bin" / "ld"
    stand_in.parent.mkdir()
    stand_in.write_text(
        "#!/bin/sh\necho 'ld: final link failed: No space left on device' >&2\nexit 1\n"
    )
    stand_in.chmod(0o755)
    build = f"import os; os.environ['PATH'] = {str(stand_in.parent)!r}; {build}"
    said = compile_in_a_small_space(folder, 2**30, build)
    assert "could not link" in said
    assert "the disk is full; free some space" in said


def test_a_path_that_cannot_be_written_is_refused_before_the_model_is_read(folder):
    result = adaspring("compile", "nowhere.onnx", "-o", "/proc/net.lib")
    refused(result, "/proc/net.lib", "cannot be written")


def test_a_path_below_a_file_is_refused_before_the_model_is_read(folder):
    (folder / "file").touch()
    refused(adaspring("compile", "nowhere.onnx", "-o", "file/net.lib"), "cannot be written")


def test_a_file_system_that_cannot_exchange_is_found_before_the_model_is_read(folder, monkeypatch):
    def cannot(*_):
        raise replace.CannotExchange(errno.EINVAL, "Invalid argument")

    Path("net.lib").mkdir()
    monkeypatch.setattr(replace, "exchange", cannot)
    result = adaspring("compile", "nowhere.onnx", "-o", "net.lib")
    refused(result, "cannot replace a library in one step", "another path")


def test_a_disk_without_room_for_the_weights_is_found_before_the_network_is_compressed(monkeypatch):
    monkeypatch.setattr(writer, "free_bytes", lambda folder: 1000)
    result = adaspring("compile", exported(Mlp, ".onnx"), "-o", "net.lib")
    refused(result, "needs at least", "its disk has 1000 left", "free some space")
    assert not Path("net.lib").exists()


def test_a_checkpoint_that_the_disk_does_not_take_is_the_systems_error(folder):
    program = """
import resource, signal
from pathlib import Path
import torch
from adaspring.cli.shared.faults import explain
from adaspring.training.run import checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
tensors = {"w": torch.zeros(100_000)}
state = checkpoint.State(None, tensors, tensors, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    checkpoint.save(Path("run"), state, 1)
except OSError as error:
    print(explain(error))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "the disk is full; free some space" in done.stdout, done.stderr


def test_a_network_to_retrain_is_not_read_where_the_result_cannot_be_written():
    data = ("--data", "d.npz", "--validation", "v.npz")
    refused(adaspring("retrain", "nowhere.pt2", *data, "-o", "/proc/n.pt2"), "/proc/n.pt2")


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_outputs_replace_files_alone(folder, kind):
    from ..support.libraries import parts

    writer.write_library(folder / "x.lib", parts())
    path = hostile.put(folder / "out.npz", kind)
    before = path.lstat()
    result = adaspring("run", "x.lib", "--output", path)
    refused(result, "out.npz is no file, so it is not replaced", status=2)
    assert path.lstat().st_ino == before.st_ino


def test_escape_bytes_of_names_never_reach_the_terminal(folder):
    result = adaspring("inspect", "evil\x1b]0;owned\x07\x9b31m.lib")
    refused(result, r"evil\x1b]0;owned\x07\x9b31m.lib")
    for stream in (result.stdout, result.stderr):
        assert not set(stream) & {"\x1b", "\x07", "\x9b"}


def test_escape_bytes_of_a_library_never_reach_the_terminal(folder):
    from ..support.libraries import forge, parts

    assert package.__file__
    writer.write_library(folder / "x.lib", parts())
    evil = "\x1b[2J\x9b31mowned\x07\u202e"
    forge(folder / "x.lib", lambda raw: raw["dropped"][0].update(reason=evil, recipe=evil))
    forge(folder / "x.lib", lambda raw: raw["variants"][0]["decisions"].append(
        {"pass_name": evil, "layer": evil, "action": "kept", "detail": evil}))  # fmt: skip
    forge(folder / "x.lib", lambda raw: raw["board"].update(name=evil))
    result = adaspring("inspect", "x.lib", "--decisions")
    assert result.exit_code == 0
    assert r"\x1b[2J\x9b31mowned\x07\u202e" in result.stdout.replace("\n", "")
    assert not set(result.stdout + result.stderr) & {"\x1b", "\x07", "\x9b", "\u202e"}
    shutil.rmtree(folder / "x.lib")
