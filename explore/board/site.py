"""Where a board's code is timed and run: on this machine, over RPC, or nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...backends.rpc.description import EMULATED_SUFFIX
from ...backends.rpc.host.client import RegisteredBoard, find_boards
from ...backends.rpc.protocol import Address
from ...targets import Board, is_this_machine


@dataclass(frozen=True, kw_only=True)
class Site:
    """The place for one board, found once for all that is done there.

    `here`: this machine is the board; else it is `remote` at `tracker`, or, without one, nowhere.
    The tuning log is a folder of `logs`.
    """

    board: Board
    logs: Path
    here: bool
    tracker: Address | None = None
    remote: RegisteredBoard | None = None

    @property
    def at_hand(self) -> bool:
        """Whether anything can be run there."""
        return self.here or self.remote is not None

    @property
    def emulated(self) -> bool:
        """Whether it works as the board does, and its times mean nothing."""
        return self.remote is not None and self.remote.emulated

    @property
    def log_folder(self) -> Path:
        """Where what is measured there goes; an emulated board's times stay apart."""
        return self.logs / (self.board.name + (EMULATED_SUFFIX if self.emulated else ""))

    def describe(self) -> str:
        """Say which machine it is."""
        if self.here:
            return self.board.name
        what = f"emulated {self.board.name}" if self.emulated else self.board.name
        return f"{what}, over RPC at {self.tracker}"


def find_site(board: Board, logs: Path, tracker: Address | None) -> Site:
    """Find the place: this machine, or a board over RPC.

    Raises:
        BoardError: the tracker is gone, has no such board, or one that is not what was declared.

    """
    if is_this_machine(board):
        return Site(board=board, logs=logs, here=True)
    if tracker is None:
        return Site(board=board, logs=logs, here=False)
    remote = find_boards(tracker, board)[0]
    return Site(board=board, logs=logs, here=False, tracker=tracker, remote=remote)
