"""The wire protocol of a tracker and a board, each step with a time limit.

It is TVM's own protocol (`tvm/rpc/base.py`, `tracker.py`): magic numbers, lengths and JSON. It is
spoken here without TVM, whose client waits forever in silence and takes seconds to import.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Self

from ...errors import BoardError, UsageError

ANSWER_S = 3.0
DEFAULT_TRACKER_PORT = 9190

RPC_MAGIC = 0xFF271
RPC_MISMATCH = RPC_MAGIC + 2
TRACKER_MAGIC = 0x2F271
_LONGEST_MESSAGE_BYTES = 1 << 24
_LONGEST_KEY_BYTES = 1 << 10


class TrackerCode(IntEnum):
    """What a message asks of the tracker."""

    SUCCESS = 0
    PUT = 3
    UPDATE_INFO = 5
    SUMMARY = 6
    GET_PENDING_MATCHKEYS = 7


@dataclass(frozen=True)
class Address:
    """Where a tracker or a board listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read HOST:PORT, an IPv6 host in brackets."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise UsageError(
                f"{text!r} is not an address; write HOST:PORT, as 127.0.0.1:{DEFAULT_TRACKER_PORT}"
            )
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def connect(self, timeout_s: float = ANSWER_S) -> socket.socket:
        """Connect; whatever is then asked has the same limit. OSError where nothing listens."""
        return socket.create_connection((self.host, self.port), timeout_s)


def exposure_warning(address: Address) -> str:
    """Say what it means to listen at an address that other machines reach; '' on loopback."""
    host = "127.0.0.1" if address.host == "localhost" else address.host
    try:
        if ipaddress.ip_address(host).is_loopback:
            return ""
    except ValueError:  # a name: other machines may know it too
        pass
    return (
        f"anyone who can reach {address} can run any program on this machine without a password; "
        "use it on a private network only, see docs/security.md"
    )


def listen(address: Address, what: str) -> socket.socket:
    """Listen at exactly this address (port 0: any); BoardError says why that cannot be."""
    try:
        family, *_ = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((address.host, address.port), family=family, backlog=16)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BoardError(
            f"{what} cannot listen at {address}: {reason}; choose another --host or --port"
        ) from error


def enable_keepalive(line: socket.socket) -> None:
    """Let TCP keepalive notice within 20 s that the other machine is off.

    Connections that a listening socket accepts inherit it.
    """
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 10),
        (socket.TCP_KEEPINTVL, 3),
        (socket.TCP_KEEPCNT, 3),
    ):
        line.setsockopt(socket.IPPROTO_TCP, option, value)


class TrackerConnection:
    """An open connection to a tracker.

    Raises:
        OSError: nothing answers there within `ANSWER_S`; BoardError: it is not a tracker.

    """

    def __init__(self, tracker: Address) -> None:
        self._socket = tracker.connect()
        try:
            send_number(self._socket, TRACKER_MAGIC)
            greeting = receive_number(self._socket)
        except OSError:
            self.close()
            raise
        if greeting != TRACKER_MAGIC:
            self.close()
            raise BoardError(f"what listens at {tracker} is not a TVM RPC tracker")

    def ask(self, code: TrackerCode, *arguments: Any) -> Any:
        """Send one message and give what the tracker answers; OSError where it does not."""
        data = json.dumps([code, *arguments]).encode()
        send_number(self._socket, len(data))
        self._socket.sendall(data)
        size = receive_number(self._socket)
        if not 0 < size <= _LONGEST_MESSAGE_BYTES:
            raise OSError("the tracker's answer is malformed")
        return json.loads(receive(self._socket, size))

    def close(self) -> None:
        """Hang up: the tracker forgets what was registered over this line."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def is_answering(board: Address, timeout_s: float = ANSWER_S) -> bool:
    """Tell whether a board's server answers; it is neither occupied nor disturbed by that."""
    try:
        with board.connect(timeout_s) as line:
            send_greeting(line, "client:probe")
            return receive_number(line) == RPC_MISMATCH
    except OSError:
        return False


def send_greeting(line: socket.socket, key: str) -> None:
    """Begin a session, or refuse to: the magic number, then a key."""
    data = key.encode()
    line.sendall(struct.pack("<ii", RPC_MAGIC, len(data)) + data)


def receive_greeting(line: socket.socket) -> str:
    """Read what `send_greeting` sends; OSError where it is something else."""
    if receive_number(line) != RPC_MAGIC:
        raise OSError("not TVM's RPC")
    size = receive_number(line)
    if not 0 < size <= _LONGEST_KEY_BYTES:
        raise OSError("not a key")
    return receive(line, size).decode()


def send_number(line: socket.socket, number: int) -> None:
    """Send 32 bits, little endian."""
    line.sendall(struct.pack("<i", number))


def receive_number(line: socket.socket) -> int:
    """Read 32 bits, little endian."""
    return int(struct.unpack("<i", receive(line, 4))[0])


def receive(line: socket.socket, size: int) -> bytes:
    """Read exactly `size` bytes; OSError where the other side hangs up before."""
    parts = bytearray()
    while len(parts) < size:
        part = line.recv(size - len(parts))
        if not part:
            raise ConnectionResetError("the connection was closed")
        parts += part
    return bytes(parts)
