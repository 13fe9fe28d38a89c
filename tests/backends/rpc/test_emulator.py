"""The emulated ARM board: built once per machine in the user's cache, then served and used."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tvm
from tvm.rpc import connect_tracker
from tvm.script import tirx as T

from adaspring import targets
from adaspring.backends.codegen.link import linker
from adaspring.backends.rpc.description import BoardInfo, mismatches
from adaspring.backends.rpc.emulator import debian, wheels
from adaspring.backends.rpc.emulator import image as image_module
from adaspring.backends.rpc.emulator.image import Image, default_folder, image
from adaspring.backends.rpc.protocol import Address
from adaspring.errors import BoardError

from ...support import rpc
from ...support.cli import answer
from ...support.requirements import missing, require_tool
from ...support.waiting import wait_until

pytestmark = pytest.mark.board

PI_5, PI_4 = targets.find("raspberry-pi-5"), targets.find("raspberry-pi-4")
COMMAND = [sys.executable, "-m", "adaspring", "boards", "emulate"]


@pytest.fixture(scope="session")
def built() -> Image:
    """The image, where it can be had."""
    try:
        return image(default_folder())
    except BoardError as error:
        missing(f"the emulated board cannot be built: {error}")


@pytest.fixture(scope="module")
def where() -> Iterator[str]:
    with rpc.tracker() as address:
        yield address


@contextmanager
def emulated(where: str, board: str) -> Iterator[dict]:
    process = rpc.start([*COMMAND, board, "--tracker", where, "--json"])
    try:
        yield json.loads(rpc.first_line(process))
    finally:
        process.terminate()
        process.wait(30)
        rpc.stop(process)


@pytest.fixture(scope="module")
def pi_5(built, where) -> Iterator[dict]:
    with emulated(where, "raspberry-pi-5") as served:
        yield served


def dot_products(folder: Path) -> Path:
    """Dot products of 4 bytes each by `sdot`, which a Raspberry Pi 5 has and a 4 has not."""

    @T.prim_func
    def main(a: T.Buffer((16,), "int8"), b: T.Buffer((16,), "int8"), c: T.Buffer((4,), "int32")):
        T.func_attr({"global_symbol": "main"})
        c[T.ramp(0, 1, 4)] = T.call_llvm_pure_intrin(
            T.llvm_lookup_intrinsic_id("llvm.aarch64.neon.sdot.v4i32.v16i8"),
            T.broadcast(T.int32(0), 4),
            a.vload([0], "int8x16"),
            b.vload([0], "int8x16"),
            dtype="int32x4",
        )

    target = tvm.target.Target(dict(PI_5.target))
    built = tvm.tirx.build(tvm.IRModule({"main": main}), target=target)
    path = folder / "dot.so"
    built.export_library(str(path), fcompile=linker("aarch64"))
    return path


def run_on(where: str, key: str, code: Path, *inputs: np.ndarray) -> np.ndarray:
    tracker = Address.parse(where)
    opened = connect_tracker(tracker.host, tracker.port).request(key, session_timeout=120)
    opened.upload(bytearray(code.read_bytes()), code.name)
    device = opened.cpu()
    result = tvm.runtime.empty((4,), "int32", device)
    opened.load_module(code.name)["main"](*(tvm.runtime.tensor(x, device) for x in inputs), result)
    return result.numpy()


def test_the_board_says_that_it_is_emulated_and_has_the_cores_instructions(pi_5, where):
    assert pi_5["key"] == "raspberry-pi-5-emulated"
    info = msgspec.convert(pi_5["board"], BoardInfo)
    assert (info.machine, info.emulated) == ("aarch64", True)
    assert info.cpu_model == "emulated cortex-a76"
    assert {"asimd", "asimddp", "asimdhp", "atomics"} <= set(info.cpu_features)
    assert "i8mm" not in info.cpu_features
    assert (info.governor, info.temperature_c) == (None, None)
    assert info.versions["apache-tvm"] == tvm.__version__
    assert mismatches(info, PI_5) == ()
    (entry,) = answer("boards", "list", "--tracker", where)["keys"]
    assert (entry["key"], entry["declared"]) == ("raspberry-pi-5-emulated", "raspberry-pi-5")
    assert entry["boards"][0]["board"]["emulated"] is True


def test_code_for_the_board_gives_there_what_numpy_gives(pi_5, where, tmp_path, aarch64_linker):
    rng = np.random.default_rng(3)
    a, b = rng.integers(-128, 128, (2, 16)).astype("int8")
    expected = (a.astype("int32") * b.astype("int32")).reshape(4, 4).sum(axis=1)
    found = run_on(where, pi_5["key"], dot_products(tmp_path), a, b)
    np.testing.assert_array_equal(found, expected)


def test_another_boards_instructions_are_not_there(built, where, tmp_path, aarch64_linker):
    process = rpc.start([*COMMAND, "raspberry-pi-4", "--tracker", where, "--json"])
    try:
        served = json.loads(rpc.first_line(process))
        info = msgspec.convert(served["board"], BoardInfo)
        assert info.cpu_model == "emulated cortex-a72"
        assert mismatches(info, PI_4) == ()
        (fault,) = mismatches(info, PI_5)
        assert fault.startswith("its processor lacks asimddp")
        zeros = np.zeros(16, "int8")
        with pytest.raises(RuntimeError):
            run_on(where, served["key"], dot_products(tmp_path), zeros, zeros)
        wait_until(lambda: "crashed by SIGILL" in rpc.said(process))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert "Traceback" not in rpc.said(process)
    finally:
        rpc.stop(process)


def test_there_is_no_compiler_on_the_board(built):
    libraries = {path.name for path in built.folder.rglob("*.so")}
    assert {"libtvm_runtime.so", "libtvm_runtime_extra.so", "libtvm_ffi.so"} <= libraries
    assert not any("compiler" in name for name in libraries)


def test_the_second_time_nothing_is_fetched(built, monkeypatch):
    monkeypatch.setattr(image_module, "Debian", None)
    steps: list[str] = []
    assert image(default_folder(), steps.append) == built
    assert steps == []


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "adaspring" / "boards"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification has it ignored
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "adaspring" / "boards"


def test_a_build_that_fails_leaves_nothing_and_clears_what_a_killed_one_left(tmp_path, monkeypatch):
    def no_network(self, folder):
        raise BoardError("apt-get could not fetch the package lists: no network")

    monkeypatch.setattr(debian.Debian, "__init__", no_network)
    (tmp_path / ".building-killed").mkdir()
    with pytest.raises(BoardError, match="no network"):
        image(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_missing_tool_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = "apt-get is not installed; boards can be emulated only on Debian"
    with pytest.raises(BoardError, match=message):
        debian.Debian(tmp_path / "apt")


def test_what_apt_complains_of_is_one_line(tmp_path, monkeypatch):
    require_tool("apt-get", "apt")
    dpkg = tmp_path / "tools" / "dpkg"
    dpkg.parent.mkdir()
    dpkg.write_text("#!/bin/sh\necho '\"'\n")  # an architecture that APT cannot read
    dpkg.chmod(0o755)
    monkeypatch.setenv("PATH", f"{dpkg.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(BoardError, match="apt-get could not fetch the package lists: ") as caught:
        debian.Debian(tmp_path / "apt")
    assert "\n" not in str(caught.value)


def test_wheels_that_cannot_be_had_are_one_line(tmp_path, monkeypatch):
    if importlib.util.find_spec("pip") is None:
        missing("pip is not installed")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(BoardError, match=r"pip could not fetch the board.s wheels: ") as caught:
        wheels.fetch_wheels(tmp_path / "wheels", "3.11")
    assert "apache-tvm" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_pip_it_says_so(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(BoardError, match="No module named pip"):
        wheels.fetch_wheels(tmp_path / "wheels", "3.11")
