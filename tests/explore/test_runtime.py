"""TVM's runtime is packed for a board's own architecture, with its licence."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from adaspring import targets
from adaspring.explore.board import runtime
from adaspring.library import reader, writer
from adaspring.library.native import build
from adaspring.library.opencl import build as opencl_build

from ..support.libraries import parts
from ..support.requirements import missing, require_tool

ELF_MACHINE = {"x86_64": 62, "aarch64": 183}  # e_machine in elf.h, bytes 18 and 19


def machine_of(library: Path) -> int:
    return int.from_bytes(library.read_bytes()[18:20], "little")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(runtime, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_this_machines_runtime_comes_with_its_licence_and_notice(tmp_path, cache):
    files = runtime.runtime_files(targets.host())
    assert machine_of(files[0]) == ELF_MACHINE[targets.host().architecture]
    writer.write_library(tmp_path / "x.lib", replace(parts(), runtime_paths=files))
    manifest = reader.read_manifest(tmp_path / "x.lib")
    assert manifest.runtime == "runtime/libtvm_runtime.so"
    listed = {record.path for record in manifest.files}
    assert {"runtime/LICENSE", "runtime/NOTICE"} <= listed
    assert "Apache License" in (tmp_path / "x.lib" / "runtime" / "LICENSE").read_text()
    assert not cache.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raspberry-pi-5", "raspberry-pi-4"])
def test_an_arm_boards_runtime_is_fetched_once_and_kept(cache, name):
    if importlib.util.find_spec("pip") is None:
        missing("pip is not installed")
    board = targets.find(name)
    files = runtime.runtime_files(board)
    if not files:
        missing("the package index cannot be reached")
    assert machine_of(files[0]) == ELF_MACHINE["aarch64"]
    assert files[0].stat().st_size < 8_000_000
    (kept,) = (cache / "runtime").iterdir()
    assert [file.parent for file in files[:3]] == [kept] * 3
    if shutil.which("aarch64-linux-gnu-gcc"):
        assert machine_of(files[3]) == ELF_MACHINE["aarch64"]
        assert files[3].name == build.file_name("aarch64")
    before = kept.stat().st_mtime_ns
    assert runtime.runtime_files(board) == files
    assert kept.stat().st_mtime_ns == before


def test_where_it_cannot_be_fetched_the_warning_says_what_to_install(cache, monkeypatch, caplog):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    other = "raspberry-pi-5"
    if targets.host().architecture == "aarch64":
        missing("this machine is the other architecture")
    with caplog.at_level(logging.WARNING):
        assert runtime.runtime_files(targets.find(other)) == ()
    assert "pip install apache-tvm==" in caplog.text
    assert list((cache / "runtime").iterdir()) == []


def test_cudas_runtime_is_not_packed(cache):
    assert runtime.runtime_files(targets.find("h200")) == ()


@pytest.mark.slow
def test_an_opencl_board_gets_its_runtime_compiled_for_it(cache):
    require_tool("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
    files = runtime.runtime_files(targets.find("rock-5b-mali"))
    if not files:
        missing("the package index cannot be reached")
    assert machine_of(files[-1]) == ELF_MACHINE["aarch64"]
    assert files[-1].name == opencl_build.file_name("aarch64")


def test_without_a_compiler_for_the_board_a_warning_says_what_it_needs(cache, monkeypatch, caplog):
    monkeypatch.setattr(runtime.shutil, "which", lambda _: None)
    board = targets.find("rock-5b-mali")
    with caplog.at_level(logging.WARNING):
        files = runtime.runtime_files(board)
    assert not [file for file in files if file.suffix == ".so" and "opencl" in file.name]
    if files:
        assert "no OpenCL runtime is packed into its library" in caplog.text
        assert "Debian: g++-aarch64-linux-gnu" in caplog.text
