"""What a board promises: this machine serves as one, over loopback, as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import pytest
import tvm
from tvm.rpc import RPCSession, connect_tracker

from adaspring import targets
from adaspring.backends.rpc.description import INFO_FUNCTION
from adaspring.backends.rpc.protocol import Address, TrackerConnection, is_answering, send_greeting
from adaspring.targets.machine import cpu_flags

from ...support import rpc
from ...support.rpc import Served, said, summary
from ...support.rpc_code import calling
from ...support.waiting import wait_until

pytestmark = pytest.mark.board

HOST = targets.host()
REQUEST_A_BOARD = 4
DOUBLED = 2 * np.arange(16, dtype="float32")
T_ = TypeVar("T_")


@pytest.fixture(scope="module")
def where() -> Iterator[str]:
    with rpc.tracker() as address:
        yield address


@pytest.fixture(scope="module")
def served(where) -> Iterator[Served]:
    with rpc.board(where) as board:
        yield board


def is_free(where: str, count: int = 1) -> bool:
    return summary(where)["queue_info"].get("host", {"free": 0})["free"] == count


def in_session(where: str, use: Callable[[RPCSession], T_], key: str = "host", timeout_s=60) -> T_:
    """What `use` makes of a session; the last name of it is gone afterwards, which ends it."""
    tracker = Address.parse(where)
    if key == "host":
        wait_until(lambda: is_free(where))
    return use(connect_tracker(tracker.host, tracker.port).request(key, session_timeout=timeout_s))


def info_of(opened: RPCSession) -> dict:
    return json.loads(opened.get_function(INFO_FUNCTION)())


def threads_of(opened: RPCSession) -> int:
    return opened.get_function("runtime.NumThreads")()


def run_on(opened: RPCSession, code: Path) -> np.ndarray:
    opened.upload(bytearray(code.read_bytes()), code.name)  # by name it would leave a file open
    device = opened.cpu()
    a = tvm.runtime.tensor(np.arange(16, dtype="float32"), device)
    b = tvm.runtime.empty((16,), "float32", device)
    opened.load_module(code.name)["main"](a, b)
    return b.numpy()


def test_a_board_says_what_it_is(where, served):
    info, threads = in_session(where, lambda opened: (info_of(opened), threads_of(opened)))
    assert info == served.info
    assert info["machine"] == HOST.architecture
    assert info["core_count"] == HOST.core_count
    assert info["memory_bytes"] == HOST.memory_bytes
    assert info["emulated"] is False
    assert info["versions"]["apache-tvm"] == tvm.__version__
    if HOST.architecture == "x86_64":
        assert set(info["cpu_features"]) == cpu_flags()
    assert threads == info["threads_count"] == HOST.core_count


def test_the_threads_are_those_of_the_declared_board(where):
    with rpc.board(where, "null"):
        assert in_session(where, threads_of, "null") == targets.null().core_count == 1


def test_code_runs_there_in_one_session_after_the_other(where, served, tmp_path):
    code = calling(tmp_path, "getpid", "getpid")
    for _ in range(2):
        found = in_session(where, lambda opened: run_on(opened, code))
        np.testing.assert_array_equal(found, DOUBLED)


def test_a_kernel_that_crashes_costs_its_session_alone(where, served, tmp_path):
    bad, good = calling(tmp_path, "abort", "abort"), calling(tmp_path, "getpid", "getpid")
    with pytest.raises(RuntimeError):
        in_session(where, lambda opened: run_on(opened, bad))
    found = in_session(where, lambda opened: run_on(opened, good))
    np.testing.assert_array_equal(found, DOUBLED)
    assert "crashed by SIGABRT" in said(served.process)


def test_a_kernel_that_hangs_is_ended_at_the_sessions_limit(where, served, tmp_path):
    code = calling(tmp_path, "pause", "pause")
    with pytest.raises(RuntimeError, match="it took more than its 2 s"):
        in_session(where, lambda opened: run_on(opened, code), timeout_s=2)
    wait_until(lambda: is_free(where))
    assert psutil.Process(served.process.pid).children() == []


def test_a_client_that_dies_in_a_kernel_does_not_keep_the_board(where, served, tmp_path):
    code = calling(tmp_path, "pause", "pause")
    tracker = Address.parse(where)
    wait_until(lambda: is_free(where))
    program = (
        "import os; os.environ['TVM_USE_RUNTIME_LIB'] = '1'; "
        "import tvm; from tvm.rpc import connect_tracker; "
        f"opened = connect_tracker({tracker.host!r}, {tracker.port}).request('host'); "
        f"opened.upload({str(code)!r}); device = opened.cpu(); "
        "a = tvm.runtime.empty((16,), 'float32', device); "
        f"f = opened.load_module({code.name!r})['main']; print('begins', flush=True); f(a, a)"
    )
    client = rpc.start([sys.executable, "-c", program])
    try:
        assert rpc.first_line(client) == "begins\n"
        time.sleep(0.5)  # the call is on its way
    finally:
        rpc.stop(client)
    # the tracker may think for a moment still that the board is free
    wait_until(lambda: "the client is gone" in said(served.process))
    wait_until(lambda: is_free(where))


def test_callers_that_are_no_clients_are_turned_away(where, served):
    wait_until(lambda: is_free(where))
    address = Address.parse(served.address)
    silent, loud, huge = (address.connect(30) for _ in range(3))
    with silent, loud, huge:
        loud.sendall(b"GET / HTTP/1.1\r\n\r\n")
        huge.sendall(struct.pack("<ii", 0xFF271, 1 << 30))
        send_greeting(huge, "client:host:0.5")
        assert is_answering(address, 30)
        assert hung_up(loud)
        assert hung_up(huge)
        assert hung_up(silent)
    assert is_free(where)


def hung_up(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_busy_board_answers_and_is_known_as_busy(where, served):
    def states() -> list[str]:
        return [entry["state"] for entry in summary(where)["server_info"]]

    def use(opened: RPCSession) -> None:
        wait_until(lambda: states() == ["busy"])  # it tells the tracker after it let us in
        assert is_answering(Address.parse(served.address), 30)
        assert info_of(opened) == served.info

    in_session(where, use)
    wait_until(lambda: states() == ["free"])


def test_a_board_that_is_given_to_a_client_that_never_calls_is_offered_again(where, served):
    wait_until(lambda: is_free(where))
    with TrackerConnection(Address.parse(where)) as line:
        line.ask(REQUEST_A_BOARD, "host", "", 1)
        assert is_free(where, 0)
    wait_until(lambda: is_free(where))


def test_a_board_registers_again_when_the_tracker_is_back():
    with rpc.tracker_process() as (first, where), rpc.board(where) as board:

        def lose_the_tracker(opened: RPCSession) -> None:
            first.kill()
            first.wait()
            assert info_of(opened) == board.info  # a session does not need the tracker

        in_session(where, lose_the_tracker)
        wait_until(lambda: f"no tracker answers at {where}" in said(board.process))
        time.sleep(1.5)  # the board tries at least once in vain
        with rpc.tracker(Address.parse(where).port):
            assert in_session(where, info_of) == board.info
            assert f"registered at the tracker {where} again" in said(board.process)


def test_a_board_that_is_killed_is_gone_with_its_session(where, served):
    with rpc.board(where, "null") as board:
        tracker = Address.parse(where)
        opened = connect_tracker(tracker.host, tracker.port).request("null", session_timeout=60)
        opened.get_function(INFO_FUNCTION)()
        (child,) = psutil.Process(board.process.pid).children()
        board.process.kill()
        board.process.wait()
        wait_until(lambda: gone(child))
        keys = [entry["key"] for entry in summary(where)["server_info"]]
        assert keys == ["server:host"]


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_board_that_is_told_to_end_leaves_nothing(where, served, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        with rpc.board(where, "null") as board:
            tracker = Address.parse(where)
            opened = connect_tracker(tracker.host, tracker.port).request("null", session_timeout=60)
            opened.get_function(INFO_FUNCTION)()
            assert [p.name[:18] for p in tmp_path.iterdir()] == ["adaspring.session."]
            os.kill(board.process.pid, number)
            assert board.process.wait(30) == status
            assert "Traceback" not in said(board.process)
        assert list(tmp_path.iterdir()) == []


def test_a_board_has_neither_the_compiler_nor_torch(served):
    mapped = Path(f"/proc/{served.process.pid}/maps").read_text()
    assert "libtvm_runtime.so" in mapped
    assert "libtvm_compiler" not in mapped
    assert "torch" not in mapped
    code = (
        "import sys, adaspring.backends.rpc.board; "
        "sys.exit(bool({'tvm', 'torch', 'typer', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def refused_to_serve(*options: str, tracker: str) -> tuple[str, ...]:
    process = rpc.start_board(tracker, "host", 0, *options)
    try:
        assert process.wait(60) == 1
        return tuple(said(process).splitlines())
    finally:
        rpc.stop(process)


def test_a_tracker_that_is_absent_is_said_at_once_and_is_an_error_after_the_limit():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
    first, last = refused_to_serve("--tracker-wait", "1", tracker=where)
    assert first == f"no tracker answers at {where} (Connection refused); trying again for 1 s"
    assert last.startswith(f"error: no tracker answered at {where} for 1 s; start one there with")


def test_what_is_no_tracker_is_refused_at_once():
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        process = rpc.start_board(where)
        try:
            line, _ = other.accept()
            with line:
                line.sendall(b"SSH-2.0-x\r\n")
                assert process.wait(60) == 1
            text = said(process)
        finally:
            rpc.stop(process)
    assert text == f"error: what listens at {where} is not a TVM RPC tracker\n"


def test_a_port_that_is_taken_is_not_exchanged_for_another(where, served):
    port = served.address.rpartition(":")[2]
    (line,) = refused_to_serve("--port", port, tracker=where)
    assert f"the board cannot listen at {served.address}: Address already in use" in line


def test_a_board_that_is_not_what_its_key_says_warns_of_it(where):
    with rpc.board(where, "rock-5b-mali" if HOST.architecture == "x86_64" else "h200") as b:
        assert "this machine does not match the board declared as" in said(b.process)
