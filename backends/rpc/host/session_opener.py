"""Begins sessions with boards of one kind, and refuses a board that is not of that kind."""

from __future__ import annotations

import time

from ....targets import Board
from ..description import BoardInfo
from .client import Hindrance, Lease, check
from .session_process import NoAnswer, Refused, SessionOver, SessionProcess

_OPEN_S = 10.0
_AGAIN_S = 0.5


class Opening:
    """Sessions that do not come about are borne for `wait_s`, as a board that is busy is."""

    def __init__(self, board: Board, wait_s: float) -> None:
        self._board = board
        self._hindrance = Hindrance(wait_s)

    def session(self, process: SessionProcess, lease: Lease, session_s: float) -> BoardInfo | None:
        """Begin a session; what the board is, or None where there is no session this time.

        Raises:
            BoardError: it is not the board that was declared; BoardLost: the limit has passed.

        """
        info: BoardInfo | None = None
        try:
            info = process.open(lease, session_s, _OPEN_S)
        except Refused:
            pass  # it does not know the question what it is: `check` says so
        except (SessionOver, NoAnswer) as error:
            if not process.killed:
                self._hindrance.by(f"no session with the board at {lease.board}: {error}")
                time.sleep(_AGAIN_S)
            return None
        self._hindrance.gone()
        return check(info, self._board, lease.board)
