"""Starts trackers and boards on free loopback ports, as processes of their own.

with tracker() as where, board(where, "host") as served:
    ...  # where and served.address: "127.0.0.1:PORT"; served.info: what it says it is
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from adaspring.backends.rpc.protocol import Address, Code, TrackerLine


@dataclass
class Served:
    """A serving board: its process, where it listens, and what it says of itself."""

    process: subprocess.Popen[str]
    address: str
    info: dict


@contextmanager
def tracker(port: int = 0) -> Iterator[str]:
    """A tracker; gives its HOST:PORT."""
    with tracker_process(port) as (_, where):
        yield where


@contextmanager
def tracker_process(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A tracker's process, and its HOST:PORT."""
    process = _start([sys.executable, "-m", "adaspring.backends.rpc.track", "--port", str(port)])
    try:
        yield process, _first_line(process).strip()
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


def start_board(where: str, key: str = "host", port: int = 0, *options: str) -> subprocess.Popen:
    """Begin to serve; `ready` waits for it."""
    command = [sys.executable, "-m", "adaspring.backends.rpc.serve", "--key", key]
    return _start([*command, "--tracker", where, "--port", str(port), *options])


def ready(process: subprocess.Popen[str]) -> Served:
    """Wait until a board is registered."""
    said = json.loads(_first_line(process))
    return Served(process, said["address"], said["board"])


def summary(where: str) -> dict:
    """What a tracker knows: `queue_info` by key, `server_info` of each board."""
    with TrackerLine(Address.parse(where)) as line:
        status, found = line.ask(Code.SUMMARY)
    assert status == Code.SUCCESS
    return found


def wait_until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for what must become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not true within {seconds:g} s"
        time.sleep(0.05)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process, whatever it does."""
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        raise AssertionError(f"it ended before it was ready: {process.stderr.read()}")
    return line
