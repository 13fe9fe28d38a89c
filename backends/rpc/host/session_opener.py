"""Opens sessions with boards of one kind, and refuses a board of another kind."""

from __future__ import annotations

import time

from ....targets import Board
from ..description import BoardInfo
from .client import Lease, WaitLimit, check_board
from .session_process import CallRefused, SessionLost, SessionProcess, SessionTimeout

_OPEN_S = 10.0
_AGAIN_S = 0.5


class SessionOpener:
    """Opens sessions; gives up when none could be opened for `wait_s`."""

    def __init__(self, board: Board, wait_s: float) -> None:
        self._board = board
        self._wait_limit = WaitLimit(wait_s)

    def open(self, process: SessionProcess, lease: Lease, session_s: float) -> BoardInfo | None:
        """Begin a session; what the board is, or None where there is no session this time.

        Raises:
            BoardError: it is not the board that was declared; BoardLost: the limit has passed.

        """
        info: BoardInfo | None = None
        try:
            info = process.open(lease, session_s, _OPEN_S, self._board.device)
        except CallRefused:
            pass  # it does not know the question what it is: `check_board` says so
        except (SessionLost, SessionTimeout) as error:
            if not process.killed:
                self._wait_limit.note(f"no session with the board at {lease.board}: {error}")
                time.sleep(_AGAIN_S)
            return None
        self._wait_limit.clear()
        return check_board(info, self._board, lease.board)
