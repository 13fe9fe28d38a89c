"""One client's session on the board, in a process of its own, which alone crashes or hangs."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import select
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ....errors import RuntimeMissing
from ....files.replace import TemporaryFolder
from ....library.devices.start import load_cuda
from ....library.native.ffi import tvm_ffi
from ....library.opencl import plugin as opencl
from ....targets import Affinity
from ...tvm_threads import use_threads
from ..process_exit import die_with_parent
from ..protocol import enable_keepalive
from .chains import register_chains

_log = logging.getLogger(__name__)

_TIMEOUT_OPTION = "-timeout="
_AFTER_CLIENT_S = 2.0
# The client's interface has more than libtvm_runtime: random numbers for arguments, for one.
_LIBRARIES = ("libtvm_runtime.so", "libtvm_runtime_extra.so")


def load_runtime(device: str = "cpu") -> None:
    """Load TVM's runtime, and the device's part of it: neither Python's tvm nor the compiler.

    Raises:
        RuntimeMissing: apache-tvm is not installed, or cannot be loaded here.

    """
    spec = find_spec("tvm")
    if spec is None or spec.origin is None:
        raise RuntimeMissing("a board needs TVM's runtime; pip install 'adaspring[board]'")
    folder = Path(spec.origin).parent / "lib"
    for name in _LIBRARIES:
        try:
            ctypes.CDLL(str(folder / name), ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise RuntimeMissing(f"{folder / name}: cannot be loaded: {error}") from error
    if device == "opencl":
        opencl.load()  # looks for a device in each session: drivers do not survive a fork
    elif device == "cuda":
        load_cuda()


# How many threads a session computes with, and on which processors.
Threads = tuple[int, Affinity]


class BoardSession:
    """A running session; at `deadline_s` it must be over: the time is up, or the client gone."""

    def __init__(
        self, line: socket.socket, peer: str, limit_s: float, threads: Threads, device: str
    ) -> None:
        self.peer, self._line = peer, line
        self.ended = self._client_gone = False
        self._limit_s = limit_s
        self.deadline_s = time.monotonic() + limit_s
        line.settimeout(None)
        enable_keepalive(line)
        self._folder = TemporaryFolder("session")
        # A copy of this process has the runtime loaded and starts in no time; this process has
        # one thread, and never uses TVM's pool, so that the copy is sound.
        self._process = multiprocessing.get_context("fork").Process(
            target=_run_session, args=(line, self._folder.name, threads, device, os.getpid())
        )
        self._process.start()

    def watch_with(self, watch: select.poll) -> None:
        """Watch for the end of the process and for the client hanging up."""
        watch.register(self._process.sentinel, select.POLLIN)
        if not self._client_gone:
            watch.register(self._line, select.POLLRDHUP)

    def note_events(self, came: Mapping[int, int]) -> None:
        """Note what the watch saw. A client that is gone leaves a kernel little time to end."""
        self.ended = self._process.sentinel in came
        if self._line.fileno() in came:
            self._client_gone = True
            self.deadline_s = min(self.deadline_s, time.monotonic() + _AFTER_CLIENT_S)

    def close(self) -> str:
        """End it where it still runs, clean up, and say what was wrong: '' where nothing was."""
        fault = ""
        if not self.ended and self._process.is_alive():
            self._process.kill()
            fault = "was ended with the server"
            if self._client_gone:
                fault = "was ended: the client is gone, and a kernel was still running"
            elif time.monotonic() >= self.deadline_s:
                fault = f"was ended: it took more than its {self._limit_s:g} s"
                self._tell_client(fault)
        self._process.join()
        code = self._process.exitcode or 0
        if code and not fault:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
            fault = f"crashed {how}"
        self._process.close()
        self._line.close()
        self._folder.cleanup()
        return fault

    def _tell_client(self, fault: str) -> None:
        self._process.join()
        text = f"RPCSessionTimeoutError: the session {fault}"
        try:
            tvm_ffi.get_global_func("rpc.ReturnException")(self._line.fileno(), text)
        except RuntimeError as error:
            _log.info("the client could not be told: %s", error)


def timeout_s(options: Sequence[str]) -> float:
    """How long the client's session may take by what it said when it called; ValueError."""
    given = [o.removeprefix(_TIMEOUT_OPTION) for o in options if o.startswith(_TIMEOUT_OPTION)]
    return float(given[-1]) if given and float(given[-1]) > 0 else float("inf")


def _run_session(
    line: socket.socket, folder: str, threads: Threads, device: str, parent: int
) -> None:
    """Do what the client asks until it hangs up."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(folder)
    tvm_ffi.register_global_func("tvm.rpc.server.workpath", _path_in(folder), override=True)
    tvm_ffi.register_global_func("tvm.rpc.server.load_module", _load_from(folder), override=True)
    register_chains(Path(folder), device)
    use_threads(*threads)
    tvm_ffi.get_global_func("rpc.ServerLoop")(line.fileno())


def _path_in(folder: str) -> Any:
    return lambda name: os.path.join(folder, name)


def _load_from(folder: str) -> Any:
    return lambda name: tvm_ffi.load_module(os.path.join(folder, name))
