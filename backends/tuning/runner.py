"""What times a built candidate: this machine (`local.py`), or boards over RPC (`backends/rpc`)."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

# Shape and type of each tensor that a candidate's `main` takes.
Arguments = list[tuple[tuple[int, ...], str]]


class CandidateLost(Exception):
    """One candidate could not be built or timed; the text says at which stage and why."""


class Runner(Protocol):
    """Times candidates, each apart from this process."""

    @property
    def width(self) -> int:
        """How many candidates it can time at once (boards at hand)."""

    def submit(self, code: Path, arguments: Arguments) -> Future[list[float]]:
        """Time the shared library `code`, whose function is `main`.

        The result is the seconds of one call, several times over. The future raises CandidateLost
        where the candidate itself is at fault (a crash, a hang), BoardError where no board can
        time it any more; `code` may be deleted once the future is done.
        """

    def close(self) -> None:
        """Give the board back and end what was started."""
