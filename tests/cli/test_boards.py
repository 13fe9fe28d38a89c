"""`adaspring boards`: what the commands print, refuse, and leave behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from tvm.rpc import connect_tracker

from adaspring import targets
from adaspring.backends.rpc.protocol import Address, TrackerCode, TrackerConnection
from adaspring.cli.app import BOARD_COMMANDS
from adaspring.cli.boards.emulate import ensure_tracker

from ..support import rpc
from ..support.cli import adaspring, answer, refused
from ..support.rpc import Process, said
from ..support.waiting import wait_until

pytestmark = pytest.mark.board

COMMAND = [sys.executable, "-m", "adaspring", "boards"]
HOST = targets.host()


@pytest.fixture(scope="module")
def where() -> Iterator[str]:
    with rpc.tracker() as address:
        yield address


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def listed(where: str) -> dict[str, dict]:
    return {entry["key"]: entry for entry in answer("boards", "list", "--tracker", where)["keys"]}


def counts(entry: dict) -> tuple[int, ...]:
    return tuple(entry[f"{state}_count"] for state in ("free", "busy", "lost", "unknown"))


@contextmanager
def running(*arguments: str) -> Iterator[Process]:
    process = rpc.start([*COMMAND, *arguments])
    try:
        yield process
    finally:
        rpc.stop(process)


def test_boards_that_are_free_busy_lost_and_wrong_are_told_apart(where):
    tracker = Address.parse(where)
    with (
        rpc.board(where, "host") as good,
        rpc.board(where, "null"),
        rpc.board(where, "raspberry-pi-5") as wrong,
        TrackerConnection(tracker) as line,
    ):
        line.ask(  # what a board without power leaves for a while
            TrackerCode.UPDATE_INFO, {"key": "server:pi", "addr": ["127.0.0.1", free_port()]}
        )
        session = connect_tracker(tracker.host, tracker.port).request("null", session_timeout=60)
        wait_until(lambda: counts(listed(where)["null"]) == (0, 1, 0, 0))
        found = listed(where)
        text = adaspring("boards", "list", "--tracker", where).stdout
        del session
        assert counts(found["host"]) == (1, 0, 0, 0)
        assert counts(found["null"]) == (0, 1, 0, 0)
        assert counts(found["raspberry-pi-5"]) == (1, 0, 0, 0)
        assert counts(found["pi"]) == (0, 0, 1, 0)
        (board,) = found["host"]["boards"]
        assert board["address"] == good.address
        assert board["board"] == good.info
        assert board["mismatches"] == []
        assert found["pi"]["declared"] is None
        if HOST.architecture == "x86_64":
            (board,) = found["raspberry-pi-5"]["boards"]
            assert board["mismatches"] == ["it is x86_64, but aarch64 was declared"]
            assert "this machine does not match the board declared as raspberry-pi-5" in said(
                wrong.process
            )
        for word in ("as declared", "busy", "lost", "2 free, 1 busy, 1 lost, 0 unknown"):
            assert word in text
        wait_until(lambda: counts(listed(where)["null"]) == (1, 0, 0, 0))


def test_a_board_that_stands_still_is_lost_until_it_goes_on(where):
    with rpc.board(where, "still") as board:
        os.kill(board.process.pid, signal.SIGSTOP)
        assert counts(listed(where)["still"]) == (0, 0, 1, 0)
        os.kill(board.process.pid, signal.SIGCONT)
        wait_until(lambda: counts(listed(where)["still"]) == (1, 0, 0, 0))


def test_tvms_own_server_is_listed_and_not_disturbed(where):
    port = free_port()
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--tracker", where, "--key", "stock"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--port-end", str(port + 1)]
    process = rpc.start(command)
    try:
        wait_until(lambda: "stock" in listed(where), 60)
        assert counts(listed(where)["stock"]) == (0, 0, 0, 1)
        assert rpc.summary(where)["queue_info"]["stock"]["free"] == 1
        assert "another program" in adaspring("boards", "list", "--tracker", where).stdout
    finally:
        for worker in psutil.Process(process.pid).children(recursive=True):
            worker.kill()  # it would outlive its parent
        rpc.stop(process)


def test_where_no_board_is_registered_it_says_how_one_joins(where):
    wait_until(lambda: listed(where) == {})
    text = adaspring("boards", "list", "--tracker", where).stdout
    assert f"adaspring boards serve --key NAME --tracker {where}" in text


def test_without_a_tracker_the_list_is_refused_at_once():
    where = f"127.0.0.1:{free_port()}"
    refused(
        adaspring("boards", "list", "--tracker", where),
        f"no tracker answers at {where} (Connection refused)",
        "adaspring boards tracker",
    )
    refused(adaspring("boards", "list", "--tracker", "here"), "write HOST:PORT", status=2)
    refused(adaspring("boards", "list", "--tracker", "no.such.invalid:1"), "no tracker answers")


def test_a_tracker_that_is_silent_is_refused_within_seconds():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        refused(adaspring("boards", "list", "--tracker", where), f"no tracker answers at {where}")


def test_a_tracker_and_a_board_say_that_they_are_ready_and_end_on_ctrl_c():
    with running("tracker", "--port", "0", "--json") as tracker:
        where = json.loads(rpc.first_line(tracker))["tracker"]
        with running("serve", "--key", "host", "--tracker", where, "--port", "0") as board:
            line = rpc.first_line(board)
            assert "serves host at 127.0.0.1:" in line
            assert f"registered at {where}" in line
            assert counts(listed(where)["host"]) == (1, 0, 0, 0)
            for process in (board, tracker):
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 130
                assert said(process).splitlines()[-1] == "interrupted"
                assert "Traceback" not in said(process)


def test_a_port_that_is_taken_is_one_line(where):
    port = where.rpartition(":")[2]
    line = refused(adaspring("boards", "tracker", "--port", port), "Address already in use")
    assert f"the tracker cannot listen at {where}" in line


def test_whoever_opens_a_port_to_others_is_told_what_that_means():
    with running("tracker", "--host", "0.0.0.0", "--port", "0") as tracker:
        rpc.first_line(tracker)
        assert "docs/security.md" in said(tracker)
    with running("tracker", "--port", "0") as tracker:
        rpc.first_line(tracker)
        assert said(tracker) == ""


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("host",), ("only aarch64 boards", "--key host"), 1),
        (("rock-5b-mali",), ("opencl", "only CPUs can be emulated"), 1),
        (("raspberry",), ("unknown board 'raspberry'",), 1),
        (("raspberry-pi-5", "--key", "raspberry-pi-5"), ("-emulated", "times"), 2),
    ],
)
def test_what_cannot_be_emulated_is_refused_before_anything_is_fetched(
    arguments, words, status, monkeypatch
):
    monkeypatch.setenv("PATH", "")
    if arguments == ("host",) and HOST.architecture == "aarch64":
        pytest.skip("this machine is what the emulator emulates")
    refused(adaspring("boards", "emulate", *arguments), *words, status=status)


def test_an_emulated_board_brings_a_tracker_where_there_is_none(where):
    here = Address("127.0.0.1", free_port())
    with ensure_tracker(here):
        assert rpc.summary(str(here))["server_info"] == []
        with ensure_tracker(here):  # a second board takes the first one's
            assert rpc.summary(str(here))["server_info"] == []
        assert rpc.summary(str(here))["server_info"] == []
    with pytest.raises(ConnectionRefusedError):
        here.connect()


def test_every_command_shows_an_example():
    for name, _ in BOARD_COMMANDS:
        assert f"adaspring boards {name}" in adaspring("boards", name, "--help").stdout
