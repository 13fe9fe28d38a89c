"""Starts trackers and boards on free loopback ports, as processes of their own.

with tracker() as where, board(where, "host") as served:
    ...  # where and served.address: "127.0.0.1:PORT"; served.info: what it says it is
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from adaspring import targets
from adaspring.backends.rpc.host.client import find_boards
from adaspring.backends.rpc.host.runner import RpcRunner
from adaspring.backends.rpc.protocol import Address, TrackerCode, TrackerConnection


class Process(subprocess.Popen):
    """A process whose stderr goes to a file, so that it never waits for a reader."""

    def __init__(self, command: Sequence[str]) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (`stop` closes it)
        super().__init__(
            command,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            preexec_fn=_heed_interrupts,
        )


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Served:
    """A serving board: its process, where it listens, and what it says of itself."""

    process: Process
    address: str
    info: dict


@contextmanager
def tracker(port: int = 0) -> Iterator[str]:
    """A tracker; gives its HOST:PORT."""
    with tracker_process(port) as (_, where):
        yield where


@contextmanager
def tracker_process(port: int = 0) -> Iterator[tuple[Process, str]]:
    """A tracker's process, and its HOST:PORT."""
    process = start([sys.executable, "-m", "adaspring.backends.rpc.tracker", "--port", str(port)])
    try:
        yield process, first_line(process).strip()
    finally:
        stop(process)


@contextmanager
def board(where: str, key: str = "host", port: int = 0, *options: str) -> Iterator[Served]:
    """This machine as a board under `key`, registered at the tracker `where`."""
    process = start_board(where, key, port, *options)
    try:
        yield ready(process)
    finally:
        stop(process)


def start_board(where: str, key: str = "host", port: int = 0, *options: str) -> Process:
    """Begin to serve; `ready` waits for it."""
    command = [sys.executable, "-m", "adaspring.backends.rpc.board", "--key", key]
    return start([*command, "--tracker", where, "--port", str(port), *options])


def ready(process: Process) -> Served:
    """Wait until a board is registered."""
    said = json.loads(first_line(process))
    return Served(process, said["address"], said["board"])


def summary(where: str) -> dict:
    """What a tracker knows: `queue_info` by key, `server_info` of each board."""
    with TrackerConnection(Address.parse(where)) as line:
        status, found = line.ask(TrackerCode.SUMMARY)
    assert status == TrackerCode.SUCCESS
    return found


def stop(process: Process) -> None:
    """End a process, whatever it does."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
    process.log.close()


def said(process: Process) -> str:
    """What a process wrote to stderr until now."""
    process.log.seek(0)
    return process.log.read()


def start(command: Sequence[str]) -> Process:
    """Start a process that heeds Ctrl-C, however the tests were started."""
    return Process(command)


def first_line(process: Process) -> str:
    """The line on stdout that says that it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(f"it ended before it was ready: {said(process)}")
    return line


def connect(where: str, board: targets.Board, **options: float) -> RpcRunner:
    """What times candidates on the boards that are there for `board`."""
    tracker = Address.parse(where)
    return RpcRunner(tracker, board, find_boards(tracker, board)[0], **options)
